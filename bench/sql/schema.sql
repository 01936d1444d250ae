-- What a payload schema costs, run by bench/run schema: one check, the median of
-- 2,000 samples of 100 checks each; enqueues with and without; what is given up.

SET ROLE app;
SELECT triggerdo.define_task('plain', 'app.noop'),
       triggerdo.define_task('ten', 'app.noop', payload_schema => '{
    "type": "object",
    "required": ["id", "email", "name", "kind"],
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "email": {"type": "string", "maxLength": 200, "pattern": "^[^@\\s]+@[^@\\s]+$"},
        "name": {"type": "string", "minLength": 1, "maxLength": 100},
        "kind": {"enum": ["invoice", "reminder", "receipt"]},
        "amount": {"type": "number", "minimum": 0, "exclusiveMaximum": 1000000, "multipleOf": 0.01},
        "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
        "paid": {"type": "boolean"},
        "note": {"type": ["string", "null"]},
        "tags": {"type": "array", "maxItems": 10, "items": {"type": "string"}},
        "address": {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}, "zip": {"type": "string"}}}
    },
    "additionalProperties": false}');
-- the same, and 1 MB of definitions that nobody refers to: an enqueue does not see them
SELECT triggerdo.define_task('large', 'app.noop', payload_schema => payload_schema || jsonb_build_object('$defs',
    (SELECT jsonb_object_agg('d' || i, jsonb_build_object('description', repeat('x', 200), 'maximum', i)) FROM generate_series(1, 4000) i)))
  FROM triggerdo.tasks WHERE id = 'ten';
RESET ROLE;
CREATE TABLE bench.ten AS SELECT payload_schema AS schema, '{"id": 4711, "email": "ada@example.org", "name": "Ada Lovelace", "kind": "invoice",
    "amount": 199.99, "currency": "EUR", "paid": false, "note": null, "tags": ["a", "b"], "address": {"city": "London", "zip": "W1"}}'::jsonb AS payload
  FROM triggerdo.tasks WHERE id = 'ten';
GRANT USAGE ON SCHEMA bench TO app;
GRANT SELECT ON bench.ten TO app;
SELECT coalesce(triggerdo_test.schema_try(schema, payload), 'fits') AS verdict FROM bench.ten;
\pset format unaligned
\pset tuples_only on
SELECT format('one check of ten properties: %s us', round((triggerdo_test.schema_ns(schema, payload, 2000) / 1000)::numeric, 2)) FROM bench.ten;
SELECT format('the same without patterns, multipleOf, and nested: %s us', round((triggerdo_test.schema_ns(
    '{"type": "object", "required": ["a", "b", "c"], "additionalProperties": false, "properties": {
        "a": {"type": "string"}, "b": {"type": "string", "maxLength": 20}, "c": {"type": "integer"}, "d": {"type": "integer", "minimum": 0}, "e": {"type": "boolean"},
        "f": {"type": "boolean"}, "g": {"enum": ["x", "y"]}, "h": {"type": "number"}, "i": {"type": "string"}, "j": {"type": "null"}}}',
    '{"a": "text", "b": "text", "c": 1, "d": 2, "e": true, "f": false, "g": "y", "h": 1.5, "i": "text", "j": null}', 2000) / 1000)::numeric, 2));
