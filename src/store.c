/*-------------------------------------------------------------------------
 *
 * store.c
 *	  Where our tables are, and the one door through which we run SQL.
 *
 * Job: resolve our objects by name; make day partitions; the few statements
 * that are SQL.  Everything hot is heap and btree access in rows.c, task.c and
 * ready.c, which no search_path, operator, default or setting can bend.
 * Called by: rows.c, task.c, ready.c, scheduler, executor.
 * Locks: making a partition takes an exclusive lock on an object of our own
 * (the extension, sub-object 1) until the transaction ends, then SHARE UPDATE
 * EXCLUSIVE on the parents (ATTACH).  Dropping one takes ACCESS EXCLUSIVE on the
 * parents and the partitions, which neither enqueues nor executors touch.
 * Crash: a partition exists when the transaction that made it committed.
 *
 * The door: user code may have set anything at all in its session.  SQL of ours
 * therefore runs only between door_enter and door_leave, which switch to the
 * extension's owner and pin what could change a statement's meaning or plan.
 * Settings without an assign hook are pinned through their C variables: that
 * costs nothing, and the user cannot see it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "jit/jit.h"
#include "miscadmin.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "storage/lmgr.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/syscache.h"

#include "clock.h"
#include "compat.h"
#include "store.h"
#include "triggerdo.h"

static TdoObjects objects;
static bool objects_valid = false;
static uint64 object_changes = 0;
static TdoMismatch mismatch;	/* why not; detail is NULL when there is no
								 * extension */

static const char *const family_names[] = {"run", "result", "attempt"};

typedef struct Door
{
	Oid			user;
	int			sec_context;
	int			nest_level;
	bool		read_only;
	bool		jit;
	int			parallel;
	int			plan_mode;
	int			lock_timeout;
	bool		seqscan;
	bool		sort;
} Door;

/* ------------------------------------------------------------- our objects */

static void
invalidate_objects(Datum arg, int cacheid, uint32 hashvalue)
{
	objects_valid = false;
	object_changes++;
}

/* REINDEX CONCURRENTLY puts another index in the place of one of ours */
static void
invalidate_relation(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || relid == objects.task || relid == objects.live ||
		relid == objects.timer || relid == objects.role || relid == objects.change ||
		relid == objects.idempotency || relid == objects.hook ||
		relid == objects.child)
	{
		objects_valid = false;
		object_changes++;
	}
}

/*
 * The server has room for ten such callbacks, its own among them (four, in a
 * worker of logical replication), and ends a process that asks for more: ours
 * come to one.
 */
static RelcacheCallbackFunction watchers[8];
static int	nwatchers = 0;

void
tdo_watch_relations(RelcacheCallbackFunction changed)
{
	Assert(nwatchers < lengthof(watchers));
	watchers[nwatchers++] = changed;
}

static void
relation_changed(Datum arg, Oid relid)
{
	for (int i = 0; i < nwatchers; i++)
		watchers[i] (arg, relid);
}

void
tdo_store_init(void)
{
	tdo_watch_relations(invalidate_relation);
	/* DROP EXTENSION drops the schema, and everything of ours has a schema */
	CacheRegisterSyscacheCallback(NAMESPACEOID, invalidate_objects, (Datum) 0);
	CacheRegisterRelcacheCallback(relation_changed, (Datum) 0);
}

