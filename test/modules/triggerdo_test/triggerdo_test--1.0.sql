\echo Use "CREATE EXTENSION triggerdo_test" to load this file. \quit

-- The clock of the whole server. "schema" in the control file has made the
-- schema; tests run as many roles, hence the grant.
GRANT USAGE ON SCHEMA triggerdo_test TO PUBLIC;

CREATE FUNCTION triggerdo_test.now() RETURNS timestamptz
	LANGUAGE c VOLATILE STRICT PARALLEL SAFE
	AS 'MODULE_PATHNAME', 'triggerdo_test_now';

-- Moves the clock, frozen or not, and wakes who waits for it; the new time.
CREATE FUNCTION triggerdo_test.advance(by interval) RETURNS timestamptz
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'triggerdo_test_advance';

CREATE FUNCTION triggerdo_test.set_time("to" timestamptz) RETURNS timestamptz
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'triggerdo_test_set_time';

-- From here on time moves by advance() and set_time() only; the time it stands at.
CREATE FUNCTION triggerdo_test.freeze() RETURNS timestamptz
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'triggerdo_test_freeze';

-- Real time again.
CREATE FUNCTION triggerdo_test.reset() RETURNS timestamptz
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'triggerdo_test_reset';

-- A task in C that gives back its payload.
CREATE FUNCTION triggerdo_test.noop(payload jsonb) RETURNS jsonb
	LANGUAGE c VOLATILE PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'triggerdo_test_noop';

-- The next transaction id to be given out, without taking one: two calls tell
-- how many were burnt in between.
CREATE FUNCTION triggerdo_test.xid_burnt() RETURNS xid8
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'triggerdo_test_xid_burnt';

-- Claims at most n queued runs of the owner, as its executor would, in the
-- caller's transaction; their ids, in order. Nothing runs them.
CREATE FUNCTION triggerdo_test.claim(owner regrole, n int) RETURNS SETOF uuid
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'triggerdo_test_claim';
REVOKE EXECUTE ON FUNCTION triggerdo_test.claim(regrole, int) FROM PUBLIC;

-- This process sends itself the signal: 9 is a SIGKILL, 11 a fault in somebody's C.
CREATE FUNCTION triggerdo_test.crash(signal int) RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'triggerdo_test_crash';

-- Reads a byte past what "malloc" or "palloc" gave, or shifts a number by more
-- bits than it has ("shift"): tools that look for such errors must find them.
CREATE FUNCTION triggerdo_test.misbehave(how text) RETURNS int
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'triggerdo_test_misbehave';
REVOKE EXECUTE ON FUNCTION triggerdo_test.misbehave(text) FROM PUBLIC;

-- Goes on for so many seconds without looking whether it is to stop.
CREATE FUNCTION triggerdo_test.spin(seconds float8) RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'triggerdo_test_spin';

-- Lets something go wrong at a fault point (TDO_FAULT() in src/), whoever comes
-- there: "error" (XX000), "full" (53100), "fatal", "kill", "segv", "sleep" (1 s);
-- so many times, after that many times without. A crash of the server ends it.
CREATE FUNCTION triggerdo_test.fault(point text, action text, times int DEFAULT 1, skip int DEFAULT 0) RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'triggerdo_test_fault';
REVOKE EXECUTE ON FUNCTION triggerdo_test.fault(text, text, int, int) FROM PUBLIC;

-- How often it has happened there since fault() was called for that point.
CREATE FUNCTION triggerdo_test.fault_hits(point text) RETURNS int
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'triggerdo_test_fault_hits';

-- Nothing goes wrong any more.
CREATE FUNCTION triggerdo_test.reset_faults() RETURNS void
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'triggerdo_test_reset_faults';
REVOKE EXECUTE ON FUNCTION triggerdo_test.reset_faults() FROM PUBLIC;

-- NULL: the payload fits the schema; else what it breaks, as text.
CREATE FUNCTION triggerdo_test.schema_try(schema jsonb, payload jsonb) RETURNS text
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'triggerdo_test_schema_try';

-- Nanoseconds that one check takes: the median of n samples, of 100 checks each.
CREATE FUNCTION triggerdo_test.schema_ns(schema jsonb, payload jsonb, n int) RETURNS float8
	LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE
	AS 'MODULE_PATHNAME', 'triggerdo_test_schema_ns';
