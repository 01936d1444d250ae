-- Job: documents that cannot be indexed: every word is a stop word, and the search table wants a word.
-- Run as editor, when the documents are indexed: so each of these changes makes one run that fails.
\set ON_ERROR_STOP on
\set words '\'to be or not to be\''
WITH c AS (UPDATE app.document SET summary = :words, description = :words WHERE id % 50 = 7 RETURNING 1)
INSERT INTO app.changed SELECT 'UPDATE', count(*), true FROM c;
WITH c AS (
    INSERT INTO app.document
    SELECT 4000000 + n, 'soliloquy' || n, 'misc', :words, :words FROM generate_series(1, 3) AS n RETURNING 1
)
INSERT INTO app.changed SELECT 'INSERT', count(*), true FROM c;
