-- Job: asks for what the payload schemas refuse. Run as app and as editor, who are both told why.
\set ON_ERROR_STOP on
SELECT app.attempt(what, statement) FROM (VALUES
    ('app', 'a payload that names no row',
     $$SELECT triggerdo.trigger_task('index-document', '{"operation": "UPDATE", "schema": "app", "table": "document"}')$$),
    ('app', 'a payload for another table',
     $$SELECT triggerdo.trigger_task('index-document',
        '{"operation": "INSERT", "schema": "app", "table": "invoice", "new": {"id": 1, "package": "a"}}')$$),
    ('app', 'one bad payload in a batch of three',
     $$SELECT triggerdo.batch_trigger_task('reindex',
        ARRAY['{"recipe": 1}', '{"recipe": "newest"}', '{"recipe": 2}']::jsonb[])$$),
    ('app', 'a member that the schema does not have',
     $$SELECT triggerdo.trigger_task('reindex', '{"recipe": 1, "force": true}')$$),
    ('editor', 'a document that no package can be named as',
     $$INSERT INTO app.document VALUES (5000001, 'Not a Package!', 'misc', 'words', 'words')$$),
    ('editor', 'an update of three documents to a text too long',
     $$UPDATE app.document SET summary = repeat('word ', 101) WHERE id IN (9, 10, 11)$$)
) AS a(asker, what, statement)
WHERE asker = current_user;
