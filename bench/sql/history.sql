-- The filling of a large history. Run once by bench/run history, as superuser.

CREATE EXTENSION triggerdo_test;
SET ROLE app;
SELECT count(triggerdo.define_task('task-' || i, run => 'app.noop')) FROM generate_series(1, 100) i;
RESET ROLE;

-- n runs of one day, in the order of their ids; one of a hundred failed
CREATE PROCEDURE bench.fill_day(day date, n int, oldest bool) LANGUAGE plpgsql AS $$
DECLARE
    part text := to_char(day, 'YYYYMMDD');
BEGIN
    EXECUTE format($sql$
        CREATE TEMP TABLE ids AS
        SELECT i, to_timestamp(ms / 1000.0) AS at,
               (lpad(to_hex(ms), 12, '0') || '7' || lpad(to_hex(i %% 4096), 3, '0') ||
                '8' || substr(md5(i::text), 1, 15))::uuid AS run_id
          FROM generate_series(1, %2$s) i,
               LATERAL (SELECT (extract(epoch FROM %1$L::timestamptz) * 1000)::bigint + i::bigint * 86000000 / %2$s) t(ms)$sql$,
        day::text || ' 00:00:00+00', n);
    EXECUTE format($sql$
        INSERT INTO _triggerdo.run_%s (run_id, created_at, owner, triggered_by, priority, depth, task, payload)
        SELECT run_id, at, 'app'::regrole, 'app'::regrole, 0, 0,
               'task-' || CASE WHEN i <= 10 AND %L THEN 100 WHEN i %% 2 = 0 THEN 1 ELSE 2 + (i / 2) %% 98 END,
               jsonb_build_object('i', i)
          FROM ids ORDER BY i$sql$, part, oldest);
    EXECUTE format($sql$
        INSERT INTO _triggerdo.result_%s (run_id, queued_at, started_at, finished_at, attempt, status, output, error)
        SELECT run_id, at, at + interval '1 ms', at + interval '2 ms', 1,
               CASE WHEN i %% 100 = 0 THEN 'F' ELSE 'C' END, CASE WHEN i %% 100 > 0 THEN '{}'::jsonb END,
               CASE WHEN i %% 100 = 0 THEN '{"message": "on purpose"}'::jsonb END
          FROM ids ORDER BY i$sql$, part);
    DROP TABLE ids;
END $$;