\echo what is given up, or is not (each has 1 s)
CREATE FUNCTION bench.costly(schema jsonb, payload jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE t timestamptz := clock_timestamp(); said text;
BEGIN
    BEGIN
        said := coalesce(triggerdo_test.schema_try(schema, payload), 'fits');
    EXCEPTION WHEN OTHERS THEN said := SQLSTATE || ' ' || SQLERRM;
    END;
    RETURN format('%s ms: %s', round(1000 * extract(epoch FROM clock_timestamp() - t)), left(said, 60));
END $$;
SELECT name, bench.costly(schema::jsonb, payload)
  FROM (VALUES ('(a+)+', '{"pattern": "^(a+)+$"}', to_jsonb(repeat('a', 100000) || 'b')),
               ('(x+x+)+y', '{"pattern": "(x+x+)+y$"}', to_jsonb(repeat('x', 100000) || 'yz')),
               ('stars', '{"pattern": "(a*)*(a*)*(a*)*b$"}', to_jsonb(repeat('a', 10000) || 'bc')),
               ('back references', '{"pattern": "^(.*)\\1\\1$"}', to_jsonb(repeat('a', 1000000) || 'b')),
               ('.*.*.*x', '{"pattern": ".*.*.*[xy]z"}', to_jsonb(repeat('a', 1000000) || 'z')),
               ('lookahead', '{"pattern": "(?=(?=(?=(a+a+)+b)))"}', to_jsonb(repeat('a', 100000))),
               ('a{30000}', '{"pattern": "(?:a{30000}[bc])d"}', to_jsonb(repeat('a', 1000000) || 'd')),
               ('lookbehind', '{"pattern": "(?<=a{250})[bc]d"}', to_jsonb(repeat('a', 1000000) || 'd')),
               ('many strings', '{"items": {"pattern": "^(a|aa)+$"}}', to_jsonb(array_fill(repeat('a', 40) || 'b', ARRAY[1000]))),
               ('multipleOf', '{"items": {"multipleOf": 0.0000001}}', (SELECT jsonb_agg((repeat('9', 130000) || i)::numeric) FROM generate_series(1, 100) i)),
               ('multipleOf, 999 digits', ('{"items": {"multipleOf": ' || repeat('7', 499) || '.' || repeat('3', 499) || '}}'), (SELECT jsonb_agg((repeat('9', 130000) || i)::numeric) FROM generate_series(1, 100) i)),
               ('numbers', '{"items": {"maximum": 1}}', (SELECT jsonb_agg(('0.' || repeat('1', 16000) || i)::numeric) FROM generate_series(1, 3000) i)),
               ('enum', '{"items": {"enum": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}}', (SELECT jsonb_agg(10) FROM generate_series(1, 1000000))),
               ('allOf of items', '{"$defs": {"a": {"allOf": [{"items": {"$ref": "#/$defs/a"}}, {"items": {"$ref": "#/$defs/a"}}]}}, "$ref": "#/$defs/a"}', (repeat('[', 60) || repeat(']', 60))::jsonb),
               ('unevaluated', '{"$defs": {"a": {"anyOf": [true, true, true, true, true], "unevaluatedItems": true}}, "allOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}]}', (SELECT jsonb_agg(i) FROM generate_series(1, 1000000) i)),
               ('uniqueItems of 1,000,000', '{"uniqueItems": true}', (SELECT jsonb_agg(i) FROM generate_series(1, 1000000) i)),
               ('uniqueItems of objects', '{"uniqueItems": true}', (SELECT jsonb_agg(jsonb_build_object('a', repeat('x', 100), 'b', i)) FROM generate_series(1, 300000) i)),
               ('items: 3,000,000', '{"items": {"type": "integer"}}', (SELECT jsonb_agg(1) FROM generate_series(1, 3000000) i)),
               ('maxLength of 100 MB', '{"maxLength": 90000000}', to_jsonb(repeat('a', 100000000))),
               ('leaves many walks', '{"items": {"anyOf": [{"items": {"type": "string"}}, {"type": "array"}]}}', (SELECT jsonb_agg('[1]'::jsonb) FROM generate_series(1, 1000000) i)),
               ('compile: counts of counts', '{"pattern": "(?:(?:(?:a{100}){100}){100}){100}"}', '"a"'),
               ('compile: 65,000', '{"pattern": "(?:(?:ab?){200}){300}"}', '"a"'),
               ('compile: lookbehinds', '{"pattern": "' || repeat('(?<=', 90) || 'a' || repeat(')', 90) || '"}', '"a"'),
               ('compile: alternatives', '{"pattern": "' || repeat('(?:a?|b?|', 90) || 'c' || repeat(')*', 90) || '"}', '"c"'),
               ('compile: optional', '{"pattern": "' || repeat('(a?)', 1500) || '"}', '"c"'),
               ('compile: classes', '{"pattern": "' || repeat('[\\S\\W\\p{L}]*', 600) || '"}', '"c"'),
               ('compile: 3,000 patterns', (SELECT jsonb_build_object('anyOf', jsonb_agg(jsonb_build_object('pattern', repeat('(a+)+', 1600) || i))) FROM generate_series(1, 3000) i)::text, '"b"'),
               ('compile: 3,000 anchors', (SELECT jsonb_build_object('$defs', jsonb_object_agg('d' || i, jsonb_build_object('$anchor', 'a' || i, '$ref', '#a' || i % 10)), 'items', true) FROM generate_series(10, 3000) i)::text, '"b"'),
               ('propertyNames', '{"propertyNames": {"maxLength": 20}, "patternProperties": {"^a": {}, "b$": {}, "c": {}}}', (SELECT jsonb_object_agg('k' || i, i) FROM generate_series(1, 500000) i))) v(name, schema, payload);
