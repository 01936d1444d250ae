-- Job: the tasks of the example, their hooks, and the wish to hear of changes. Run as app, after
-- schema.sql. Every name is written with its schema: a run begins in a fresh session, whatever its
-- search_path.
\set ON_ERROR_STOP on

-- The work: brings the search table up to date with one document. Of the payload only the key is
-- used. A run may start late, or beside another one for the same document, and then what the payload
-- says is old; so it looks at the table, and whatever the order, the last one leaves what is right.
CREATE FUNCTION app.index_document(payload jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    doc  int;
    docs int[];
BEGIN
    IF payload->>'operation' = 'TRUNCATE' THEN
        -- (names no rows: whatever is gone)
        docs := ARRAY(SELECT s.document FROM app.search AS s
                      WHERE NOT EXISTS (SELECT FROM app.document AS d WHERE d.id = s.document) ORDER BY 1);
    ELSE
        -- (two documents, if an update has changed the key)
        docs := ARRAY(SELECT DISTINCT (image->>'id')::int
                      FROM (VALUES (payload->'old'), (payload->'new')) AS v(image)
                      WHERE image->>'id' IS NOT NULL ORDER BY 1);
    END IF;

    FOREACH doc IN ARRAY docs LOOP
        -- First the row, which is the lock: a second run for this document waits here until the first has
        -- committed. The statements below begin after that, and see what there is by then.
        INSERT INTO app.search (document) VALUES (doc)
        ON CONFLICT (document) DO UPDATE SET document = excluded.document;

        UPDATE app.search AS s SET recipe = r.current, lexemes = app.lexemes(d, r.current)
        FROM app.document AS d, app.recipe AS r
        WHERE s.document = doc AND d.id = doc;
        IF NOT FOUND THEN
            DELETE FROM app.search AS s WHERE s.document = doc;
        END IF;
    END LOOP;
    INSERT INTO app.ledger (run, documents) SELECT c.run_id, docs FROM triggerdo.current_run() AS c;
    RETURN jsonb_build_object('documents', cardinality(docs));
END
$$;

-- on_failure: the run has failed for good, and this is in the transaction that says so. So the count is
-- exact, through crashes, too. And a document that cannot be indexed is not to be found by what it
-- said before.
CREATE FUNCTION app.count_failure(run jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    doc int := coalesce(run #>> '{payload,new,id}', run #>> '{payload,old,id}');
BEGIN
    INSERT INTO app.failure (run, document, sqlstate, message)
    VALUES ((run->>'run_id')::uuid, doc, run #>> '{error,sqlstate}', run #>> '{error,message}');

    -- (again: the lock first, then a look)
    PERFORM FROM app.search AS s WHERE s.document = doc FOR UPDATE;
    DELETE FROM app.search AS s USING app.document AS d, app.recipe AS r
    WHERE s.document = doc AND d.id = doc AND app.lexemes(d, r.current) = '';
END
$$;

-- catch_error: after each failed attempt. A text without words has none the next time either.
CREATE FUNCTION app.not_again(run jsonb, error jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN error->>'sqlstate' = '23514' THEN jsonb '{"skipRetrying": true}' END
$$;

-- All documents anew: a run for each, enqueued in one transaction with the end of this one.
CREATE FUNCTION app.reindex(payload jsonb) RETURNS jsonb
LANGUAGE sql AS $$
    SELECT pg_catalog.jsonb_build_object('documents', pg_catalog.count(
        triggerdo.trigger_task('index-document', pg_catalog.jsonb_build_object(
            'operation', 'REINDEX', 'schema', 'app', 'table', 'document',
            'new', pg_catalog.jsonb_build_object('id', d.id, 'package', d.package)))))
    FROM (SELECT id, package FROM app.document ORDER BY id) AS d
$$;

-- Who wants it, asks. The key says what for: to ask twice for the same recipe is to ask once.
CREATE FUNCTION app.ask_for_reindex() RETURNS uuid
LANGUAGE sql AS $$
    SELECT triggerdo.trigger_task('reindex', pg_catalog.jsonb_build_object('recipe', r.current),
                                  idempotency_key => 'recipe ' || r.current)
    FROM app.recipe AS r
$$;

-- Two tasks do the same: a condition about old and new rows fits updates only, and a task follows a
-- table with one condition.
SELECT triggerdo.define_task(t.id,
    run => 'app.index_document',
    description => 'brings app.search up to date with one row of app.document',
    retry => triggerdo.retry_policy(max_attempts => 3, min_delay => '100 ms'),
    catch_error => 'app.not_again',
    on_failure => 'app.count_failure',
    payload_schema => $${
        "type": "object",
        "required": ["operation", "schema", "table"],
        "properties": {
            "operation": {"enum": ["INSERT", "UPDATE", "DELETE", "TRUNCATE", "REINDEX"]},
            "schema": {"const": "app"},
            "table": {"const": "document"},
            "old": {"$ref": "#/$defs/row"},
            "new": {"$ref": "#/$defs/row"}
        },
        "if": {"properties": {"operation": {"enum": ["INSERT", "UPDATE", "REINDEX"]}}},
        "then": {"required": ["new"], "properties": {"new": {"type": "object"}}},
        "$defs": {
            "row": {
                "type": ["object", "null"],
                "required": ["id", "package"],
                "properties": {
                    "id": {"type": "integer", "minimum": 1},
                    "package": {"type": "string", "pattern": "^[a-z0-9][a-z0-9+.-]*$", "maxLength": 100},
                    "summary": {"type": "string", "maxLength": 500}
                }
            }
        }
    }$$) AS task
FROM (VALUES ('index-document'), ('index-changed-document')) AS t(id)
UNION ALL
SELECT triggerdo.define_task('reindex',
    run => 'app.reindex',
    description => 'triggers index-document for every document',
    payload_schema => $${
        "type": "object",
        "required": ["recipe"],
        "properties": {"recipe": {"type": "integer", "minimum": 1}},
        "additionalProperties": false
    }$$);

SELECT triggerdo.on_change('app.document', 'index-document', '{INSERT,DELETE,TRUNCATE}');
-- Only those that change what is searched.
SELECT triggerdo.on_change('app.document', 'index-changed-document', '{UPDATE}', condition =>
    '(old.id, old.summary, old.description) IS DISTINCT FROM (new.id, new.summary, new.description)');
