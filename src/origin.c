/*-------------------------------------------------------------------------
 *
 * origin.c
 *	  Is this database the one its rows were made in, and may it run?
 *
 * Job: tell an original from a copy; the map of role oids to names, by which a
 * copy is bound to another server's roles.
 * Called by: whoever reads or writes a role's oid; scheduler, executors; pause
 * and resume.
 * Locks: SHARE ROW EXCLUSIVE on origin to change it (ROW EXCLUSIVE: a later
 * look of the scheduler does it); SHARE UPDATE EXCLUSIVE on role to correct it.
 * Crash: rows are ordinary; the mark in the data directory is fsynced before
 * the server recovers.
 *
 * _triggerdo.origin has one row from the first definition on, and is never
 * dumped.  It comes along only with the data files; so where it is, pg_authid
 * came along, too, or is the same, and role oids are true: the database is
 * bound.  Where it is missing and other rows are there, these came from a dump:
 * until resume() binds them by name, nobody but a superuser sees or runs them.
 *
 * A bound database is a copy, and paused, when the row names another system
 * (pg_upgrade, pg_createsubscriber) or another database (CREATE DATABASE ...
 * TEMPLATE), or not the last restore that the data directory knows of.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>
#include <unistd.h>

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/indexing.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_inherits.h"
#include "commands/dbcommands.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "clock.h"
#include "origin.h"
#include "store.h"
#include "triggerdo.h"

/* a number that each restore from a backup draws anew, in the data directory */
#define MARK_FILE		"triggerdo.restored"

enum
{
	ORIGIN_SYSTEM = 1, ORIGIN_DATABASE, ORIGIN_RESTORED, ORIGIN_PAUSED_AT,
	ORIGIN_REASON, ORIGIN_NATTS = ORIGIN_REASON
};

enum
{
	ROLE_ROLE = 1, ROLE_NAME, ROLE_TARGET, ROLE_NATTS = ROLE_TARGET
};

static int64 mark = 0;			/* what MARK_FILE says; 0: there is none */

static TdoOrigin origin;
static bool origin_valid = false;
static uint64 origin_changes = 0;
static Oid	origin_relation = InvalidOid;

static HTAB *known_roles = NULL;	/* oids that are on the map */
static Oid	last_known = InvalidOid;	/* spares most look-ups */
static Oid	known_in = InvalidOid;	/* the map that they are on */
static bool added_in_transaction = false;
static bool roles_changed = true;

/* --------------------------------------------- a server restored from a backup */

static bool
file_exists(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0;
}

/* recovery is to stop before the end of what there is */
static bool
has_recovery_target(void)
{
	static const char *const settings[] = {
		"recovery_target", "recovery_target_time", "recovery_target_xid",
		"recovery_target_name", "recovery_target_lsn"
	};

	for (int i = 0; i < lengthof(settings); i++)
	{
		const char *value = GetConfigOption(settings[i], true, false);

		if (value && value[0] != '\0')
			return true;
	}
	return false;
}

/*
 * Recovery from an archive to a point in time, or from a base backup.  A
 * standby goes on where its primary ends, unless it is told to stop earlier.
 * These files are there when the postmaster loads us, and are removed by the
 * recovery only.
 */
static bool
starts_from_backup(void)
{
	if (file_exists(STANDBY_SIGNAL_FILE))
		return has_recovery_target();
#if PG_VERSION_NUM >= 150000
	/* before, an exclusive backup left one in the original */
	if (file_exists(BACKUP_LABEL_FILE))
		return true;
#endif
	return file_exists(RECOVERY_SIGNAL_FILE);
}

static int64
read_mark(void)
{
	FILE	   *file = AllocateFile(MARK_FILE, "r");
	int64		value = 0;

	if (file == NULL)
		return 0;
	if (fscanf(file, INT64_FORMAT, &value) != 1)
		value = 1;				/* there was one */
	FreeFile(file);
	return value;
}

