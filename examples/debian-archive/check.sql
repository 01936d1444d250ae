-- Job: what has to hold when every run is final; one row for each thing that does not, none when all
-- is well. Run as a superuser, for check_invariants reads triggerdo's own tables.
\set ON_ERROR_STOP on
WITH n AS MATERIALIZED (
    SELECT (SELECT count(*) FROM app.stanza)                AS wanted,
           (SELECT count(*) FROM app.package)               AS packages,
           (SELECT count(*) FROM app.ledger)                AS lines,
           (SELECT count(DISTINCT package) FROM app.ledger) AS distinct_lines,
           (SELECT count(*) FROM app.dependency)            AS links,
           (SELECT count(*) FROM (SELECT DISTINCT package, field, clause, alternative
                                  FROM app.dependency) AS d) AS distinct_links
), runs AS MATERIALIZED (
    SELECT task, status::text, count(*) AS number, max(attempt) AS attempt,
           count(*) FILTER (WHERE error->>'message' <> '') AS messages
    FROM triggerdo.runs GROUP BY 1, 2
)
SELECT 'one row per package' AS broken, format('%s of %s', packages, wanted) AS detail
FROM n WHERE packages <> wanted OR wanted = 0
UNION ALL
SELECT 'one line of the ledger per package', format('%s lines, %s packages, of %s', lines, distinct_lines, wanted)
FROM n WHERE lines <> wanted OR distinct_lines <> wanted
UNION ALL
SELECT 'each row says what its stanza says', coalesce(s.package, p.package)
FROM app.stanza AS s FULL JOIN app.package AS p ON p.package = s.package
WHERE s.version IS DISTINCT FROM p.version
UNION ALL
SELECT 'no dependency is written twice', format('%s rows, %s dependencies', links, distinct_links)
FROM n WHERE links <> distinct_links
UNION ALL
SELECT 'the runs ended as they should', format('%s %s: %s, attempt %s', r.task, r.status, r.number, r.attempt)
FROM runs AS r CROSS JOIN n
WHERE NOT CASE r.task
    WHEN 'index-package'  THEN r.status = 'COMPLETED' AND r.number = n.wanted
    WHEN 'archive-report' THEN r.status = 'COMPLETED' AND r.number = 1
    WHEN 'broken-mirror'  THEN r.status = 'FAILED' AND r.number = 1 AND r.attempt = 2 AND r.messages = 1
    ELSE false END
UNION ALL
SELECT 'every task has its runs', format('%s of 3', count(*)) FROM runs HAVING count(*) <> 3
UNION ALL
SELECT 'invariant of triggerdo', i::text FROM triggerdo.check_invariants() AS i
ORDER BY 1, 2
LIMIT 20;