/* false when there is none; *version gets its version */
static bool
find_extension(TdoObjects *o, char *version)
{
	Relation	rel = table_open(ExtensionRelationId, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found;

	ScanKeyInit(&key, Anum_pg_extension_extname, BTEqualStrategyNumber,
				F_NAMEEQ, CStringGetDatum(TDO_EXTENSION));
	scan = systable_beginscan(rel, ExtensionNameIndexId, true, NULL, 1, &key);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
	{
		Form_pg_extension form = (Form_pg_extension) GETSTRUCT(tuple);
		bool		isnull;
		Datum		value = heap_getattr(tuple, Anum_pg_extension_extversion,
										 RelationGetDescr(rel), &isnull);

		o->extension = form->oid;
		o->extension_owner = form->extowner;
		strlcpy(version, isnull ? "?" : TextDatumGetCString(value), TDO_VERSION_LEN);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

/* x.y.z as one number, or -1 */
static int
version_number(const char *version)
{
	int			x,
				y,
				z,
				end;

	if (sscanf(version, "%3d.%3d.%3d%n", &x, &y, &z, &end) != 3 || version[end] != '\0' ||
		x < 0 || y < 0 || z < 0)
		return -1;
	return (x * 1000 + y) * 1000 + z;
}

/*
 * The library is the server's, the SQL objects are the database's: after an
 * upgrade of either they may not fit.  Tables of a layout that we do not know
 * must not be touched.
 */
static bool
is_served(const TdoObjects *o)
{
	int			version = version_number(mismatch.version);

	if (version < 0 || version > version_number(TDO_VERSION))
	{
		mismatch.detail = "The library is older than the extension: it is of version " TDO_VERSION ".";
		mismatch.hint = "Restart the server with the library of that version.";
		return false;
	}
	if (version < version_number(TDO_OLDEST_SQL))
	{
		mismatch.detail = "The library is newer: it is of version " TDO_VERSION ".";
		mismatch.hint = "Run ALTER EXTENSION triggerdo UPDATE.";
		return false;
	}
	/* a schema of that name may be anybody's, when ours was renamed */
	if (!OidIsValid(o->schema) ||
		getExtensionOfObject(NamespaceRelationId, o->schema) != o->extension)
	{
		mismatch.detail = "Schema \"" TDO_PRIVATE_SCHEMA "\" is not the extension's.";
		mismatch.hint = "If the extension's schema was renamed, give it its name back.";
		return false;
	}
	return true;
}

static Oid
our_relation(const TdoObjects *o, const char *name)
{
	return get_relname_relid(name, o->schema);
}

static void
find_relations(TdoObjects *o)
{
	o->run = our_relation(o, "run");
	o->task = our_relation(o, "task");
	o->task_pkey = our_relation(o, "task_pkey");
	o->origin = our_relation(o, "origin");
	o->role = our_relation(o, "role");
	o->role_oid = our_relation(o, "role_oid");
	o->grant = our_relation(o, "grant");
	o->admin = our_relation(o, "admin");
	o->change = our_relation(o, "change");
	o->change_pkey = our_relation(o, "change_pkey");
	o->live = our_relation(o, "live");
	o->live_pkey = our_relation(o, "live_pkey");
	o->live_order = our_relation(o, "live_order");
	o->timer = our_relation(o, "timer");
	o->timer_pkey = our_relation(o, "timer_pkey");
	o->timer_due = our_relation(o, "timer_due");
	o->idempotency = our_relation(o, "idempotency");
	o->idempotency_pkey = our_relation(o, "idempotency_pkey");
	o->idempotency_expires = our_relation(o, "idempotency_expires");
	o->hook = our_relation(o, "hook");
	o->hook_pkey = our_relation(o, "hook_pkey");
	o->hook_queue = our_relation(o, "hook_queue");
	o->child = our_relation(o, "child");
	o->child_pkey = our_relation(o, "child_pkey");
}

const TdoObjects *
tdo_objects_if_any(void)
{
	TdoObjects	o;
	uint64		changes = object_changes;
	bool		whole = true;

	if (objects_valid)
		return OidIsValid(objects.extension) ? &objects : NULL;

	memset(&o, 0, sizeof(o));
	mismatch.detail = NULL;
	if (find_extension(&o, mismatch.version))
	{
		o.schema = get_namespace_oid(TDO_PRIVATE_SCHEMA, true);
		if (is_served(&o))
			find_relations(&o);

		/*
		 * Half there, while the install script is running; or not served,
		 * where no invalidation says that it is.
		 */
		if (!OidIsValid(o.timer_due) || !OidIsValid(o.admin) ||
			!OidIsValid(o.change_pkey) || !OidIsValid(o.idempotency_expires) ||
			!OidIsValid(o.hook_queue) || !OidIsValid(o.child_pkey))
		{
			o.extension = InvalidOid;
			whole = false;
		}
	}
	objects = o;
	/* an error, or an invalidation that arrives meanwhile, must win */
	objects_valid = whole && changes == object_changes;
	return OidIsValid(o.extension) ? &objects : NULL;
}

const TdoMismatch *
tdo_objects_mismatch(void)
{
	if (tdo_objects_if_any() != NULL || mismatch.detail == NULL)
		return NULL;
	return &mismatch;
}

const TdoObjects *
tdo_objects(void)
{
	const TdoObjects *o = tdo_objects_if_any();

	if (likely(o != NULL))
		return o;
	if (mismatch.detail != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("triggerdo cannot serve version %s of its extension", mismatch.version),
				 errdetail_internal("%s", mismatch.detail),
				 errhint("%s", mismatch.hint)));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("extension \"triggerdo\" is not installed in this database"),
			 errhint("Run CREATE EXTENSION triggerdo.")));
	return NULL;				/* not reached */
}

