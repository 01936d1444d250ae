-- What bare PostgreSQL is measured with, and what all parts share. Run once by
-- bench/run, as superuser.

CREATE ROLE app LOGIN;
CREATE SCHEMA app AUTHORIZATION app;
CREATE SCHEMA bare AUTHORIZATION app;
CREATE SCHEMA bench AUTHORIZATION app;

SET ROLE app;

-- One table, one index, each.
CREATE TABLE bare.one (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payload jsonb NOT NULL
);
CREATE TABLE bare.bulk (LIKE bare.one INCLUDING IDENTITY INCLUDING INDEXES);
CREATE TABLE bare.queue (LIKE bare.one INCLUDING IDENTITY INCLUDING INDEXES);
CREATE TABLE bare.sink (LIKE bare.one INCLUDING IDENTITY INCLUDING INDEXES);
CREATE TABLE bare.result (
    id          bigint PRIMARY KEY,
    output      jsonb,
    finished_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE bench.latency (figure text NOT NULL, ms numeric NOT NULL);

-- The cost of an insert and its commit, n times, with idle gaps as in
-- bench.trigger_latency.
CREATE PROCEDURE bench.bare_latency(n int) LANGUAGE plpgsql AS $$
DECLARE
    t0      timestamptz;
    took    interval[];
BEGIN
    FOR i IN -4 .. n LOOP
        PERFORM pg_sleep(0.015 + 0.03 * random());
        COMMIT;
        t0 := clock_timestamp();
        INSERT INTO bare.one (payload) VALUES ('{}');
        COMMIT;
        took[i] := clock_timestamp() - t0;
    END LOOP;
    INSERT INTO bench.latency
    SELECT 'bare_latency', extract(epoch FROM took[i]) * 1000 FROM generate_series(1, n) i;
END $$;

-- Waits until a table of jobs is empty, looking every 10 ms. Returns, in seconds
-- of the epoch, when the job of the lowest key was last seen (the argument, when
-- it never was: rather too early than too late), and when all were found gone.
-- One probe of a key while there is work, and a commit after each: neither the
-- scan of a whole table nor an old snapshot is to slow down what is measured.
CREATE PROCEDURE bench.await_drain(jobs text, key text, INOUT first numeric, INOUT last numeric)
LANGUAGE plpgsql AS $$
DECLARE
    lowest  text;
    highest text;
    begun   bool := false;
    more    bool;
    give_up timestamptz := clock_timestamp() + interval '10 min';
    probe   text := format('SELECT EXISTS (SELECT FROM %s WHERE %I = $1::%s)', jobs, key,
        (SELECT format_type(atttypid, atttypmod) FROM pg_attribute
         WHERE attrelid = jobs::regclass AND attname = key));
BEGIN
    EXECUTE format('SELECT %I FROM %s ORDER BY 1 LIMIT 1', key, jobs) INTO lowest;
    EXECUTE format('SELECT %I FROM %s ORDER BY 1 DESC LIMIT 1', key, jobs) INTO highest;
    LOOP
        COMMIT;
        IF NOT begun THEN
            EXECUTE probe INTO more USING lowest;
            IF more THEN
                first := extract(epoch FROM clock_timestamp());
            ELSE
                begun := true;
            END IF;
        END IF;
        EXECUTE probe INTO more USING highest;
        IF NOT more THEN
            EXECUTE format('SELECT EXISTS (SELECT FROM %s)', jobs) INTO more;
            IF NOT more THEN
                last := extract(epoch FROM clock_timestamp());
                EXIT;
            END IF;
        END IF;
        IF clock_timestamp() > give_up THEN
            RAISE EXCEPTION '% is not empty after 10 minutes', jobs;
        END IF;
        COMMIT;
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
