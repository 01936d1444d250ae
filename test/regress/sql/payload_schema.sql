-- Payload schemas: refused at the definition, refused at the enqueue, kept apart from what runs already.
-- What each keyword means is tested by test/t/060_payload_schema.pl.

ALTER SYSTEM SET triggerdo.executors = 0;
SELECT pg_reload_conf();
\c -
SELECT test.await_no_executors();

SET ROLE app;
CREATE FUNCTION app.mail(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS 'BEGIN RETURN payload; END';
SELECT triggerdo.define_task('mail', 'app.mail', payload_schema => '{
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["to"],
    "properties": {
        "to": {"type": "array", "minItems": 1, "uniqueItems": true, "items": {"$ref": "#/$defs/address"}},
        "subject": {"type": "string", "maxLength": 5},
        "priority": {"type": "integer", "minimum": 1, "exclusiveMaximum": 10},
        "price": {"multipleOf": 0.01},
        "a/b~c": {"const": null},
        "kind": {"enum": ["html", "text"]}
    },
    "additionalProperties": false,
    "$defs": {"address": {"type": "string", "pattern": "^[^@\\s]+@[^@\\s]+$"}}}');
SELECT id, payload_schema -> '$defs' AS defs FROM triggerdo.tasks WHERE payload_schema IS NOT NULL;

-- The error names the path and the rule. Red without: tdo_payload_check() in fill_enqueue() in src/api_trigger.c.
SELECT test.error(format('SELECT triggerdo.trigger_task(''mail'', %L)', p)) AS error
  FROM unnest(ARRAY['{"to": ["ada@example.org"], "priority": 9.0, "price": 0.07, "a/b~c": null, "kind": "text"}',
                    NULL, '{}', '[]', '"text"', '1', 'null', '{"to": "ada@example.org"}', '{"to": []}', '{"to": ["ada@example.org", "ada"]}',
                    '{"to": ["a@b", "c@d", "a@b"]}', '{"to": ["a@b", 1.5]}', '{"to": ["a@b"], "subject": "ääääää"}', '{"to": ["a@b"], "subject": "äääää"}',
                    '{"to": ["a@b"], "priority": 0}', '{"to": ["a@b"], "priority": 10}', '{"to": ["a@b"], "priority": 1.5}', '{"to": ["a@b"], "price": 0.075}',
                    '{"to": ["a@b"], "a/b~c": 1}', '{"to": ["a@b"], "cc": 1}', '{"to": ["a@b"], "kind": "pdf"}']::jsonb[]) AS p;
-- for programs
DO $$
DECLARE path text; rule text;
BEGIN
    PERFORM triggerdo.trigger_task('mail', '{"to": ["a@b"], "priority": 0}');
EXCEPTION WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS path = COLUMN_NAME, rule = CONSTRAINT_NAME;
    RAISE NOTICE 'path %, rule %', path, rule;
END $$;

-- All ways to trigger; the item of a batch is named, and nothing of it is written.
SELECT count(*) AS before FROM triggerdo.runs \gset
SELECT triggerdo.batch_trigger_task('mail', ARRAY['{"to": ["a@b"]}', '{"to": ["a@b"]}', '{"to": [1]}']::jsonb[]);
SELECT triggerdo.trigger_batch('[{"task": "mail", "payload": {"to": ["a@b"]}}, {"task": "mail", "payload": {"to": []}}]');
SELECT triggerdo.trigger_batch('[{"task": "mail"}]');
SET statement_timeout = '60 s';
CALL triggerdo.trigger_and_wait('mail', '{"to": [null]}', NULL);
RESET statement_timeout;
SELECT count(*) - :before AS written FROM triggerdo.runs;
SELECT cardinality(triggerdo.batch_trigger_task('mail', ARRAY['{"to": ["a@b"]}', '{"to": ["c@d"]}']::jsonb[])) AS written;

-- A definition that is rolled back leaves the old schema, in the same session, too.
-- Red without: the stamp of a place in src/definition.c; the comparison in compiled() in src/payload.c.
BEGIN;
SELECT triggerdo.define_task('mail', 'app.mail', payload_schema => '{"type": "string"}');
SELECT triggerdo.trigger_task('mail', '"new"') IS NOT NULL AS new;
SAVEPOINT s;
SELECT triggerdo.define_task('mail', 'app.mail');
SELECT triggerdo.trigger_task('mail', '1') IS NOT NULL AS none;
ROLLBACK TO s;
SELECT test.error($$SELECT triggerdo.trigger_task('mail', '1')$$);
ROLLBACK;
SELECT triggerdo.trigger_task('mail', '{"to": ["a@b"]}') IS NOT NULL AS old, test.error($$SELECT triggerdo.trigger_task('mail', '"new"')$$);
-- Another session changes it.
\setenv D :DBNAME
\! psql -X -q -At -d "$D" -c "SET ROLE app" -c "SELECT triggerdo.define_task('mail', 'app.mail', payload_schema => '{\"type\": \"integer\"}')"
SELECT triggerdo.trigger_task('mail', '1') IS NOT NULL AS new, test.error($$SELECT triggerdo.trigger_task('mail', '{"to": ["a@b"]}')$$);
-- The table is written anew: the row is elsewhere, the schema is the same.
RESET ROLE;
VACUUM FULL _triggerdo.task;
SET ROLE app;
SELECT triggerdo.trigger_task('mail', '2') IS NOT NULL AS same, test.error($$SELECT triggerdo.trigger_task('mail', '{}')$$);
-- More tasks than a process keeps schemas of.
SELECT count(triggerdo.define_task('many' || i, 'app.mail', payload_schema => jsonb_build_object('const', i))) FROM generate_series(1, 40) i;
SELECT count(triggerdo.trigger_task('many' || i, to_jsonb(i))) FROM generate_series(1, 40) i, generate_series(1, 2);
SELECT count(*) FROM generate_series(1, 40) i WHERE test.error(format('SELECT triggerdo.trigger_task(%L, %L)', 'many' || i, i + 1)) LIKE '22023%';
-- Defined again without: any payload.
SELECT triggerdo.define_task('mail', 'app.mail');
SELECT triggerdo.trigger_task('mail', '{}') IS NOT NULL AS ok;

-- A schema holds from then on: what waits already still runs, whatever it was triggered under.
-- Red if: anything but an enqueue looked at the schema.
SELECT triggerdo.trigger_task('mail', '"early"') AS early \gset
SELECT triggerdo.define_task('mail', 'app.mail', payload_schema => 'false');
SELECT test.error($$SELECT triggerdo.trigger_task('mail', '"late"')$$);
SELECT output - 'id' AS output FROM triggerdo.run_now(:'early') AS output;

-- What is no schema, or not one that is supported, is refused with its place, and nothing is written.
-- Red without: tdo_payload_schema_check() in define_task (src/api_task.c), tdo_build_refuse() in src/schema_keywords.c.
SELECT test.error(format('SELECT triggerdo.define_task(''refused'', ''app.mail'', payload_schema => %L)', s)) AS error
  FROM unnest(ARRAY['1', 'null', '"string"', '[]', '{"type": "text"}', '{"type": []}', '{"type": 1}', '{"properties": {"a/b": {"minimum": "1"}}}',
                    '{"properties": []}', '{"properties": {"a": 1}}', '{"required": "a"}', '{"required": [1]}', '{"minLength": -1}', '{"minLength": 1.5}',
                    '{"maxItems": "1"}', '{"multipleOf": 0}', '{"multipleOf": 1e-1200}', '{"enum": 1}', '{"allOf": []}', '{"anyOf": {}}', '{"oneOf": [1]}', '{"not": 1}',
                    '{"items": [{}]}', '{"prefixItems": {}}', '{"uniqueItems": 1}', '{"contains": 1}', '{"contains": true, "minContains": -1}', '{"if": 1}',
                    '{"dependentRequired": {"a": "b"}}', '{"dependentSchemas": []}', '{"propertyNames": []}', '{"$defs": {"a": {"type": "strin"}}}',
                    '{"$ref": 1}', '{"$ref": "#/$defs/none"}', '{"$ref": "#none"}', '{"$ref": "other.json"}', '{"$ref": "https://example.org/schema"}',
                    '{"$anchor": "1"}', '{"$id": "a#b"}', '{"$defs": {"a": {"$id": "x"}, "b": {"$id": "x"}}}', '{"$schema": "http://json-schema.org/draft-04/schema#"}', '{"$schema": 1}',
                    '{"$ref": "#"}', '{"allOf": [{"anyOf": [{"$ref": "#"}]}]}', '{"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"not": {"$ref": "#/$defs/a"}}}}',
                    '{"title": 1}', '{"unevaluatedItems": 1}',
                    '{"pattern": 1}', '{"pattern": "x{2}{3}"}', '{"pattern": "a++"}', '{"pattern": "ä(?>a)"}', '{"pattern": "(*FAIL)"}',
                    '{"pattern": "(?<*a)b"}', '{"pattern": "\\p{^L}"}', '{"pattern": "(?R)"}', '{"pattern": "(?i)a"}', '{"pattern": "\\Aa\\Z"}', '{"pattern": "\\u{110000}"}']::jsonb[]) AS s;
-- (the reasons of these are PCRE2's, and it has several versions)
SELECT regexp_replace(test.error(format('SELECT triggerdo.define_task(''refused'', ''app.mail'', payload_schema => %L)', s)), 'pattern: .*', 'pattern') AS error
  FROM unnest(ARRAY['{"patternProperties": {"(": true}}', '{"pattern": "a("}', '{"pattern": "[b-a]"}', '{"pattern": "\\1"}', '{"pattern": "\\p{Nonsense}"}',
                    '{"pattern": "(?<=a*)b"}', '{"pattern": "äö("}']::jsonb[]) AS s;
SELECT replace(test.error(format('SELECT triggerdo.define_task(''refused'', ''app.mail'', payload_schema => %L)', jsonb_build_object('pattern', repeat('a', 9000)))),
               repeat('a', 200), '<200 a>') AS error;
SELECT count(*) FROM triggerdo.tasks WHERE id = 'refused';

-- What is too long to be repeated ends with a whole character, or the message would be no text. Red without: tdo_text_clip().
SELECT octet_length(convert_from(convert_to(test.error(format('SELECT triggerdo.define_task(''refused'', ''app.mail'', payload_schema => %L)', s)), 'UTF8'), 'UTF8')) > 200 AS ok
  FROM unnest(ARRAY[jsonb_build_object('pattern', '(' || repeat('ä', 200)), jsonb_build_object('pattern', repeat('ä', 200) || '(')]) s;
SELECT octet_length(convert_from(convert_to(triggerdo_test.schema_try(s, p), 'UTF8'), 'UTF8')) > 200 AS ok
  FROM (VALUES (jsonb_build_object('pattern', 'x' || repeat('ä', 200)), '""'::jsonb), (jsonb_build_object('pattern', repeat('ä', 200)), '""'),
               (jsonb_build_object('required', jsonb_build_array('x' || repeat('ä', 200))), '{}'), (jsonb_build_object('required', jsonb_build_array(repeat('ä', 200))), '{}')) v(s, p);

-- Patterns are ECMA-262's. Red without: translate_one() in src/pattern_ecma.c.
RESET ROLE;
CREATE FUNCTION test.matches(pattern text, value text) RETURNS bool LANGUAGE sql AS $$
    SELECT triggerdo_test.schema_try(jsonb_build_object('pattern', pattern), to_jsonb(value)) IS NULL $$;
SELECT pattern, string_agg(test.matches(pattern, value)::text, ' ' ORDER BY n) AS matches
  FROM (VALUES (1, '^a$', ARRAY['a', E'a\n']), (2, '^.$', ARRAY['a', E'\n', U&'\2028', 'ä', U&'\+01F600']), (3, '^\d$', ARRAY['1', U&'\0660']),
               (4, '^\w$', ARRAY['a', 'ä']), (5, '^\s$', ARRAY[' ', U&'\00A0', U&'\FEFF', 'a']), (6, '^\S$', ARRAY[' ', U&'\00A0', 'a']),
               (7, '^[\s\S]$', ARRAY[E'\n', 'a', U&'\FEFF']), (8, '^[^]$', ARRAY[E'\n', 'a']), (9, '[]', ARRAY['a', '']),
               (10, '^\p{Letter}\p{digit}$', ARRAY['ä1', '11']), (11, '^\P{L}$', ARRAY['1', 'a']), (12, '^\p{Script=Greek}$', ARRAY[U&'\03B1', 'a']),
               (13, '^\cJ$', ARRAY[E'\n', 'J']), (14, '^\x41\u0042\u{43}$', ARRAY['ABC']), (15, '^\ud83d\ude00$', ARRAY[U&'\+01F600']),
               (16, '^{a}$', ARRAY['{a}']), (17, '^a{,2}$', ARRAY['a{,2}', 'aa']), (18, '^(a)|b\1$', ARRAY['a', 'b']), (19, '^(?<n>a)\k<n>$', ARRAY['aa', 'ab']),
               (20, '^[[:alpha:]]$', ARRAY['a]', ':]', 'z']), (21, '^[\w-z]$', ARRAY['-', 'z', '+']), (22, '^[+-\d]$', ARRAY['-', '+', '1', '.']),
               (23, '^a(?=b)(?!bc)', ARRAY['ab', 'abc']), (24, '(?<=a)b(?<!ab)|(?<=a)c', ARRAY['ab', 'ac']), (25, '^a{2,3}?$', ARRAY['aa', 'a']), (26, '\/\-\.', ARRAY['/-.'])) v(n1, pattern, list),
       unnest(list) WITH ORDINALITY AS l(value, n)
 GROUP BY n1, pattern ORDER BY n1;

-- What would take long is given up, and said so: not "does not match".
-- Red without: count_item() in src/pattern.c, tdo_check_spend() in src/schema_rules.c (they end by the test's time limit).
CREATE FUNCTION test.costly(schema jsonb, payload jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RETURN coalesce(triggerdo_test.schema_try(schema, payload), 'fits');
EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
SELECT n, test.costly(schema::jsonb, payload)
  FROM (VALUES (1, '{"pattern": "^(a+)+$"}', to_jsonb(repeat('a', 100000) || 'b')),
               (2, '{"pattern": "(x+x+)+y"}', to_jsonb(repeat('x', 100000))),
               (3, '{"pattern": "(a*)*(a*)*(a*)*b"}', to_jsonb(repeat('a', 10000))),
               (4, '{"pattern": "^(.*)\\1\\1$"}', to_jsonb(repeat('a', 1000000) || 'b')),
               (5, '{"pattern": "(?=(?=(?=(a+a+)+b)))"}', to_jsonb(repeat('a', 100000))),
               (6, '{"pattern": "(?:a{30000}b)"}', to_jsonb(repeat('a', 1000000))),
               (7, '{"items": {"pattern": "^(a|aa)+$"}}', to_jsonb(array_fill(repeat('a', 40) || 'b', ARRAY[1000]))),
               (8, '{"items": {"multipleOf": 0.0000001}}', (SELECT jsonb_agg(('1e13' || i)::numeric) FROM generate_series(1000, 1070) i, generate_series(1, 20))),
               (9, '{"items": {"enum": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 10]}}', (SELECT jsonb_agg(10) FROM generate_series(1, 1000000))),
               (10, '{"$defs": {"a": {"allOf": [{"items": {"$ref": "#/$defs/a"}}, {"items": {"$ref": "#/$defs/a"}}]}}, "$ref": "#/$defs/a"}',
                (repeat('[', 60) || repeat(']', 60))::jsonb)) v(n, schema, payload) ORDER BY n;
-- Red (they fit, later) without: char_cost, PCRE2_INFO_MAXLOOKBEHIND in src/pattern.c; "passed", has_property() in src/schema_check.c.
SELECT n, test.costly(schema, payload)
  FROM (VALUES (1, (SELECT jsonb_build_object('pattern', '(?=([' || string_agg(chr(20000 + i), '' ORDER BY i) || ']*))(?:x|y)') FROM generate_series(1, 500) i),
                to_jsonb(repeat(chr(20500), 1500) || 'x')),
               (2, jsonb_build_object('pattern', '(?<=(?:' || repeat('x{60}', 20) || '){50}y)|z'), to_jsonb(repeat('x', 20000) || 'z')),
               (3, (SELECT jsonb_build_object('items', jsonb_build_object('properties', jsonb_object_agg(i::text, true))) FROM generate_series(10000, 59999) i),
                (SELECT jsonb_agg('{"zzzzz": 1}'::jsonb) FROM generate_series(1, 5000)))) v(n, schema, payload) ORDER BY n;
SELECT n, test.costly(jsonb_build_object('$ref', '#/$defs/d13', '$defs', jsonb_build_object('d0', d0) || doubled), payload)
  FROM (SELECT jsonb_object_agg('d' || i, jsonb_build_object('allOf', jsonb_build_array(jsonb_build_object('$ref', '#/$defs/d' || i - 1), jsonb_build_object('$ref', '#/$defs/d' || i - 1))))
          FROM generate_series(1, 13) i) d(doubled),
       (VALUES (1, jsonb_build_object('required', jsonb_build_array(repeat('k', 1000000))), jsonb_build_object(repeat('k', 1000000), 1)),
               (2, (SELECT jsonb_build_object('required', jsonb_agg(i::text)) FROM generate_series(1, 300) i), (SELECT jsonb_object_agg(i::text, 1) FROM generate_series(1, 20000) i))) v(n, d0, payload) ORDER BY n;
-- a class of many characters is no reason by itself
SELECT test.costly(jsonb_build_object('items', jsonb_build_object('pattern', '^[' || string_agg(chr(20000 + i), '' ORDER BY i) || ']+$')),
                   jsonb_agg(repeat(chr(20001) || chr(22000), 20))) FROM generate_series(1, 2000) i;
-- What a pattern had to remember is not kept. Red without: give_back() in src/pattern.c.
SELECT test.matches('^(?:a|b)*$', repeat('ab', 20000));
SELECT sum(total_bytes) < 1500000 AS ok FROM pg_backend_memory_contexts WHERE name = 'triggerdo patterns';
-- linear, so it ends
SELECT test.costly('{"pattern": "^[^b]*$", "minLength": 1, "maxLength": 3000000}', to_jsonb(repeat('a', 3000000)));
SELECT test.costly('{"uniqueItems": true}', (SELECT jsonb_agg(i) FROM generate_series(1, 100000) i));
-- deep, both ways: refused, and the server lives
SELECT left(test.costly('{"items": {"$ref": "#"}}', (repeat('[', 3000) || repeat(']', 3000))::jsonb), 5) IN ('fits', '54001') AS ok;
SELECT left(test.costly((repeat('{"not":', 3000) || 'true' || repeat('}', 3000))::jsonb, '1'), 5) IN ('fits', '54001') AS ok;
-- a schema that would take too much memory
SELECT test.costly((SELECT jsonb_build_object('anyOf', jsonb_agg(jsonb_build_object('minimum', i))) FROM generate_series(1, 200000) i), '1');
SELECT test.costly(jsonb_build_object('enum', jsonb_agg(NULL::int)), '1') FROM generate_series(1, 1000000) i;
-- What an enqueue would refuse, the definition does. Red without: the copy in compile() in src/payload.c.
SET ROLE app;
SELECT triggerdo.define_task('large', 'app.mail', payload_schema => jsonb_build_object('description', repeat('x', 17000000)));
RESET ROLE;
-- a statement is cancelled in the middle of a pattern, not when that is given up. Red without: heed_interrupts in src/pattern.c.
SET statement_timeout = '10 ms';
SELECT triggerdo_test.schema_try('{"pattern": "^(a|aa)+$"}', to_jsonb(repeat('a', 60) || 'b'));
RESET statement_timeout;
-- $dynamicRef finds its way at run time only
SELECT test.costly('{"$id": "http://x/a", "$dynamicAnchor": "n", "$ref": "b", "$defs": {"b": {"$id": "b", "$dynamicRef": "#n", "$defs": {"n": {"$dynamicAnchor": "n"}}}}}', '1') LIKE '%refers to itself%' AS ok;

ALTER SYSTEM RESET triggerdo.executors;
SELECT pg_reload_conf();
SELECT * FROM triggerdo.check_invariants();
