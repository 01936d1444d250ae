-- Job: what editors do to documents. Run as editor, with turn = 0 while the runs of the load are still
-- going on, and with turn = 1 when all is indexed: what is deleted then has to go from the search table.
-- Each statement writes down, in its own transaction, how many rows it has changed.
\set ON_ERROR_STOP on

-- Each of these twice in a row: two runs, which two executors may well do at once, or the later first.
DO $$
DECLARE
    doc int;
BEGIN
    FOR doc IN SELECT id FROM app.document WHERE id % 20 = 1 OR id < 200 ORDER BY id LOOP
        UPDATE app.document SET summary = summary || ', reviewed' WHERE id = doc;
        UPDATE app.document SET summary = summary || ' with care' WHERE id = doc;
        INSERT INTO app.changed VALUES ('UPDATE', 2);
    END LOOP;
END
$$;

-- Nothing that is searched: the condition keeps it from making runs.
UPDATE app.document SET section = 'misc' WHERE id % 20 = 2;

WITH c AS (DELETE FROM app.document WHERE id % 50 = 3 + 25 * :turn RETURNING 1)
INSERT INTO app.changed SELECT 'DELETE', count(*) FROM c;

-- Another key: the old one has to go from the search table, the new one to come.
WITH c AS (UPDATE app.document SET id = id + 1000000 WHERE id % 50 = 4 + 20 * :turn RETURNING 1)
INSERT INTO app.changed SELECT 'UPDATE', count(*) FROM c;

-- New ones; and one that is there already, which makes it an update.
WITH c AS (
    INSERT INTO app.document
    SELECT id + 2000000, package || '-local', section, summary || ', as we build it', description
    FROM app.document WHERE id % 100 = 5 + 10 * :turn RETURNING 1
)
INSERT INTO app.changed SELECT 'INSERT', count(*) FROM c;
WITH c AS (
    INSERT INTO app.document
    SELECT id + 3000000, package, section, summary || ', as we build it', description
    FROM app.document WHERE id = 6
    ON CONFLICT (package) DO UPDATE SET summary = excluded.summary RETURNING 1
)
INSERT INTO app.changed SELECT 'UPDATE', count(*) FROM c;

-- Thought better of: no run, for a transaction, or a part of one, that is rolled back.
BEGIN;
UPDATE app.document SET summary = 'rolled back';
DELETE FROM app.document;
ROLLBACK;
BEGIN;
SAVEPOINT s;
UPDATE app.document SET summary = 'rolled back, too';
ROLLBACK TO s;
WITH c AS (UPDATE app.document SET description = description || E'\nSeen.' WHERE id % 50 = 8 RETURNING 1)
INSERT INTO app.changed SELECT 'UPDATE', count(*) FROM c;
COMMIT;