/* what is not served is not remembered, so there it takes no message */
void
tdo_objects_changed(void)
{
	const TdoObjects *o = tdo_objects_if_any();

	if (o != NULL)
		CacheInvalidateRelcacheByRelid(o->task);
}

/* ---------------------------------------------------------------- the door */

static void
door_pin(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_SUSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/* lock_timeout in milliseconds, 0: none */
static void
door_enter(Door *d, bool ddl, int lock_timeout)
{
	GetUserIdAndSecContext(&d->user, &d->sec_context);
	d->nest_level = NewGUCNestLevel();
	d->read_only = XactReadOnly;
	d->jit = jit_enabled;
	d->parallel = tdo_debug_parallel_query;
	d->plan_mode = plan_cache_mode;
	d->lock_timeout = LockTimeout;
	d->seqscan = enable_seqscan;
	d->sort = enable_sort;

	door_pin("search_path", "pg_catalog, pg_temp");
	if (ddl)
	{
		door_pin("default_tablespace", "");
		door_pin("default_table_access_method", "heap");
	}
	SetUserIdAndSecContext(tdo_objects()->extension_owner,
						   d->sec_context | SECURITY_LOCAL_USERID_CHANGE);
	XactReadOnly = false;
	jit_enabled = false;
	tdo_debug_parallel_query = TDO_DEBUG_PARALLEL_OFF;
	plan_cache_mode = PLAN_CACHE_MODE_FORCE_GENERIC_PLAN;
	LockTimeout = lock_timeout;
	/* one-table statements cannot be turned from their index by statistics */
	enable_seqscan = false;
	enable_sort = false;
}

static void
door_leave(Door *d)
{
	enable_sort = d->sort;
	enable_seqscan = d->seqscan;
	LockTimeout = d->lock_timeout;
	plan_cache_mode = d->plan_mode;
	tdo_debug_parallel_query = d->parallel;
	jit_enabled = d->jit;
	XactReadOnly = d->read_only;
	SetUserIdAndSecContext(d->user, d->sec_context);
	AtEOXact_GUC(true, d->nest_level);
}

void
tdo_as_role(Oid role, void (*call) (void *), void *arg)
{
	Oid			user;
	int			sec_context;

	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(role, sec_context | SECURITY_LOCAL_USERID_CHANGE);
	PG_TRY();
	{
		call(arg);
	}
	PG_FINALLY();
	{
		SetUserIdAndSecContext(user, sec_context);
	}
	PG_END_TRY();
}

/* ----------------------------------------------------------- day partitions */

int
tdo_day_of(const pg_uuid_t *id)
{
	uint64		ms = 0;

	for (int i = 0; i < 6; i++)
		ms = (ms << 8) | id->data[i];
	return (int) (ms / (SECS_PER_DAY * 1000));
}

int
tdo_today(void)
{
	return (int) ((tdo_now() / USECS_PER_DAY) +
				  (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) -
				  (tdo_now() % USECS_PER_DAY < 0 ? 1 : 0));
}

static void
partition_name(char *name, TdoFamily family, int day)
{
	int			year,
				month,
				mday;

	j2date(day + UNIX_EPOCH_JDATE, &year, &month, &mday);
	snprintf(name, NAMEDATALEN, "%s_%04d%02d%02d", family_names[family], year, month, mday);
}

Oid
tdo_partition(TdoFamily family, int day)
{
	char		name[NAMEDATALEN];

	partition_name(name, family, day);
	return our_relation(tdo_objects(), name);
}

pg_uuid_t
tdo_day_bound(int day)
{
	uint64		ms = (uint64) day * SECS_PER_DAY * 1000;
	pg_uuid_t	id = {{0}};

	for (int i = 5; i >= 0; i--, ms >>= 8)
		id.data[i] = ms & 0xff;
	return id;
}

/* the same as text */
static char *
day_bound(int day)
{
	pg_uuid_t	id = tdo_day_bound(day);

	return DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&id)));
}