static void
write_mark(int64 value)
{
	FILE	   *file = AllocateFile(MARK_FILE ".tmp", "w");
	bool		ok = file != NULL;

	if (file)
	{
		ok = fprintf(file, INT64_FORMAT "\n", value) > 0 && fflush(file) == 0 &&
			pg_fsync(fileno(file)) == 0;
		if (FreeFile(file) != 0)
			ok = false;
	}
	if (!ok || durable_rename(MARK_FILE ".tmp", MARK_FILE, LOG) != 0)
		ereport(WARNING,
				(errcode_for_file_access(),
				 errmsg("could not write file \"%s\": %m", MARK_FILE),
				 errdetail("triggerdo takes note that this server was restored from a backup in each database instead.")));
}

/*
 * A standby keeps no mark: what its primary made of a restore is in the rows,
 * and comes with them.
 */
static void
look_for_restore(void)
{
	if (starts_from_backup())
	{
		/* (not tdo_random_uint64: its state would be every child's) */
		if (!pg_strong_random(&mark, sizeof(mark)) || mark == 0)
			mark = 1;
		write_mark(mark);
		return;
	}
	if (file_exists(STANDBY_SIGNAL_FILE) && file_exists(MARK_FILE))
		(void) durable_unlink(MARK_FILE, LOG);
	mark = read_mark();
}

/* ------------------------------------------------------------------ the origin */

static void
relation_changed(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || relid == origin_relation)
	{
		origin_valid = false;
		origin_changes++;
	}
}

/* what the row comes to, by comparing it with where we are */
static void
judge(Relation rel, HeapTuple tuple)
{
	bool		isnull;
	bool		is_paused;
	Datum		reason;
	TupleDesc	desc = RelationGetDescr(rel);
	uint64		system = (uint64) DatumGetInt64(heap_getattr(tuple, ORIGIN_SYSTEM, desc, &isnull));
	Oid			database = DatumGetObjectId(heap_getattr(tuple, ORIGIN_DATABASE, desc, &isnull));
	int64		restored = DatumGetInt64(heap_getattr(tuple, ORIGIN_RESTORED, desc, &isnull));

	(void) heap_getattr(tuple, ORIGIN_PAUSED_AT, desc, &isnull);
	is_paused = !isnull;
	origin.standing = TDO_PAUSED;
	origin.noted = is_paused;
	if (is_paused)
	{
		reason = heap_getattr(tuple, ORIGIN_REASON, desc, &isnull);
		strlcpy(origin.reason, isnull ? "paused" : TextDatumGetCString(reason),
				sizeof(origin.reason));
	}
	else if (database != MyDatabaseId)
		strlcpy(origin.reason, "this database is a copy of another one", sizeof(origin.reason));
	else if (system != GetSystemIdentifier())
		strlcpy(origin.reason, "this server is a copy of another one, or an upgrade of it",
				sizeof(origin.reason));
	else if (mark != 0 && restored != mark)
		strlcpy(origin.reason, "this server was restored from a backup", sizeof(origin.reason));
	else
		origin.standing = TDO_RUNNING;
}

const TdoOrigin *
tdo_origin(void)
{
	const TdoObjects *o = tdo_objects();
	Relation	rel;
	SysScanDesc scan;
	HeapTuple	tuple;
	uint64		changes;

	if (likely(origin_valid && origin_relation == o->origin))
		return &origin;
	origin_valid = false;
	origin_relation = o->origin;
	rel = table_open(o->origin, AccessShareLock);
	/* an error, or an invalidation that arrives meanwhile, must win */
	changes = origin_changes;
	memset(&origin, 0, sizeof(origin));
	origin.standing = TDO_UNBOUND;
	/* the snapshot of the catalogs: fresh, also in a parallel query */
	scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		judge(rel, tuple);
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	origin_valid = changes == origin_changes;
	return &origin;
}

void
tdo_origin_reread(void)
{
	origin_valid = false;
}

void
tdo_origin_require_bound(void)
{
	if (tdo_origin()->standing == TDO_UNBOUND)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the tasks and runs of this database were loaded from a dump and are not bound to roles yet"),
				 errhint("When all is loaded, a superuser calls triggerdo.resume().")));
}

static bool
table_is_empty(Oid table)
{
	Relation	rel = table_open(table, AccessShareLock);
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, latest, 0, NULL);
	bool		empty = !HeapTupleIsValid(systable_getnext(scan));

	systable_endscan(scan);
	UnregisterSnapshot(latest);
	table_close(rel, AccessShareLock);
	return empty;
}

