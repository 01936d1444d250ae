-- Job: some of the poisoned documents get words again. Run as editor, when the failures are counted.
\set ON_ERROR_STOP on
WITH c AS (
    UPDATE app.document SET summary = summary || ', that is the question'
    WHERE summary = 'to be or not to be' AND (id % 100 = 7 OR id = 4000001) RETURNING 1
)
INSERT INTO app.changed SELECT 'UPDATE', count(*) FROM c;