/* the day that a partition of runs is named for, or -1 */
static int
day_of_name(const char *name)
{
	char		canonical[NAMEDATALEN];
	int			year,
				month,
				mday,
				day;

	if (name == NULL || sscanf(name, "run_%4d%2d%2d", &year, &month, &mday) != 3)
		return -1;
	day = date2j(year, month, mday) - UNIX_EPOCH_JDATE;
	partition_name(canonical, TDO_RUN, day);
	return strcmp(name, canonical) == 0 ? day : -1;
}

static int
compare_days(const ListCell *a, const ListCell *b)
{
	return lfirst_int(a) - lfirst_int(b);
}

List *
tdo_partition_days(void)
{
	List	   *children = find_inheritance_children(our_relation(tdo_objects(), family_names[TDO_RUN]),
													 NoLock);
	List	   *days = NIL;
	ListCell   *lc;

	foreach(lc, children)
	{
		int			day = day_of_name(get_rel_name(lfirst_oid(lc)));

		if (day >= 0)
			days = lappend_int(days, day);
	}
	list_sort(days, compare_days);
	return days;
}

static void
run_ddl(const char *sql)
{
	if (SPI_execute(sql, false, 0) != SPI_OK_UTILITY)
		elog(ERROR, "unexpected result of \"%s\"", sql);	/* can't happen */
}

/*
 * LIKE and ATTACH, not PARTITION OF: that would want ACCESS EXCLUSIVE on the
 * parent and wait for every transaction that has enqueued.  The CHECK spares
 * ATTACH its scan and stays as a guard.
 */
static void
make_one(TdoFamily family, int day)
{
	char		name[NAMEDATALEN];
	const char *parent = family_names[family];
	char	   *from = day_bound(day);
	char	   *to = day_bound(day + 1);

	partition_name(name, family, day);
	run_ddl(psprintf("CREATE TABLE " TDO_PRIVATE_SCHEMA ".%s "
					 "(LIKE " TDO_PRIVATE_SCHEMA ".%s INCLUDING ALL, "
					 "CONSTRAINT %s_pkey PRIMARY KEY (%s), "
					 "CONSTRAINT %s_day CHECK (run_id OPERATOR(pg_catalog.>=) '%s' "
					 "AND run_id OPERATOR(pg_catalog.<) '%s'))",
					 name, parent, name,
					 family == TDO_ATTEMPT ? "run_id, attempt" : "run_id",
					 name, from, to));
	/* the newest runs of a task */
	if (family == TDO_RUN)
		run_ddl(psprintf("CREATE INDEX %s_task ON " TDO_PRIVATE_SCHEMA ".%s (task, created_at)",
						 name, name));
	run_ddl(psprintf("ALTER TABLE " TDO_PRIVATE_SCHEMA ".%s ENABLE ROW LEVEL SECURITY", name));
	run_ddl(psprintf("ALTER TABLE " TDO_PRIVATE_SCHEMA ".%s ATTACH PARTITION "
					 TDO_PRIVATE_SCHEMA ".%s FOR VALUES FROM ('%s') TO ('%s')",
					 parent, name, from, to));
}