bool
tdo_origin_is_empty(void)
{
	const TdoObjects *o = tdo_objects();

	return table_is_empty(o->task) && table_is_empty(o->live) &&
		table_is_empty(o->role) && table_is_empty(o->grant) && table_is_empty(o->admin) &&
		!has_subclass(o->run);
}

const char *
tdo_origin_pause_reason(void)
{
	const TdoOrigin *o = tdo_origin();

	if (o->standing == TDO_PAUSED)
		return o->reason;
	if (o->standing == TDO_UNBOUND && !tdo_origin_is_empty())
		return "its tasks and runs were loaded from a dump";
	return NULL;
}

void
tdo_origin_lock(void)
{
	Relation	rel = table_open(tdo_objects()->origin, ShareRowExclusiveLock);

	/* what was read before may be old */
	origin_valid = false;
	table_close(rel, NoLock);
}

static void
write_row(Relation rel, int64 system, Oid database, int64 restored, const char *pause_reason)
{
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, latest, 0, NULL);
	HeapTuple	old = systable_getnext(scan);
	HeapTuple	tuple;
	Datum		values[ORIGIN_NATTS];
	bool		nulls[ORIGIN_NATTS] = {false};

	values[ORIGIN_SYSTEM - 1] = Int64GetDatum(system);
	values[ORIGIN_DATABASE - 1] = ObjectIdGetDatum(database);
	values[ORIGIN_RESTORED - 1] = Int64GetDatum(restored);
	values[ORIGIN_PAUSED_AT - 1] = TimestampTzGetDatum(tdo_now());
	values[ORIGIN_REASON - 1] = pause_reason ? CStringGetTextDatum(pause_reason) : (Datum) 0;
	nulls[ORIGIN_PAUSED_AT - 1] = nulls[ORIGIN_REASON - 1] = pause_reason == NULL;
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	if (HeapTupleIsValid(old))
		CatalogTupleUpdate(rel, &old->t_self, tuple);
	else
		CatalogTupleInsert(rel, tuple);
	systable_endscan(scan);
	UnregisterSnapshot(latest);
	/* every process looks anew, at our commit */
	CacheInvalidateRelcache(rel);
	CommandCounterIncrement();
}

void
tdo_origin_write(const char *pause_reason)
{
	Relation	rel = table_open(tdo_objects()->origin, RowExclusiveLock);

	write_row(rel, (int64) GetSystemIdentifier(), MyDatabaseId, mark, pause_reason);
	table_close(rel, NoLock);
}

/*
 * The caller serializes definers.  A restore that is half way has loaded
 * something, or nothing: CREATE EXTENSION alone lets nobody but superusers in.
 */
void
tdo_origin_settle(void)
{
	if (tdo_origin()->standing != TDO_UNBOUND)
		return;
	tdo_origin_lock();
	if (tdo_origin()->standing != TDO_UNBOUND)
		return;
	if (!tdo_origin_is_empty())
		tdo_origin_require_bound();
	tdo_origin_write(NULL);
}

/* by whom it was made stays: resume() is what makes it ours */
void
tdo_origin_note(void)
{
	const TdoOrigin *o = tdo_origin();
	Oid			relid = tdo_objects()->origin;
	Relation	rel;
	Snapshot	latest;
	SysScanDesc scan;
	HeapTuple	tuple;

	if (o->standing != TDO_PAUSED || o->noted ||
		!ConditionalLockRelationOid(relid, ShareRowExclusiveLock))
		return;
	origin_valid = false;
	o = tdo_origin();
	rel = table_open(relid, NoLock);
	latest = RegisterSnapshot(GetLatestSnapshot());
	scan = systable_beginscan(rel, InvalidOid, false, latest, 0, NULL);
	tuple = systable_getnext(scan);
	if (o->standing == TDO_PAUSED && !o->noted && HeapTupleIsValid(tuple))
	{
		TupleDesc	desc = RelationGetDescr(rel);
		bool		isnull;

		write_row(rel,
				  DatumGetInt64(heap_getattr(tuple, ORIGIN_SYSTEM, desc, &isnull)),
				  DatumGetObjectId(heap_getattr(tuple, ORIGIN_DATABASE, desc, &isnull)),
				  DatumGetInt64(heap_getattr(tuple, ORIGIN_RESTORED, desc, &isnull)),
				  pstrdup(o->reason));
	}
	systable_endscan(scan);
	UnregisterSnapshot(latest);
	table_close(rel, NoLock);
}

