/*-------------------------------------------------------------------------
 *
 * triggerdo_test.c
 *	  A clock that tests can move, and faults that they can let happen, in every
 *	  process at once.
 *
 * Job: replaces triggerdo's clock and fills its fault points through their
 *		rendezvous variables; keeps the mock time, and what is to go wrong, in
 *		shared memory.
 * Called by: SQL functions of the tests; tdo_now() and TDO_FAULT() in every process.
 * Locks: none for the clock. Its whole state is one 64-bit word, so that it may
 *		be read anywhere: under any lock, in a callback, in a critical section.
 *		A spinlock for the faults.
 * Crash: the clock goes back to real time, and nothing goes wrong any more.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <signal.h>

#include "access/transam.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "portability/instr_time.h"
#include "storage/ipc.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"
#include "utils/uuid.h"
#include "utils/xid8.h"

#include "clock.h"
#include "fault.h"
#include "payload.h"
#include "ready.h"

PG_MODULE_MAGIC;

/*
 * Bit 0 says whether the clock is frozen. The other 63 are, signed, the time at
 * which it stands, or else the microseconds by which it is ahead of real time.
 */
typedef struct ClockState
{
	pg_atomic_uint64 word;
} ClockState;

#define MAX_FAULTS	8

typedef enum FaultAction
{
	FAULT_ERROR,				/* an error of ours: the run's */
	FAULT_FULL,					/* an error of the machine: no run's */
	FAULT_FATAL,				/* the process ends */
	FAULT_KILL,					/* it is killed: the server crashes */
	FAULT_SEGV,
	FAULT_SLEEP					/* a second */
} FaultAction;

typedef struct Fault
{
	char		point[32];		/* empty: unused */
	FaultAction action;
	int			skip;			/* times it is reached before it happens */
	int			left;			/* times it happens */
	int			hits;			/* times it has happened */
} Fault;

typedef struct FaultState
{
	slock_t		mutex;
	bool		armed;			/* any: an unlocked look */
	Fault		faults[MAX_FAULTS];
} FaultState;

static ClockState *state = NULL;
static FaultState *faults = NULL;
static TdoClockSeam *seam = NULL;
static shmem_startup_hook_type prev_shmem_startup_hook = NULL;
#if PG_VERSION_NUM >= 150000
static shmem_request_hook_type prev_shmem_request_hook = NULL;
#endif

void		_PG_init(void);

PG_FUNCTION_INFO_V1(triggerdo_test_now);
PG_FUNCTION_INFO_V1(triggerdo_test_advance);
PG_FUNCTION_INFO_V1(triggerdo_test_set_time);
PG_FUNCTION_INFO_V1(triggerdo_test_freeze);
PG_FUNCTION_INFO_V1(triggerdo_test_reset);
PG_FUNCTION_INFO_V1(triggerdo_test_noop);
PG_FUNCTION_INFO_V1(triggerdo_test_xid_burnt);
PG_FUNCTION_INFO_V1(triggerdo_test_claim);
PG_FUNCTION_INFO_V1(triggerdo_test_crash);
PG_FUNCTION_INFO_V1(triggerdo_test_misbehave);
PG_FUNCTION_INFO_V1(triggerdo_test_spin);
PG_FUNCTION_INFO_V1(triggerdo_test_fault);
PG_FUNCTION_INFO_V1(triggerdo_test_fault_hits);
PG_FUNCTION_INFO_V1(triggerdo_test_reset_faults);
PG_FUNCTION_INFO_V1(triggerdo_test_schema_try);
PG_FUNCTION_INFO_V1(triggerdo_test_schema_ns);

static uint64
pack(int64 value, bool frozen)
{
	return ((uint64) value << 1) | (frozen ? 1 : 0);
}

static bool
is_frozen(uint64 word)
{
	return (word & 1) != 0;
}

/* the time that a state means at this instant */
static TimestampTz
time_of(uint64 word)
{
	int64		value = (int64) word >> 1;

	return is_frozen(word) ? value : GetCurrentTimestamp() + value;
}

static TimestampTz
mock_now(void)
{
	/* the postmaster may ask before there is shared memory */
	if (state == NULL)
		return GetCurrentTimestamp();
	return time_of(pg_atomic_read_u64(&state->word));
}

static const TdoClock mock_clock = {
	.now = mock_now,
};

