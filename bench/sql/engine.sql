-- The extension, its tasks, and the latency test. Run once by bench/run, as
-- superuser.

CREATE EXTENSION triggerdo;
GRANT USAGE ON SCHEMA triggerdo TO app;

SET ROLE app;

CREATE TABLE app.sink (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payload jsonb NOT NULL
);

CREATE FUNCTION app.noop(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN '{}';
END $$;

CREATE FUNCTION app.write(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO app.sink (payload) VALUES (payload);
    RETURN '{}';
END $$;

-- For the part "change".
CREATE TABLE app.plain (id int PRIMARY KEY, name text, at timestamptz, price numeric, ok bool);
CREATE TABLE app.followed (LIKE app.plain INCLUDING ALL);

-- When did it start: seconds of the epoch.
CREATE FUNCTION app.started(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN to_jsonb(extract(epoch FROM clock_timestamp()));
END $$;

SELECT triggerdo.define_task('noop', run => 'app.noop');
SELECT triggerdo.define_task('write', run => 'app.write');
SELECT triggerdo.define_task('started', run => 'app.started');
SELECT triggerdo.on_change('app.followed', 'noop');

-- n single triggers on an idle server, 15 to 45 ms apart. The session reads the
-- clock before trigger_task, immediately before COMMIT, and after it; the run's
-- output is the clock at its start. Nothing is read before all are done, so
-- that nothing disturbs. The first five warm up and are not counted.
CREATE PROCEDURE bench.trigger_latency(n int) LANGUAGE plpgsql AS $$
DECLARE
    runs    uuid[];
    called  timestamptz[];
    commits timestamptz[];
    back    timestamptz[];
BEGIN
    FOR i IN -4 .. n LOOP
        PERFORM pg_sleep(0.015 + 0.03 * random());
        COMMIT;
        called[i] := clock_timestamp();
        runs[i] := triggerdo.trigger_task('started', '{}');
        commits[i] := clock_timestamp();
        COMMIT;
        back[i] := clock_timestamp();
    END LOOP;
    FOR i IN 1 .. 100 LOOP
        COMMIT;
        EXIT WHEN triggerdo.run_result(runs[n]) IS NOT NULL;
        PERFORM pg_sleep(0.1);
    END LOOP;
    PERFORM pg_sleep(0.1);
    COMMIT;
    INSERT INTO bench.latency
    SELECT f.figure, (s.started - extract(epoch FROM f.since)) * 1000
    FROM generate_series(1, n) i
    CROSS JOIN LATERAL (SELECT (triggerdo.run_result(runs[i]))::numeric OFFSET 0) s(started)
    CROSS JOIN LATERAL (VALUES ('call_start', called[i]), ('commit_start', commits[i]),
        ('committed_start', back[i])) f(figure, since);
END $$;