/* -------------------------------------------------------------------- the roles */

/*
 * initdb gives such oids to objects without one of their own, roles are not
 * among them, and CREATE ROLE begins above (bind_roles passes over any that a
 * role has all the same).
 */
bool
tdo_role_is_missing(Oid role)
{
	return role >= TDO_MISSING_ROLE_MIN && role < FirstNormalObjectId &&
		!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role));
}

static SysScanDesc
scan_role(Relation rel, Oid role, ScanKey key)
{
	ScanKeyInit(key, ROLE_ROLE, BTEqualStrategyNumber, F_OIDEQ, ObjectIdGetDatum(role));
	return systable_beginscan(rel, tdo_objects()->role_oid, true, SnapshotSelf, 1, key);
}

static bool
is_on_map(Relation rel, Oid role)
{
	ScanKeyData key;
	SysScanDesc scan = scan_role(rel, role, &key);
	bool		found = HeapTupleIsValid(systable_getnext(scan));

	systable_endscan(scan);
	return found;
}

static HeapTuple
form_role(Relation rel, Oid role, Name name)
{
	Datum		values[ROLE_NATTS] = {0};
	bool		nulls[ROLE_NATTS] = {false};

	values[ROLE_ROLE - 1] = ObjectIdGetDatum(role);
	values[ROLE_NAME - 1] = NameGetDatum(name);
	nulls[ROLE_TARGET - 1] = true;
	return heap_form_tuple(RelationGetDescr(rel), values, nulls);
}

static void
add_to_map(Oid role)
{
	Relation	rel = table_open(tdo_objects()->role, RowExclusiveLock);

	char	   *name = GetUserNameFromId(role, true);

	/* (a task outlives its owner, and a superuser may trigger it) */
	if (name != NULL && !is_on_map(rel, role))
	{
		NameData	data;

		namestrcpy(&data, name);
		CatalogTupleInsert(rel, form_role(rel, role, &data));
		added_in_transaction = true;
	}
	table_close(rel, NoLock);
}

static void
forget_known(void)
{
	if (known_roles)
		hash_destroy(known_roles);
	known_roles = NULL;
	last_known = InvalidOid;
}

/*
 * The map has no unique key, on purpose: of two sessions that meet a role first
 * at the same time one would wait for the other's transaction, however long.
 * Both insert; the scheduler takes the second one away.
 */
void
tdo_role_remember(Oid role)
{
	Oid			map = tdo_objects()->role;
	bool		found;

	if (likely(role == last_known && map == known_in))
		return;
	if (map != known_in)
		forget_known();
	known_in = map;
	if (known_roles == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(Oid);
		ctl.entrysize = sizeof(Oid);
		ctl.hcxt = TopMemoryContext;
		known_roles = hash_create("triggerdo roles", 16, &ctl,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	if (hash_search(known_roles, &role, HASH_FIND, NULL) == NULL)
	{
		add_to_map(role);
		(void) hash_search(known_roles, &role, HASH_ENTER, &found);
	}
	last_known = role;
}

/* what was added is gone with its (sub)transaction */
static void
transaction_ended(XactEvent event, void *arg)
{
	if (!added_in_transaction)
		return;
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		forget_known();
	if (event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE ||
		event == XACT_EVENT_COMMIT)
		added_in_transaction = false;
}

static void
subtransaction_ended(SubXactEvent event, SubTransactionId mySubid,
					 SubTransactionId parentSubid, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && added_in_transaction)
		forget_known();
}

static char *
name_on_map(Oid role)
{
	Relation	rel = table_open(tdo_objects()->role, AccessShareLock);
	ScanKeyData key;
	SysScanDesc scan = scan_role(rel, role, &key);
	HeapTuple	tuple = systable_getnext(scan);
	char	   *name = NULL;

	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		d = heap_getattr(tuple, ROLE_NAME, RelationGetDescr(rel), &isnull);

		if (NameStr(*DatumGetName(d))[0] != '\0')
			name = pstrdup(NameStr(*DatumGetName(d)));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return name;
}

char *
tdo_role_name(Oid role)
{
	char	   *name = NULL;

	if (tdo_origin()->standing == TDO_UNBOUND)
		name = name_on_map(role);
	if (name == NULL)
		name = GetUserNameFromId(role, true);
	if (name == NULL)
		name = name_on_map(role);
	return name ? name : psprintf("unknown (OID=%u)", role);
}

static void
authid_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	roles_changed = true;
}

