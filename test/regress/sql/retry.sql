-- retry_policy and retry_delay: the formula is Trigger.dev's, to the millisecond.

-- Defaults, and NULL meaning the default. Red without: tdo_retry_defaults in src/retry.c.
SELECT triggerdo.retry_policy();
SELECT triggerdo.retry_policy(NULL, NULL, NULL, NULL, NULL, NULL) = triggerdo.retry_policy() AS same;
SELECT triggerdo.retry_policy(8, 'linear', 1.5, '250 ms', '1 day', false);

-- The worked table. Red without: pow(), the cap or the rounding in tdo_retry_delay_ms().
SELECT n, triggerdo.retry_delay('{"maxAttempts":12,"factor":1.8,"minTimeoutInMs":500,"maxTimeoutInMs":30000,"randomize":false}', n::int)
       = expected * interval '1 ms' AS ok, expected
  FROM unnest('{500,900,1620,2916,5249,9448,17006,30000,30000,30000,30000}'::int[]) WITH ORDINALITY AS t(expected, n);
SELECT triggerdo.retry_delay('{"maxAttempts":12,"factor":1.8,"minTimeoutInMs":500,"maxTimeoutInMs":30000,"randomize":false}', 12) IS NULL AS last;
-- the formula against numeric arithmetic, over many policies
SELECT count(*) AS compared,
       count(*) FILTER (WHERE got IS DISTINCT FROM round(least(cap, base)) * interval '1 ms') AS wrong
  FROM (SELECT f, m, n, cap, m * f ^ (n - 1) AS base,
               triggerdo.retry_delay(triggerdo.retry_policy(100, 'exponential', f::float8, m * interval '1 ms', cap * interval '1 ms', false), n::int) AS got
          FROM unnest('{1,1.5,2,3,10}'::numeric[]) f, unnest('{0,1,3,1000,7777}'::numeric[]) m,
               unnest('{7777,60000,86400000}'::numeric[]) cap, generate_series(1, 30) n) t;
-- every backoff, without jitter
SELECT b AS backoff, array_agg(triggerdo.retry_delay(triggerdo.retry_policy(8, b, 2, '10 s', '60 s', false), n) ORDER BY n) AS delays
  FROM unnest('{exponential,linear,fixed,none}'::text[]) WITH ORDINALITY AS u(b, o), generate_series(1, 8) n
 GROUP BY o, b ORDER BY o;
-- missing keys take the defaults, one by one; null is a missing key
SELECT p AS policy, min(triggerdo.retry_delay(p, 1)) >= interval '1 s' AS from_1_s, max(triggerdo.retry_delay(p, 1)) <= interval '2 s' AS to_2_s,
       min(triggerdo.retry_delay(p, 3)) IS NULL AS three
  FROM unnest(ARRAY['{}', '{"backoff":"exponential"}', '{"maxAttempts":3}', '{"randomize":null,"factor":null}']::jsonb[]) p,
       generate_series(1, 200)
 GROUP BY p ORDER BY p;

-- Jitter: [base, 2 base) rounded to ms, never beyond the cap, none at it, never shorter.
-- Red without: 1.0 + in tdo_retry_draw(), or with the cap before the jitter.
SELECT b AS backoff, n AS attempt, min(d) >= base AND max(d) <= 2 * base AS inside,
       max(d) - min(d) > 0.9 * base AS spread, count(DISTINCT d) > 500 AS many
  FROM (VALUES ('exponential', 1, interval '1 s'), ('exponential', 4, '8 s'), ('linear', 3, '3 s'), ('fixed', 7, '1 s')) v(b, n, base),
       generate_series(1, 1000),
       LATERAL (SELECT triggerdo.retry_delay(triggerdo.retry_policy(10, b, 2, '1 s', '60 s', true), n + 0 * generate_series) AS d) s
 GROUP BY b, n, base ORDER BY b, n;
SELECT min(d) >= interval '32 s' AS low, max(d) = interval '36 s' AS capped,
       count(*) FILTER (WHERE d = interval '36 s') BETWEEN 820 AND 920 AS seven_of_eight
  FROM generate_series(1, 1000) i, LATERAL (SELECT triggerdo.retry_delay(triggerdo.retry_policy(10, max_delay => '36 s'), 6 + 0 * i) AS d) s;