static void
request_shmem(void)
{
#if PG_VERSION_NUM >= 150000
	if (prev_shmem_request_hook)
		prev_shmem_request_hook();
#endif
	RequestAddinShmemSpace(add_size(sizeof(ClockState), sizeof(FaultState)));
}

static void
startup_shmem(void)
{
	bool		found;

	if (prev_shmem_startup_hook)
		prev_shmem_startup_hook();
	state = ShmemInitStruct("triggerdo_test clock", sizeof(ClockState), &found);
	if (!found)
		pg_atomic_init_u64(&state->word, 0);
	faults = ShmemInitStruct("triggerdo_test faults", sizeof(FaultState), &found);
	if (!found)
	{
		memset(faults, 0, sizeof(FaultState));
		SpinLockInit(&faults->mutex);
	}
}

/* ------------------------------------------------------------------- faults */

/* caller holds the mutex */
static Fault *
find_fault(const char *point)
{
	for (int i = 0; i < MAX_FAULTS; i++)
	{
		if (strcmp(faults->faults[i].point, point) == 0)
			return &faults->faults[i];
	}
	return NULL;
}

static void
happen(const char *point, FaultAction action)
{
	switch (action)
	{
		case FAULT_ERROR:
			ereport(ERROR,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("fault at %s", point)));
			break;
		case FAULT_FULL:
			ereport(ERROR,
					(errcode(ERRCODE_DISK_FULL),
					 errmsg("fault at %s", point)));
			break;
		case FAULT_FATAL:
			ereport(FATAL,
					(errcode(ERRCODE_INTERNAL_ERROR),
					 errmsg("fault at %s", point)));
			break;
		case FAULT_KILL:
		case FAULT_SEGV:
			kill(MyProcPid, action == FAULT_KILL ? SIGKILL : SIGSEGV);
			pg_usleep(1000000);
			break;
		case FAULT_SLEEP:
			pg_usleep(1000000);
			break;
	}
}

static void
reached(const char *point)
{
	Fault	   *fault;
	FaultAction action = FAULT_ERROR;
	bool		now = false;

	if (faults == NULL || !faults->armed)
		return;
	SpinLockAcquire(&faults->mutex);
	fault = find_fault(point);
	if (fault && fault->left > 0 && fault->skip-- <= 0)
	{
		fault->skip = 0;
		fault->left--;
		fault->hits++;
		action = fault->action;
		now = true;
	}
	SpinLockRelease(&faults->mutex);
	if (now)
		happen(point, action);
}

Datum
triggerdo_test_fault(PG_FUNCTION_ARGS)
{
	static const char *const actions[] = {"error", "full", "fatal", "kill", "segv", "sleep"};
	char	   *point = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	int			action = 0;
	Fault	   *fault;

	while (action < lengthof(actions) && strcmp(actions[action], name) != 0)
		action++;
	if (action == lengthof(actions) || point[0] == '\0' || strlen(point) >= sizeof(fault->point))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("no fault \"%s\" at \"%s\"", name, point)));
	SpinLockAcquire(&faults->mutex);
	fault = find_fault(point);
	if (fault == NULL)
		fault = find_fault("");
	if (fault)
	{
		strlcpy(fault->point, point, sizeof(fault->point));
		fault->action = (FaultAction) action;
		fault->left = PG_GETARG_INT32(2);
		fault->skip = PG_GETARG_INT32(3);
		fault->hits = 0;
		faults->armed = true;
	}
	SpinLockRelease(&faults->mutex);
	if (fault == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("too many faults")));
	PG_RETURN_VOID();
}

Datum
triggerdo_test_fault_hits(PG_FUNCTION_ARGS)
{
	char	   *point = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Fault	   *fault;
	int			hits;

	SpinLockAcquire(&faults->mutex);
	fault = find_fault(point);
	hits = fault ? fault->hits : 0;
	SpinLockRelease(&faults->mutex);
	PG_RETURN_INT32(hits);
}

Datum
triggerdo_test_reset_faults(PG_FUNCTION_ARGS)
{
	SpinLockAcquire(&faults->mutex);
	memset(faults->faults, 0, sizeof(faults->faults));
	faults->armed = false;
	SpinLockRelease(&faults->mutex);
	PG_RETURN_VOID();
}

/* --------------------------------------------------------------------- clock */