void
tdo_roles_watch(void)
{
	CacheRegisterSyscacheCallback(AUTHOID, authid_changed, (Datum) 0);
}

/* one row of the map: a rename is followed, a second row of a role goes */
static void
follow_role(Relation rel, HeapTuple tuple, List **seen)
{
	bool		isnull;
	Oid			role = DatumGetObjectId(heap_getattr(tuple, ROLE_ROLE, RelationGetDescr(rel), &isnull));
	Name		name = DatumGetName(heap_getattr(tuple, ROLE_NAME, RelationGetDescr(rel), &isnull));
	const char *now;
	NameData	new;

	if (list_member_oid(*seen, role))
	{
		CatalogTupleDelete(rel, &tuple->t_self);
		return;
	}
	*seen = lappend_oid(*seen, role);
	now = GetUserNameFromId(role, true);

	/*
	 * Of a dropped one the last name stays, until another role has it: who
	 * restores a dump must not give that one the dropped one's tasks.  (A
	 * role that a copy's server lacks waits for its name.)
	 */
	if (now == NULL && !tdo_role_is_missing(role) &&
		OidIsValid(get_role_oid(NameStr(*name), true)))
		now = "";
	if (now == NULL || strcmp(now, NameStr(*name)) == 0)
		return;
	namestrcpy(&new, now);
	CatalogTupleUpdate(rel, &tuple->t_self, form_role(rel, role, &new));
}

void
tdo_roles_look_again(void)
{
	roles_changed = true;
}

void
tdo_roles_follow(void)
{
	Relation	rel;
	Snapshot	latest;
	SysScanDesc scan;
	HeapTuple	tuple;
	List	   *seen = NIL;

	if (!roles_changed || tdo_origin()->standing == TDO_UNBOUND ||
		!ConditionalLockRelationOid(tdo_objects()->role, ShareUpdateExclusiveLock))
		return;
	roles_changed = false;
	rel = table_open(tdo_objects()->role, NoLock);
	latest = RegisterSnapshot(GetLatestSnapshot());
	scan = systable_beginscan(rel, InvalidOid, false, latest, 0, NULL);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
		follow_role(rel, tuple, &seen);
	systable_endscan(scan);
	UnregisterSnapshot(latest);
	table_close(rel, NoLock);
}

char *
tdo_roles_missing(void)
{
	Relation	rel = table_open(tdo_objects()->role, AccessShareLock);
	Snapshot	latest = RegisterSnapshot(GetLatestSnapshot());
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, latest, 0, NULL);
	HeapTuple	tuple;
	StringInfoData names;

	initStringInfo(&names);
	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		bool		isnull;
		Oid			role = DatumGetObjectId(heap_getattr(tuple, ROLE_ROLE, RelationGetDescr(rel), &isnull));
		Name		name = DatumGetName(heap_getattr(tuple, ROLE_NAME, RelationGetDescr(rel), &isnull));

		if (tdo_role_is_missing(role))
			appendStringInfo(&names, "%s%s", names.len ? ", " : "",
							 NameStr(*name)[0] ? quote_identifier(NameStr(*name)) : "(name not known)");
	}
	systable_endscan(scan);
	UnregisterSnapshot(latest);
	table_close(rel, AccessShareLock);
	return names.len ? names.data : NULL;
}

void
tdo_origin_init(bool preloading)
{
	tdo_watch_relations(relation_changed);
	RegisterXactCallback(transaction_ended, NULL);
	RegisterSubXactCallback(subtransaction_ended, NULL);
	if (!preloading || IsBinaryUpgrade)
		return;
	/* children inherit it, or read it where they start afresh */
	if (IsUnderPostmaster)
		mark = read_mark();
	else
		look_for_restore();
}