SELECT min(d), max(d) FROM generate_series(1, 1000) i, LATERAL (SELECT triggerdo.retry_delay(triggerdo.retry_policy(100), 7 + i % 90) AS d) s;
SELECT max(triggerdo.retry_delay(triggerdo.retry_policy(10, 'none'), 1 + i % 9)) FROM generate_series(1, 1000) i;
-- far beyond the range of a double
SELECT triggerdo.retry_delay('{"maxAttempts":32767,"factor":1e300,"minTimeoutInMs":1,"maxTimeoutInMs":86400000}', 32766);
SELECT triggerdo.retry_delay('{"maxAttempts":32767,"factor":1e300,"minTimeoutInMs":0,"maxTimeoutInMs":86400000}', 32766);
SELECT triggerdo.retry_delay('{"maxAttempts":32767,"factor":0.5,"randomize":false}', n) FROM generate_series(1, 12) n;

-- Refused. Red without: tdo_retry_check(), policy_key() in src/retry.c.
SELECT a AS arguments, test.error(format('SELECT triggerdo.retry_policy(%s)', a)) AS error
  FROM unnest(ARRAY['0', '-1', '32768', $$backoff => 'quadratic'$$, $$backoff => 'Linear'$$, 'factor => 0', 'factor => -2', $$factor => 'nan'$$,
                    $$factor => 'infinity'$$, $$min_delay => '-1 s'$$, $$max_delay => '-1 s'$$, $$min_delay => '2 min'$$, $$max_delay => '1000 years'$$]) AS a;
SELECT p AS policy, test.error(format('SELECT triggerdo.retry_delay(%L, 1)', p)) AS error
  FROM unnest(ARRAY['[]', '1', 'null', '{"attempts":3}', '{"maxAttempts":"3"}', '{"maxAttempts":0}', '{"maxAttempts":2.5}', '{"maxAttempts":1e9}',
                    '{"backoff":3}', '{"backoff":"none "}', '{"factor":"2"}', '{"factor":0}', '{"minTimeoutInMs":-1}', '{"minTimeoutInMs":70000}',
                    '{"maxTimeoutInMs":1e20}', '{"randomize":1}', '{"max_attempts":3}']::text[]) AS p;
SELECT test.error($$SELECT triggerdo.retry_delay(NULL, 1)$$), test.error($$SELECT triggerdo.retry_delay('{}', NULL)$$);
SELECT n, test.error(format('SELECT triggerdo.retry_delay(%L, %s)', '{}', n)) FROM unnest('{0,-1}'::int[]) n;
SELECT triggerdo.retry_delay('{}', 2147483647) IS NULL AS far_past;

-- A plain role may call both.
SET ROLE bob;
SELECT triggerdo.retry_delay(triggerdo.retry_policy(jitter => false), 2);
RESET ROLE;

-- The setting triggerdo.default_retry is the policy of tasks without one.
-- Red without: tdo_default_retry in src/task.c tdo_task_policy().
SET ROLE app;
CREATE FUNCTION app.fails(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
SELECT triggerdo.define_task('default-retry', 'app.fails');
RESET ROLE;
ALTER SYSTEM SET triggerdo.default_retry = '{"maxAttempts":3,"backoff":"none"}';
SELECT pg_reload_conf();
\c -
SET ROLE app;
SELECT triggerdo.trigger_task('default-retry') AS run1 \gset
SELECT triggerdo.trigger_task('default-retry', max_attempts => 2) AS run2 \gset
SELECT triggerdo.wait_for_run(:'run1')->'ok' AS ok1, triggerdo.wait_for_run(:'run2')->'ok' AS ok2;
SELECT status, attempt, max_attempts FROM triggerdo.runs WHERE task = 'default-retry' ORDER BY run_id;
RESET ROLE;
-- a wrong one is refused. Red without: the check hook in src/guc.c.
ALTER SYSTEM SET triggerdo.default_retry = '{"maxAttempts":0}';
ALTER SYSTEM SET triggerdo.default_retry = '{"attempts":3}';
ALTER SYSTEM SET triggerdo.default_retry = '[]';
ALTER SYSTEM SET triggerdo.default_retry = 'not json';
ALTER SYSTEM RESET triggerdo.default_retry;
SELECT pg_reload_conf();
\c -
SELECT triggerdo.drop_task('default-retry');
SELECT * FROM triggerdo.check_invariants();
