-- Job: what has to hold when every run is final; one row for each thing that does not, none when all
-- is well. Run as a superuser, for check_invariants reads triggerdo's own tables.
\set ON_ERROR_STOP on
WITH runs AS MATERIALIZED (
    SELECT run_id, task, status::text, attempt, error, triggered_by::text, parent_run_id,
           idempotency_key, payload->>'operation' AS operation
    FROM triggerdo.runs
), changed AS (                               -- what the writers counted, and what came of it
    SELECT operation, sum(number) AS number, coalesce(sum(number) FILTER (WHERE poisoned), 0) AS poisoned
    FROM app.changed GROUP BY operation
), poison_left AS (                           -- poisoned, and not mended before all was indexed anew
    SELECT count(*) AS number FROM app.document WHERE summary = 'to be or not to be'
), expected AS (
    SELECT operation, number, poisoned FROM changed
    UNION ALL
    SELECT 'REINDEX', (SELECT count(*) FROM app.document), number FROM poison_left
), seen AS (
    SELECT operation, count(*) AS number, count(*) FILTER (WHERE status = 'FAILED') AS failed
    FROM runs WHERE task <> 'reindex' GROUP BY operation
)
SELECT 'the search table is what a rebuild gives' AS broken, left(o::text, 100) AS detail FROM app.out_of_step AS o
UNION ALL
SELECT 'there is something to search', 'nothing' WHERE NOT EXISTS (SELECT FROM app.search)
UNION ALL
-- a run for each row changed, none for what was rolled back, refused or left out by the condition
SELECT 'a run for each change, and its end', format('%s: %s', coalesce(e.operation, s.operation),
       format('%s runs of %s, %s FAILED of %s', s.number, e.number, s.failed, e.poisoned))
FROM expected AS e FULL JOIN seen AS s ON s.operation = e.operation
WHERE (e.number, e.poisoned) IS DISTINCT FROM (s.number, s.failed)
UNION ALL
SELECT 'each run ends as it should', format('%s %s %s, attempt %s', r.run_id, r.task, r.status, r.attempt)
FROM runs AS r
WHERE NOT CASE r.status
    WHEN 'COMPLETED' THEN r.error IS NULL
    -- (once: catch_error has seen that trying again is of no use)
    WHEN 'FAILED' THEN r.task <> 'reindex' AND r.attempt = 1 AND r.error->>'sqlstate' = '23514'
    ELSE false END
UNION ALL
-- whoever writes: editor wrote all the documents
SELECT 'app has triggered every run', format('%s by %s', run_id, triggered_by)
FROM runs WHERE triggered_by IS DISTINCT FROM 'app'
UNION ALL
SELECT 'the hook has counted each failure once', coalesce(r.run_id, f.run)::text
FROM (SELECT run_id FROM runs WHERE status = 'FAILED') AS r
FULL JOIN (SELECT run, count(*) AS lines FROM app.failure GROUP BY run) AS f ON f.run = r.run_id
WHERE f.lines IS DISTINCT FROM 1 OR r.run_id IS NULL
UNION ALL
SELECT 'no hook has failed, and none waits', format('%s of %s: %s', hook, run_id, error->>'message') FROM triggerdo.hooks
UNION ALL
SELECT 'each run that completed has written once, others nothing', coalesce(r.run_id, l.run)::text
FROM (SELECT run_id FROM runs WHERE task <> 'reindex' AND status = 'COMPLETED') AS r
FULL JOIN (SELECT run, count(*) AS lines FROM app.ledger GROUP BY run) AS l ON l.run = r.run_id
WHERE l.lines IS DISTINCT FROM 1 OR r.run_id IS NULL
UNION ALL
SELECT 'asked four times, indexed anew once', format('%s runs, keys %s', count(*), array_agg(idempotency_key))
FROM runs WHERE task = 'reindex'
HAVING array_agg(idempotency_key) IS DISTINCT FROM ARRAY['recipe 2']
UNION ALL
SELECT 'what indexing anew triggers is its child', r.run_id::text
FROM runs AS r
WHERE r.operation = 'REINDEX'
  AND NOT EXISTS (SELECT FROM runs AS p WHERE p.task = 'reindex' AND p.run_id = r.parent_run_id)
UNION ALL
SELECT 'the schemas refuse all of it, and say why', format('%s: %s %s', what, sqlstate, message)
FROM app.refusal WHERE sqlstate <> '22023' OR message = '' OR detail || hint = ''
UNION ALL
SELECT 'the schemas were asked', format('%s of 6', count(*)) FROM app.refusal HAVING count(*) <> 6
UNION ALL
SELECT 'a wider recipe finds no less', format('%s: %s, then %s', a.query, a.hits, b.hits)
FROM app.hits AS a JOIN app.hits AS b ON b.query = a.query AND a.recipe = 1 AND b.recipe = 2
WHERE (a.query NOT LIKE '%-%' AND b.hits < a.hits) OR b.hits = 0
UNION ALL
SELECT 'invariant of triggerdo', i::text FROM triggerdo.check_invariants() AS i
ORDER BY 1, 2
LIMIT 20;
