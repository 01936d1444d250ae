-- Job: prints the report proper. Run as app, when every run is final.
-- Two reports about the same archive are the same to the byte: nothing here depends on when, in what
-- order or how often something was tried, and every list is ordered to the last row.
\set ON_ERROR_STOP on
\pset footer off
\pset linestyle ascii
\pset border 1
\pset null ''
SELECT output AS report FROM triggerdo.runs WHERE task = 'archive-report' AND status = 'COMPLETED' \gset

\qecho The archive
SELECT r.packages, r.alternatives AS "dependency alternatives", r.provisions AS "names provided",
       pg_size_pretty(r.installed_kib * 1024) AS installed, pg_size_pretty(r.download) AS download
FROM jsonb_to_record(:'report') AS r(packages bigint, alternatives bigint, provisions bigint,
                                     installed_kib numeric, download numeric);

\qecho Size by section (the fifteen largest)
WITH ranked AS (
    SELECT s.*, least(row_number() OVER (ORDER BY s.installed_kib DESC, s.section COLLATE "C"), 16) AS place
    FROM jsonb_to_recordset(:'report'::jsonb->'sections')
         AS s(section text, packages bigint, installed_kib numeric, download numeric)
)
SELECT CASE WHEN place < 16 THEN min(section) ELSE format('(%s more)', count(*)) END AS section,
       sum(packages) AS packages, pg_size_pretty(sum(installed_kib) * 1024) AS installed,
       pg_size_pretty(sum(download)) AS download
FROM ranked GROUP BY place ORDER BY place;

\qecho The ten most depended-on packages
SELECT p.target AS package, p.dependents
FROM jsonb_to_recordset(:'report'::jsonb->'popular') AS p(target text, dependents bigint)
ORDER BY p.dependents DESC, p.target COLLATE "C";

SELECT format('Dependencies nothing provides: %s, of %s packages%s',
              :'report'::jsonb->>'unmet_clauses', :'report'::jsonb->>'unmet_packages',
              CASE WHEN jsonb_array_length(coalesce(nullif(:'report'::jsonb->'unmet', 'null'), '[]')) = 10
                   THEN ' (the ten most wanted)' END) AS line \gset
\qecho :line
SELECT u.wants AS dependency, u.clauses AS times, u.packages
FROM jsonb_to_recordset(coalesce(nullif(:'report'::jsonb->'unmet', 'null'), '[]'))
     AS u(wants text, clauses bigint, packages bigint)
ORDER BY u.clauses DESC, u.wants COLLATE "C";

\qecho The effects, counted twice over: by the keyed table, and by a ledger that would take a double
SELECT (SELECT count(*) FROM app.stanza)                 AS "packages to index",
       (SELECT count(*) FROM app.package)                AS "rows, keyed",
       (SELECT count(*) FROM app.ledger)                 AS "lines of the ledger",
       (SELECT count(DISTINCT package) FROM app.ledger)  AS "packages in it",
       :'report'::jsonb->>'fingerprint'                  AS "md5 of all rows";

\qecho The runs
\qecho 'app=> SELECT task, status, count(*) FROM triggerdo.runs GROUP BY 1, 2 ORDER BY 1, 2;'
SELECT task, status, count(*) FROM triggerdo.runs GROUP BY 1, 2 ORDER BY 1, 2;

\qecho The one that is wrong on purpose
\qecho 'app=> SELECT task, error->>''message'' AS message, error->>''hint'' AS hint FROM triggerdo.runs'
\qecho '      WHERE status = ''FAILED'' ORDER BY 1, 2;'
SELECT task, error->>'message' AS message, error->>'hint' AS hint FROM triggerdo.runs
WHERE status = 'FAILED' ORDER BY 1, 2;