static void
make_day(int day)
{
	Door		door;

	door_enter(&door, true, 0);
	PG_TRY();
	{
		SPI_connect();
		/* (a restore may have left one of the three out) */
		for (TdoFamily family = TDO_RUN; family <= TDO_ATTEMPT; family++)
		{
			if (!OidIsValid(tdo_partition(family, day)))
				make_one(family, day);
		}
		SPI_finish();
	}
	PG_FINALLY();
	{
		door_leave(&door);
	}
	PG_END_TRY();
	CommandCounterIncrement();
}

Oid
tdo_partition_task_index(int day)
{
	char		name[NAMEDATALEN];

	partition_name(name, TDO_RUN, day);
	strlcat(name, "_task", NAMEDATALEN);
	return our_relation(tdo_objects(), name);
}

Oid
tdo_partition_make(TdoFamily family, int day)
{
	Oid			part = tdo_partition(family, day);

	if (likely(OidIsValid(part)))
		return part;

	/*
	 * An object of ours, so that no user can hold the lock up; sub-object 1,
	 * because DROP EXTENSION locks the extension itself.
	 */
	LockDatabaseObject(ExtensionRelationId, tdo_objects()->extension, 1, ExclusiveLock);
	part = tdo_partition(family, day);
	if (!OidIsValid(part))
	{
		make_day(day);
		part = tdo_partition(family, day);
	}
	return part;
}

/*
 * The parents first, in the order in which the view of runs has them, then the
 * partitions: readers that come the other way meet the time-out.
 */
bool
tdo_partition_lock(int day, int lock_timeout)
{
	Door		door;
	volatile bool complete = true;

	door_enter(&door, true, lock_timeout);
	PG_TRY();
	{
		for (int f = TDO_RUN; f <= TDO_ATTEMPT; f++)
			LockRelationOid(our_relation(tdo_objects(), family_names[f]), AccessExclusiveLock);
		for (int f = TDO_RUN; f <= TDO_ATTEMPT && complete; f++)
		{
			Oid			part = tdo_partition(f, day);

			if (OidIsValid(part))
				LockRelationOid(part, AccessExclusiveLock);
			/* somebody else may have dropped it before we had the lock */
			complete = OidIsValid(part) && tdo_partition(f, day) == part;
		}
	}
	PG_FINALLY();
	{
		door_leave(&door);
	}
	PG_END_TRY();
	return complete;
}

void
tdo_partition_drop(int day)
{
	char		names[3][NAMEDATALEN];
	Door		door;

	for (int f = TDO_RUN; f <= TDO_ATTEMPT; f++)
		partition_name(names[f], f, day);
	door_enter(&door, true, 0);
	PG_TRY();
	{
		SPI_connect();
		run_ddl(psprintf("DROP TABLE " TDO_PRIVATE_SCHEMA ".%s, " TDO_PRIVATE_SCHEMA ".%s, "
						 TDO_PRIVATE_SCHEMA ".%s", names[0], names[1], names[2]));
		SPI_finish();
	}
	PG_FINALLY();
	{
		door_leave(&door);
	}
	PG_END_TRY();
	CommandCounterIncrement();
}

/* ------------------------------------------------------------------- others */

static void
lock_family(TdoFamily family)
{
	Oid			parent = our_relation(tdo_objects(), family_names[family]);

	(void) find_all_inheritors(parent, AccessExclusiveLock, NULL);
}

