-- A database of version 0.1.0, as pg_dump wrote it on PostgreSQL 15: tasks of each
-- kind, final runs with every end there is, runs that wait (queued, delayed, to be
-- retried, of a batch, claimed when the server crashed). Real rows of the real library
-- of 0.1.0, left out: comments, empty lines and the superuser's name. Loaded by
-- test/t/064_update.pl and scripts/check-deb, after CREATE EXTENSION triggerdo VERSION '0.1.0'
-- with triggerdo--0.1.0.sql beside this file, the install script of 0.1.0 as it was.
-- The roles app (16517 here) and other (16519) must be there.
SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
CREATE EXTENSION IF NOT EXISTS triggerdo WITH SCHEMA pg_catalog;
COMMENT ON EXTENSION triggerdo IS 'background jobs in the database: tasks, triggers, retries, schedules';
CREATE SCHEMA app;
ALTER SCHEMA app OWNER TO app;
CREATE SCHEMA other;
ALTER SCHEMA other OWNER TO other;
CREATE FUNCTION app.again(payload jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    AS $$ BEGIN
    IF (SELECT attempt FROM triggerdo.current_run()) = 1 THEN RAISE 'the first attempt fails'; END IF;
    INSERT INTO app.effect SELECT task, run_id FROM triggerdo.current_run();  RETURN payload; END $$;
ALTER FUNCTION app.again(payload jsonb) OWNER TO app;
CREATE FUNCTION app.echo(payload jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    AS $$ BEGIN
    INSERT INTO app.effect SELECT task, run_id FROM triggerdo.current_run();  RETURN payload; END $$;
ALTER FUNCTION app.echo(payload jsonb) OWNER TO app;
CREATE FUNCTION app.slow(payload jsonb) RETURNS void
    LANGUAGE sql
    AS $$ SELECT pg_sleep(3600) $$;
ALTER FUNCTION app.slow(payload jsonb) OWNER TO app;
CREATE PROCEDURE app.step(IN payload jsonb, INOUT result jsonb)
    LANGUAGE plpgsql
    AS $$ BEGIN
    INSERT INTO app.effect SELECT task, run_id FROM triggerdo.current_run();  result := payload; END $$;
ALTER PROCEDURE app.step(IN payload jsonb, INOUT result jsonb) OWNER TO app;
CREATE PROCEDURE app.steps(IN payload jsonb)
    LANGUAGE plpgsql
    AS $$ BEGIN
    INSERT INTO app.effect SELECT task, run_id FROM triggerdo.current_run();  COMMIT; END $$;
ALTER PROCEDURE app.steps(IN payload jsonb) OWNER TO app;
CREATE FUNCTION app.wrong(payload jsonb) RETURNS jsonb
    LANGUAGE plpgsql
    AS $$ BEGIN
    RAISE 'on purpose' USING HINT = 'none'; END $$;
ALTER FUNCTION app.wrong(payload jsonb) OWNER TO app;
CREATE FUNCTION other.twice(payload jsonb) RETURNS jsonb
    LANGUAGE sql
    AS $$ SELECT to_jsonb(2 * (payload->>'n')::int) $$;
ALTER FUNCTION other.twice(payload jsonb) OWNER TO other;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE _triggerdo.attempt_20261130 (
    run_id uuid NOT NULL,
    attempt integer NOT NULL,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone NOT NULL,
    retry_at timestamp with time zone NOT NULL,
    error jsonb NOT NULL,
    CONSTRAINT attempt_20261130_day CHECK (((run_id >= '01a229c0-5400-0000-0000-000000000000'::uuid) AND (run_id < '01a22ee6-b000-0000-0000-000000000000'::uuid)))
);
CREATE TABLE _triggerdo.result_20261130 (
    run_id uuid NOT NULL,
    queued_at timestamp with time zone,
    started_at timestamp with time zone,
    finished_at timestamp with time zone NOT NULL,
    attempt integer NOT NULL,
    status "char" NOT NULL,
    output jsonb,
    error jsonb,
    CONSTRAINT result_20261130_day CHECK (((run_id >= '01a229c0-5400-0000-0000-000000000000'::uuid) AND (run_id < '01a22ee6-b000-0000-0000-000000000000'::uuid)))
);
CREATE TABLE _triggerdo.run_20261130 (
    run_id uuid NOT NULL,
    created_at timestamp with time zone NOT NULL,
    delayed_until timestamp with time zone,
    expires_at timestamp with time zone,
    owner oid NOT NULL,
    triggered_by oid NOT NULL,
    priority integer NOT NULL,
    max_attempts integer,
    parent_run_id uuid,
    root_run_id uuid,
    batch_id uuid,
    replay_of uuid,
    task text NOT NULL,
    queue text,
    concurrency_key text,
    schedule_id text,
    idempotency_key text,
    tags text[],
    payload jsonb NOT NULL,
    metadata jsonb,
    options jsonb,
    max_duration bigint,
    depth smallint NOT NULL,
    keep_result boolean,
    CONSTRAINT run_20261130_day CHECK (((run_id >= '01a229c0-5400-0000-0000-000000000000'::uuid) AND (run_id < '01a22ee6-b000-0000-0000-000000000000'::uuid)))
);
CREATE TABLE app.effect (
    task text,
    run uuid
);
ALTER TABLE app.effect OWNER TO app;
ALTER TABLE ONLY _triggerdo.attempt ATTACH PARTITION _triggerdo.attempt_20261130 FOR VALUES FROM ('01a229c0-5400-0000-0000-000000000000') TO ('01a22ee6-b000-0000-0000-000000000000');
ALTER TABLE ONLY _triggerdo.result ATTACH PARTITION _triggerdo.result_20261130 FOR VALUES FROM ('01a229c0-5400-0000-0000-000000000000') TO ('01a22ee6-b000-0000-0000-000000000000');
ALTER TABLE ONLY _triggerdo.run ATTACH PARTITION _triggerdo.run_20261130 FOR VALUES FROM ('01a229c0-5400-0000-0000-000000000000') TO ('01a22ee6-b000-0000-0000-000000000000');
COPY _triggerdo.attempt_20261130 (run_id, attempt, started_at, finished_at, retry_at, error) FROM stdin;
01a22e04-1cc0-7fa1-b145-b19976ce0f56	1	2026-11-30 19:52:31.184353+00	2026-11-30 19:52:31.184447+00	2026-11-30 19:52:31.185447+00	{"hint": "none", "name": "PostgresError", "detail": null, "context": "PL/pgSQL function wrong(jsonb) line 2 at RAISE", "message": "on purpose", "sqlstate": "P0001", "stackTrace": "PL/pgSQL function wrong(jsonb) line 2 at RAISE"}
01a22e04-1cc0-7fbe-8fb0-ec97c3345e97	1	2026-11-30 19:52:31.185804+00	2026-11-30 19:52:31.186942+00	2026-12-01 19:52:31.186942+00	{"hint": null, "name": "PostgresError", "detail": null, "context": "PL/pgSQL function again(jsonb) line 2 at RAISE", "message": "the first attempt fails", "sqlstate": "P0001", "stackTrace": "PL/pgSQL function again(jsonb) line 2 at RAISE"}
01a22e04-1cc0-7fa1-b145-b19976ce0f56	2	2026-11-30 19:52:31.217704+00	2026-11-30 19:52:31.217774+00	2026-11-30 19:52:31.218774+00	{"hint": "none", "name": "PostgresError", "detail": null, "context": "PL/pgSQL function wrong(jsonb) line 2 at RAISE", "message": "on purpose", "sqlstate": "P0001", "stackTrace": "PL/pgSQL function wrong(jsonb) line 2 at RAISE"}
\.
COPY _triggerdo.live (run_id, order_key, owner, attempt, crashes, state, claim) FROM stdin;
01a22e04-1cc0-7fbe-8fb0-ec97c3345e97	849469951186942	16517	1	0	d	\N
01a22e04-24f9-7ea7-be7b-2f1eb25fba3b	849383553273916	16517	0	0	q	\N
01a22e04-24f9-7fef-8072-ad3bb11ea989	849383553273996	16517	0	0	q	\N
01a22e04-24fa-7018-ade6-a00cee50aca9	849383553274006	16517	0	0	q	\N
01a22e04-24fa-702d-bf78-da094ad6d7f8	849383553274011	16517	0	0	q	\N
01a22e04-24fa-7041-ba13-050c994d714f	849383553274016	16517	0	0	q	\N
01a22e04-24fa-7051-8f55-b7b220f38966	849383553274020	16517	0	0	q	\N
01a22e04-24fa-707a-904f-0f36f16c60c1	849383553274030	16517	0	0	q	\N
01a22e04-24fc-78e5-8049-97181311ee39	849469953276554	16517	0	0	d	\N
01a22e04-2500-7cc8-a113-9bc0f8bdc158	849383553280799	16517	0	0	q	\N
01a22e04-2500-7d2f-9ed6-2cfbc74f00b0	849383553280824	16517	0	0	q	\N
01a22e04-2504-77ba-b76e-690e5010e693	849383553284483	16517	0	0	x	c68123d8-2d04-4fa1-ab03-3e23867bf467
\.
COPY _triggerdo.result_20261130 (run_id, queued_at, started_at, finished_at, attempt, status, output, error) FROM stdin;
01a22e04-1cc2-7d85-b2d9-af44a7093370	\N	\N	2026-11-30 19:52:31.171041+00	0	X	\N	{"hint": null, "name": "TaskRunCancelledError", "detail": null, "context": null, "message": "not wanted", "sqlstate": "TD003", "stackTrace": null}
01a22e04-1c9c-78e1-a113-d0dd48283da4	2026-11-30 19:52:31.132555+00	2026-11-30 19:52:31.173665+00	2026-11-30 19:52:31.174074+00	1	C	42	\N
01a22e04-1cc0-7d95-9cd9-190f4c5b89cc	2026-11-30 19:52:31.168849+00	2026-11-30 19:52:31.175195+00	2026-11-30 19:52:31.177569+00	1	C	{"when": "finished"}	\N
01a22e04-1cc0-7f60-99fa-c635f38af648	2026-11-30 19:52:31.168961+00	2026-11-30 19:52:31.180376+00	2026-11-30 19:52:31.180436+00	1	C	{"when": "finished"}	\N
01a22e04-1cc0-7fef-ae38-aa37911279e6	2026-11-30 19:52:31.168996+00	2026-11-30 19:52:31.197333+00	2026-11-30 19:52:31.197611+00	1	C	{"when": "finished"}	\N
01a22e04-1cc1-7008-b273-3a8f60f7c959	2026-11-30 19:52:31.169002+00	2026-11-30 19:52:31.204301+00	2026-11-30 19:52:31.207519+00	1	C	\N	\N
01a22e04-1cc1-7020-9196-ba09962357a2	2026-11-30 19:52:31.169008+00	2026-11-30 19:52:31.212688+00	2026-11-30 19:52:31.213326+00	1	C	\N	\N
01a22e04-1cc0-7fa1-b145-b19976ce0f56	2026-11-30 19:52:31.218774+00	2026-11-30 19:52:31.224371+00	2026-11-30 19:52:31.224403+00	3	F	\N	{"hint": "none", "name": "PostgresError", "detail": null, "context": "PL/pgSQL function wrong(jsonb) line 2 at RAISE", "message": "on purpose", "sqlstate": "P0001", "stackTrace": "PL/pgSQL function wrong(jsonb) line 2 at RAISE"}
01a22e04-1cc0-7fd7-8dbd-4f44d8a55802	2026-11-30 19:52:31.16899+00	2026-11-30 19:52:31.18842+00	2026-11-30 19:52:31.239541+00	1	T	\N	{"hint": null, "name": "MaxDurationExceededError", "detail": null, "context": null, "message": "Run exceeded maximum compute time (maxDuration) of 0.05 seconds", "sqlstate": "TD004", "stackTrace": null}
\.
COPY _triggerdo.role (role, name, target) FROM stdin;
16517	app	\N
16519	other	\N
\.
COPY _triggerdo.run_20261130 (run_id, created_at, delayed_until, expires_at, owner, triggered_by, priority, max_attempts, parent_run_id, root_run_id, batch_id, replay_of, task, queue, concurrency_key, schedule_id, idempotency_key, tags, payload, metadata, options, max_duration, depth, keep_result) FROM stdin;
01a22e04-1c9c-78e1-a113-d0dd48283da4	2026-11-30 19:52:31.132555+00	\N	\N	16519	16519	0	\N	\N	\N	\N	\N	twice	\N	\N	\N	\N	{a,b}	{"n": 21}	{"m": 1}	\N	\N	0	\N
01a22e04-1cc0-7d95-9cd9-190f4c5b89cc	2026-11-30 19:52:31.168849+00	\N	\N	16517	16517	0	\N	\N	\N	\N	\N	echo	\N	\N	\N	\N	\N	{"when": "finished"}	\N	\N	\N	0	\N
01a22e04-1cc0-7f60-99fa-c635f38af648	2026-11-30 19:52:31.168961+00	\N	\N	16517	16517	0	\N	\N	\N	\N	\N	alone	\N	\N	\N	\N	\N	{"when": "finished"}	\N	\N	\N	0	\N
01a22e04-1cc0-7fa1-b145-b19976ce0f56	2026-11-30 19:52:31.168977+00	\N	\N	16517	16517	0	\N	\N	\N	\N	\N	wrong	\N	\N	\N	\N	\N	{"when": "finished"}	\N	\N	\N	0	\N
01a22e04-1cc0-7fbe-8fb0-ec97c3345e97	2026-11-30 19:52:31.168984+00	\N	\N	16517	16517	0	\N	\N	\N	\N	\N	again	\N	\N	\N	\N	\N	{"when": "finished"}	\N	\N	\N	0	\N
01a22e04-1cc0-7fd7-8dbd-4f44d8a55802	2026-11-30 19:52:31.16899+00	\N	\N	16517	16517	0	\N	\N	\N	\N	\N	slow	\N	\N	\N	\N	\N	{"when": "finished"}	\N	\N	\N	0	\N
01a22e04-1cc0-7fef-ae38-aa37911279e6	2026-11-30 19:52:31.168996+00	\N	\N	16517	16517	0	\N	\N	\N	\N	\N	step	\N	\N	\N	\N	\N	{"when": "finished"}	\N	\N	\N	0	\N
01a22e04-1cc1-7008-b273-3a8f60f7c959	2026-11-30 19:52:31.169002+00	\N	\N	16517	16517	0	\N	\N	\N	\N	\N	steps	\N	\N	\N	\N	\N	{"when": "finished"}	\N	\N	\N	0	\N
01a22e04-1cc1-7020-9196-ba09962357a2	2026-11-30 19:52:31.169008+00	\N	\N	16517	16517	0	\N	\N	\N	\N	\N	vacuum	\N	\N	\N	\N	\N	{"when": "finished"}	\N	\N	\N	0	\N
01a22e04-1cc2-7d85-b2d9-af44a7093370	2026-11-30 19:52:31.170845+00	2026-11-30 20:52:31.170845+00	\N	16517	16517	0	\N	\N	\N	\N	\N	echo	\N	\N	\N	\N	\N	{"when": "never"}	\N	\N	\N	0	\N
01a22e04-24f9-7ea7-be7b-2f1eb25fba3b	2026-11-30 19:52:33.273916+00	\N	\N	16517	16517	0	\N	\N	\N	\N	\N	echo	\N	\N	\N	\N	\N	{"when": "queued"}	\N	\N	\N	0	\N
01a22e04-24f9-7fef-8072-ad3bb11ea989	2026-11-30 19:52:33.273996+00	\N	\N	16517	16517	0	\N	\N	\N	\N	\N	alone	\N	\N	\N	\N	\N	{"when": "queued"}	\N	\N	\N	0	\N
01a22e04-24fa-7018-ade6-a00cee50aca9	2026-11-30 19:52:33.274006+00	\N	\N	16517	16517	0	\N	\N	\N	\N	\N	wrong	\N	\N	\N	\N	\N	{"when": "queued"}	\N	\N	\N	0	\N
01a22e04-24fa-702d-bf78-da094ad6d7f8	2026-11-30 19:52:33.274011+00	\N	\N	16517	16517	0	\N	\N	\N	\N	\N	step	\N	\N	\N	\N	\N	{"when": "queued"}	\N	\N	\N	0	\N
01a22e04-24fa-7041-ba13-050c994d714f	2026-11-30 19:52:33.274016+00	\N	\N	16517	16517	0	\N	\N	\N	\N	\N	steps	\N	\N	\N	\N	\N	{"when": "queued"}	\N	\N	\N	0	\N
01a22e04-24fa-7051-8f55-b7b220f38966	2026-11-30 19:52:33.27402+00	\N	\N	16517	16517	0	\N	\N	\N	\N	\N	vacuum	\N	\N	\N	\N	\N	{"when": "queued"}	\N	\N	\N	0	\N
01a22e04-24fa-707a-904f-0f36f16c60c1	2026-11-30 19:52:33.27403+00	\N	\N	16517	16517	0	\N	\N	\N	\N	\N	silent	\N	\N	\N	\N	\N	{"when": "queued"}	\N	\N	\N	0	\N
01a22e04-24fc-78e5-8049-97181311ee39	2026-11-30 19:52:33.276556+00	2026-12-01 19:52:33.276554+00	\N	16517	16517	0	2	\N	\N	\N	\N	echo	\N	\N	\N	\N	\N	{"when": "delayed"}	\N	\N	\N	0	\N
01a22e04-2500-7cc8-a113-9bc0f8bdc158	2026-11-30 19:52:33.280799+00	\N	\N	16517	16517	0	\N	\N	\N	01a22e04-2500-7cc4-9c1f-883440d4b061	\N	echo	\N	\N	\N	\N	\N	{"when": "batch"}	\N	\N	3600000000	0	\N
01a22e04-2500-7d2f-9ed6-2cfbc74f00b0	2026-11-30 19:52:33.280824+00	\N	\N	16517	16517	0	\N	\N	\N	01a22e04-2500-7cc4-9c1f-883440d4b061	\N	echo	\N	\N	\N	\N	\N	{"when": "batch"}	\N	\N	3600000000	0	\N
01a22e04-2504-77ba-b76e-690e5010e693	2026-11-30 19:52:33.284483+00	\N	\N	16517	16517	0	\N	\N	\N	\N	\N	step	\N	\N	\N	\N	\N	{"when": "claimed"}	\N	\N	\N	0	\N
\.
COPY _triggerdo.task (id, owner, owner_name, kind, run_schema, run_name, run_nargs, isolate, created_at, updated_at, retry, description, options, own_commits, max_duration, command, keep) FROM stdin;
echo	16517	app	f	app	echo	1	f	2026-11-30 19:52:31.088557+00	2026-11-30 19:52:31.088557+00	\N	gives back	{}	f	\N	\N	a
alone	16517	app	f	app	echo	1	t	2026-11-30 19:52:31.092518+00	2026-11-30 19:52:31.092518+00	\N	\N	{"isolate": true}	f	\N	\N	a
wrong	16517	app	f	app	wrong	1	f	2026-11-30 19:52:31.096563+00	2026-11-30 19:52:31.096563+00	{"factor": 2, "backoff": "exponential", "randomize": false, "maxAttempts": 3, "maxTimeoutInMs": 1, "minTimeoutInMs": 1}	\N	{}	f	\N	\N	a
again	16517	app	f	app	again	1	f	2026-11-30 19:52:31.100621+00	2026-11-30 19:52:31.100621+00	{"factor": 2, "backoff": "exponential", "randomize": false, "maxAttempts": 3, "maxTimeoutInMs": 86400000, "minTimeoutInMs": 86400000}	\N	{}	f	\N	\N	a
slow	16517	app	f	app	slow	1	f	2026-11-30 19:52:31.104462+00	2026-11-30 19:52:31.104462+00	\N	\N	{}	f	50000	\N	a
step	16517	app	p	app	step	2	f	2026-11-30 19:52:31.10847+00	2026-11-30 19:52:31.10847+00	\N	\N	{}	f	\N	\N	a
steps	16517	app	p	app	steps	1	f	2026-11-30 19:52:31.112478+00	2026-11-30 19:52:31.112478+00	\N	\N	{"ownCommits": true}	t	\N	\N	a
vacuum	16517	app	c			0	f	2026-11-30 19:52:31.116468+00	2026-11-30 19:52:31.116468+00	\N	\N	{}	f	\N	VACUUM app.effect	a
silent	16517	app	f	app	echo	1	f	2026-11-30 19:52:31.120734+00	2026-11-30 19:52:31.120734+00	\N	\N	{"keep": "none"}	f	\N	\N	n
twice	16519	other	f	other	twice	1	f	2026-11-30 19:52:31.128451+00	2026-11-30 19:52:31.128451+00	\N	\N	{}	f	\N	\N	a
\.
COPY _triggerdo.timer (run_id, due) FROM stdin;
01a22e04-1cc0-7fbe-8fb0-ec97c3345e97	2026-12-01 19:52:31.186942+00
01a22e04-24fc-78e5-8049-97181311ee39	2026-12-01 19:52:33.276554+00
\.
COPY app.effect (task, run) FROM stdin;
echo	01a22e04-1cc0-7d95-9cd9-190f4c5b89cc
alone	01a22e04-1cc0-7f60-99fa-c635f38af648
step	01a22e04-1cc0-7fef-ae38-aa37911279e6
steps	01a22e04-1cc1-7008-b273-3a8f60f7c959
silent	01a22e04-1cc1-703d-8a58-5a33268e49d3
\.
ALTER TABLE ONLY _triggerdo.attempt_20261130
    ADD CONSTRAINT attempt_20261130_pkey PRIMARY KEY (run_id, attempt);
ALTER TABLE ONLY _triggerdo.result_20261130
    ADD CONSTRAINT result_20261130_pkey PRIMARY KEY (run_id);
ALTER TABLE ONLY _triggerdo.run_20261130
    ADD CONSTRAINT run_20261130_pkey PRIMARY KEY (run_id);
CREATE INDEX run_20261130_task ON _triggerdo.run_20261130 USING btree (task, created_at);
ALTER TABLE _triggerdo.attempt_20261130 ENABLE ROW LEVEL SECURITY;
ALTER TABLE _triggerdo.result_20261130 ENABLE ROW LEVEL SECURITY;
ALTER TABLE _triggerdo.run_20261130 ENABLE ROW LEVEL SECURITY;
GRANT USAGE ON SCHEMA triggerdo TO app;
GRANT USAGE ON SCHEMA triggerdo TO other;
