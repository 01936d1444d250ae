-- Job: prints the report proper. Run as app, when every run is final.
-- Two reports about the same archive are the same to the byte: nothing here depends on when, in what
-- order or how often something was tried, and every list is ordered to the last row.
\set ON_ERROR_STOP on
\pset footer off
\pset linestyle ascii
\pset border 1
\pset null ''

\qecho Documents, and what is found of them
SELECT (SELECT count(*) FROM app.document) AS documents, count(*) AS "rows to search",
       sum(length(lexemes)) AS lexemes, min(recipe) AS recipe,
       md5(string_agg(document || ' ' || lexemes::text, E'\n' ORDER BY document)) AS "md5 of all rows"
FROM app.search;

\qecho Queries: summaries only, then descriptions, too
SELECT a.query, a.hits AS "recipe 1", b.hits AS "recipe 2"
FROM app.hits AS a JOIN app.hits AS b USING (query)
WHERE a.recipe = 1 AND b.recipe = 2 ORDER BY a.query COLLATE "C";

\qecho 'app=> SELECT * FROM app.find(''...'') LIMIT 3;'
SELECT q.query, f.package, left(f.summary, 60) AS summary, round(f.rank::numeric, 3) AS rank
FROM (SELECT DISTINCT query FROM app.hits) AS q
CROSS JOIN LATERAL (SELECT * FROM app.find(q.query) LIMIT 3) AS f
ORDER BY q.query COLLATE "C", f.rank DESC, f.package COLLATE "C";

\qecho The runs
SELECT task, payload->>'operation' AS operation, status, count(*) AS runs,
       count(*) FILTER (WHERE parent_run_id IS NOT NULL) AS "triggered by another"
FROM triggerdo.runs GROUP BY 1, 2, 3 ORDER BY 1, 2, 3;

\qecho The failures, as the hook counted them
SELECT sqlstate, left(message, 70) AS message, count(*) AS failures, count(DISTINCT document) AS documents
FROM app.failure GROUP BY 1, 2 ORDER BY 1, 2;

\qecho What the payload schemas refused
SELECT asker, what, sqlstate, message, detail, hint FROM app.refusal ORDER BY number \gx

\qecho TRUNCATE, tried and rolled back: run_now does in this transaction what an executor would do later
BEGIN;
TRUNCATE app.document;
SELECT run_id AS run FROM triggerdo.runs WHERE payload->>'operation' = 'TRUNCATE' \gset
SELECT triggerdo.run_now(:'run')->>'ok' AS ok;
SELECT count(*) AS "rows to search" FROM app.search;
ROLLBACK;