void
tdo_lock_tables(void)
{
	TdoObjects	o;

	if (tdo_objects_if_any() == NULL)
		return;
	o = *tdo_objects();			/* waiting for a lock takes in invalidations */
	LockRelationOid(o.task, AccessExclusiveLock);
	LockRelationOid(o.origin, AccessExclusiveLock);
	LockRelationOid(o.role, AccessExclusiveLock);
	LockRelationOid(o.grant, AccessExclusiveLock);
	LockRelationOid(o.admin, AccessExclusiveLock);
	LockRelationOid(o.change, AccessExclusiveLock);
	LockRelationOid(o.idempotency, AccessExclusiveLock);
	lock_family(TDO_RUN);
	LockRelationOid(o.live, AccessExclusiveLock);
	LockRelationOid(o.timer, AccessExclusiveLock);
	LockRelationOid(o.child, AccessExclusiveLock);
	lock_family(TDO_RESULT);
	lock_family(TDO_ATTEMPT);
	LockRelationOid(o.hook, AccessExclusiveLock);
}

bool
tdo_any_prepared(void)
{
	Door		door;
	volatile bool found = false;

	door_enter(&door, false, 0);
	PG_TRY();
	{
		SPI_connect();
		if (SPI_execute("SELECT 1 FROM pg_catalog.pg_prepared_xacts p "
						"WHERE p.database OPERATOR(pg_catalog.=) pg_catalog.current_database() "
						"LIMIT 1", true, 1) == SPI_OK_SELECT)
			found = SPI_processed > 0;
		SPI_finish();
	}
	PG_FINALLY();
	{
		door_leave(&door);
	}
	PG_END_TRY();
	return found;
}

/* -------------------------------------------------------- binding a copy (resume) */

/* a statement of one row and column, for its effect and its number */
static int64
run_fixed(const char *sql, int nargs, Oid *types, Datum *values)
{
	Door		door;
	volatile int64 n = 0;

	door_enter(&door, false, 0);
	/* these read whole tables, once */
	enable_seqscan = true;
	enable_sort = true;
	PG_TRY();
	{
		bool		isnull;
		Datum		d;

		SPI_connect();
		if (SPI_execute_with_args(sql, nargs, types, values, NULL, false, 0) != SPI_OK_SELECT ||
			SPI_processed != 1)
			elog(ERROR, "unexpected result of \"%s\"", sql);	/* can't happen */
		d = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
		n = isnull ? 0 : DatumGetInt64(d);
		SPI_finish();
	}
	PG_FINALLY();
	{
		door_leave(&door);
	}
	PG_END_TRY();
	CommandCounterIncrement();
	return n;
}

void
tdo_bind_roles(bool loaded)
{
	Oid			type = BOOLOID;
	Datum		value = BoolGetDatum(loaded);

	(void) run_fixed("SELECT " TDO_PRIVATE_SCHEMA ".bind_roles($1)", 1, &type, &value);
	/* SQL has changed what others have read (definition.c, grant.c, change.c) */
	CacheInvalidateRelcacheByRelid(tdo_objects()->task);
	CacheInvalidateRelcacheByRelid(tdo_objects()->grant);
	CacheInvalidateRelcacheByRelid(tdo_objects()->admin);
	CacheInvalidateRelcacheByRelid(tdo_objects()->change);
}

int64
tdo_forget_orphans(void)
{
	return run_fixed("SELECT " TDO_PRIVATE_SCHEMA ".forget_orphans()", 0, NULL, NULL);
}

/* a run's day may lack the partition of its result */
static void
complete_days(void)
{
	ListCell   *lc;

	foreach(lc, tdo_partition_days())
	{
		(void) tdo_partition_make(TDO_RESULT, lfirst_int(lc));
		(void) tdo_partition_make(TDO_ATTEMPT, lfirst_int(lc));
	}
}

int64
tdo_end_unrestored(void)
{
	Oid			type = TIMESTAMPTZOID;
	Datum		value = TimestampTzGetDatum(tdo_now());

	complete_days();
	return run_fixed("SELECT " TDO_PRIVATE_SCHEMA ".end_unrestored($1)", 1, &type, &value);
}