void
_PG_init(void)
{
	void	  **rendezvous = find_rendezvous_variable("triggerdo_clock");
	TdoFaultSeam *fault_seam = *(TdoFaultSeam **) find_rendezvous_variable("triggerdo_fault");

	if (!process_shared_preload_libraries_in_progress)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("triggerdo_test must be loaded at server start"),
				 errhint("Set shared_preload_libraries = 'triggerdo,triggerdo_test'.")));
	seam = (TdoClockSeam *) *rendezvous;
	if (seam == NULL || fault_seam == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("triggerdo_test found no clock of triggerdo"),
				 errhint("Name triggerdo before triggerdo_test in shared_preload_libraries.")));

#if PG_VERSION_NUM >= 150000
	prev_shmem_request_hook = shmem_request_hook;
	shmem_request_hook = request_shmem;
#else
	request_shmem();
#endif
	prev_shmem_startup_hook = shmem_startup_hook;
	shmem_startup_hook = startup_shmem;

	/* the processes to come inherit it by fork */
	seam->clock = &mock_clock;
	fault_seam->reached = reached;
}

/* tells every process of triggerdo to look at the clock again */
static Datum
moved(void)
{
	if (seam->changed)
		seam->changed();
	return TimestampTzGetDatum(mock_now());
}

/* the clock says "to" now, and stands or goes on as before */
static bool
move(uint64 from, TimestampTz to)
{
	uint64		word;

	/* half of what a timestamp can hold, about the year 146,000 */
	if (TIMESTAMP_NOT_FINITE(to) || to > PG_INT64_MAX / 4 || to < PG_INT64_MIN / 4)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("the test clock cannot be set to this time")));
	if (is_frozen(from))
		word = pack(to, true);
	else
		word = pack(to - GetCurrentTimestamp(), false);
	return pg_atomic_compare_exchange_u64(&state->word, &from, word);
}

Datum
triggerdo_test_now(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(mock_now());
}

Datum
triggerdo_test_advance(PG_FUNCTION_ARGS)
{
	uint64		from;
	Datum		to;

	do
	{
		from = pg_atomic_read_u64(&state->word);
		to = DirectFunctionCall2(timestamptz_pl_interval,
								 TimestampTzGetDatum(time_of(from)),
								 PG_GETARG_DATUM(0));
	} while (!move(from, DatumGetTimestampTz(to)));
	PG_RETURN_DATUM(moved());
}

Datum
triggerdo_test_set_time(PG_FUNCTION_ARGS)
{
	TimestampTz to = PG_GETARG_TIMESTAMPTZ(0);

	while (!move(pg_atomic_read_u64(&state->word), to))
		 /* somebody else moved it: again */ ;
	PG_RETURN_DATUM(moved());
}

Datum
triggerdo_test_freeze(PG_FUNCTION_ARGS)
{
	uint64		from = pg_atomic_read_u64(&state->word);

	while (!pg_atomic_compare_exchange_u64(&state->word, &from,
										   pack(time_of(from), true)))
		 /* "from" now holds what is there */ ;
	PG_RETURN_DATUM(moved());
}

Datum
triggerdo_test_reset(PG_FUNCTION_ARGS)
{
	pg_atomic_write_u64(&state->word, 0);
	PG_RETURN_DATUM(moved());
}

Datum
triggerdo_test_noop(PG_FUNCTION_ARGS)
{
	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	PG_RETURN_DATUM(PG_GETARG_DATUM(0));
}

Datum
triggerdo_test_xid_burnt(PG_FUNCTION_ARGS)
{
	PG_RETURN_FULLTRANSACTIONID(ReadNextFullTransactionId());
}

/* what a fault in somebody's C code does, or the machine's lack of memory */
Datum
triggerdo_test_crash(PG_FUNCTION_ARGS)
{
	kill(MyProcPid, PG_GETARG_INT32(0));
	pg_usleep(1000000);
	PG_RETURN_VOID();
}

/*
 * What no code should do. The number read decides something, because valgrind
 * minds undefined bytes only when they do.
 */
Datum
triggerdo_test_misbehave(PG_FUNCTION_ARGS)
{
	char	   *how = text_to_cstring(PG_GETARG_TEXT_PP(0));
	volatile int size = 40;
	volatile char *memory;
	int			result = 0;

	if (strcmp(how, "shift") == 0)
		PG_RETURN_INT32(1 << size);
	memory = strcmp(how, "palloc") == 0 ? palloc0(size) : calloc(1, size);
	if (memory != NULL && memory[size] > 0)
		result = 1;
	PG_RETURN_INT32(result);
}

/* somebody's C code that never looks for interrupts, for so many seconds */
Datum
triggerdo_test_spin(PG_FUNCTION_ARGS)
{
	TimestampTz until = GetCurrentTimestamp() + (TimestampTz) (PG_GETARG_FLOAT8(0) * 1000000.0);

	while (GetCurrentTimestamp() < until)
		pg_usleep(1000);
	PG_RETURN_VOID();
}

typedef int (*ClaimFunction) (Oid owner, int limit, TdoLive *claimed, TdoReadyCursor *cursor);

/*
 * What an executor does first, in the caller's transaction: sessions can then
 * be stepped through every order of two claims.
 */
Datum
triggerdo_test_claim(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid			owner = PG_GETARG_OID(0);
	int			limit = PG_GETARG_INT32(1);
	ClaimFunction claim;
	TdoReadyCursor cursor = {0};
	TdoLive    *claimed;
	TupleDesc	tupdesc;
	MemoryContext old;
	int			n;

	if (rsinfo == NULL || !IsA(rsinfo, ReturnSetInfo) ||
		!(rsinfo->allowedModes & SFRM_Materialize))
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("set-valued function called in context that cannot accept a set")));
	if (limit < 1 || limit > 10000)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("n must be from 1 to 10000")));
	claim = (ClaimFunction) load_external_function("triggerdo", "tdo_ready_claim",
												   true, NULL);
	claimed = palloc(sizeof(TdoLive) * limit);
	n = claim(owner, limit, claimed, &cursor);

	old = MemoryContextSwitchTo(rsinfo->econtext->ecxt_per_query_memory);
	tupdesc = CreateTemplateTupleDesc(1);
	TupleDescInitEntry(tupdesc, 1, "claim", UUIDOID, -1, 0);
	rsinfo->setResult = tuplestore_begin_heap(true, false, work_mem);
	rsinfo->setDesc = tupdesc;
	rsinfo->returnMode = SFRM_Materialize;
	MemoryContextSwitchTo(old);
	for (int i = 0; i < n; i++)
	{
		Datum		value = UUIDPGetDatum(&claimed[i].run_id);
		bool		isnull = false;

		tuplestore_putvalues(rsinfo->setResult, tupdesc, &value, &isnull);
	}
	return (Datum) 0;
}

/* ----------------------------------------------------------- payload schemas */

typedef char *(*TryFunction) (const Jsonb *schema, Jsonb *payload);

static TryFunction
try_function(void)
{
	return (TryFunction) load_external_function("triggerdo", "tdo_payload_try", true, NULL);
}

Datum
triggerdo_test_schema_try(PG_FUNCTION_ARGS)
{
	char	   *why = try_function() (PG_GETARG_JSONB_P(0), PG_GETARG_JSONB_P(1));

	if (why == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(why));
}

static int
compare_doubles(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return x < y ? -1 : x > y;
}

#define CHECKS_A_SAMPLE	100

/* the schema is compared with the last one each time, too */
Datum
triggerdo_test_schema_ns(PG_FUNCTION_ARGS)
{
	Jsonb	   *schema = PG_GETARG_JSONB_P(0);
	Jsonb	   *payload = PG_GETARG_JSONB_P(1);
	int			n = Max(PG_GETARG_INT32(2), 1);
	double	   *samples = palloc(sizeof(double) * n);
	TryFunction try = try_function();

	for (int i = 0; i < n; i++)
	{
		instr_time	start;
		instr_time	end;

		CHECK_FOR_INTERRUPTS();
		INSTR_TIME_SET_CURRENT(start);
		for (int j = 0; j < CHECKS_A_SAMPLE; j++)
			(void) try(schema, payload);
		INSTR_TIME_SET_CURRENT(end);
		INSTR_TIME_SUBTRACT(end, start);
		samples[i] = INSTR_TIME_GET_DOUBLE(end) * 1e9 / CHECKS_A_SAMPLE;
	}
	qsort(samples, n, sizeof(double), compare_doubles);
	PG_RETURN_FLOAT8(samples[n / 2]);
}
