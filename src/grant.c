/*-------------------------------------------------------------------------
 *
 * grant.c
 *	  Who may do what to a task and its runs: the one place that says so.
 *
 * Job: the rows of _triggerdo.grant and .admin; every check of a right.
 * Called by: the api_*.c files, for each call and for each row of a view; the
 * scheduler (tdo_grants_follow).
 * Locks: SHARE ROW EXCLUSIVE on grant or admin to change it (the scheduler only
 * when it is free), after that on task; ACCESS SHARE, for the moment, to read.
 * Crash: ordinary heap changes; what is remembered is the process's.
 *
 * A grant names task, owner and grantee, the roles by oid.  By the owner, because
 * runs outlive their task, and its id may be another role's by then: what that
 * one grants is none of the old runs, and the other way round.  By oid, because a
 * role of the same name is not the same role.
 *
 * A process remembers what the current user was granted, of a few users, until
 * something changes: rows of grant, admin or origin (each change of which sends a
 * relcache invalidation, which comes here at its commit, at the end of its own
 * command, and at its rollback), roles, or memberships.  A read by the snapshot that the
 * catalogs are read by is as fresh, sees what this transaction's commands did, and
 * is possible in a parallel query, where a new ordinary snapshot is not.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "common/hashfn.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "grant.h"
#include "origin.h"
#include "store.h"
#include "triggerdo.h"

enum
{
	GRANT_TASK = 1, GRANT_OWNER, GRANT_ROLE, GRANT_PRIVILEGE, GRANT_NATTS = GRANT_PRIVILEGE
};

enum
{
	ADMIN_ROLE = 1, ADMIN_NATTS = ADMIN_ROLE
};

/* how a privilege is written in a row, and by users */
static const struct
{
	const char *name;
	char		code;
	TdoPrivilege privilege;
}			words[] =

{
	{"trigger", 't', TDO_MAY_TRIGGER},
	{"read", 'r', TDO_MAY_READ},
	{"work", 'w', TDO_MAY_WORK},
	{"manage", 'm', TDO_MAY_MANAGE}
};

typedef struct GrantKey
{
	Oid			owner;
	int			len;
	const char *task;
} GrantKey;

typedef struct Granted
{
	GrantKey	key;
	int			privileges;
} Granted;

/* what one user may */
typedef struct Rights
{
	MemoryContext context;		/* NULL: empty */
	Oid			user;
	uint64		changes;		/* the count when it was read */
	bool		nobody;			/* nobody but superusers may anything: see
								 * nobody_may() */
	bool		admin;
	HTAB	   *tasks;			/* NULL: nothing was granted to it */

	/* the last row of a view, most often like the next */
	bool		has_last;
	Oid			last_owner;
	Oid			last_triggered_by;
	bool		last_acts;
} Rights;

/* in SECURITY DEFINER functions and the like several users take turns */
#define PLACES	8

static Rights places[PLACES];
static uint64 changes = 1;
static Oid	grant_relation = InvalidOid;
static Oid	admin_relation = InvalidOid;
static Oid	origin_relation = InvalidOid;
static bool roles_changed = true;

/* ---------------------------------------------------------------- remembering */

/* no catalog access in a callback: the oids are those last used */
static void
relation_changed(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || relid == grant_relation || relid == admin_relation ||
		relid == origin_relation)
		changes++;
}

static void
role_changed(Datum arg, int cacheid, uint32 hashvalue)
{
	changes++;
	if (cacheid == AUTHOID)
		roles_changed = true;
}

void
tdo_grant_init(void)
{
	tdo_watch_relations(relation_changed);
	CacheRegisterSyscacheCallback(AUTHOID, role_changed, (Datum) 0);
	CacheRegisterSyscacheCallback(AUTHMEMROLEMEM, role_changed, (Datum) 0);
	/* (the members of pg_database_owner) */
	CacheRegisterSyscacheCallback(DATABASEOID, role_changed, (Datum) 0);
}

static uint32
key_hash(const void *key, Size keysize)
{
	const GrantKey *k = key;

	return hash_bytes((const unsigned char *) k->task, k->len) ^ (k->owner * 0x9e3779b9U);
}

static int
key_compare(const void *a, const void *b, Size keysize)
{
	const GrantKey *x = a;
	const GrantKey *y = b;

	return x->owner != y->owner || x->len != y->len || memcmp(x->task, y->task, x->len) != 0;
}

static Datum
column(Relation rel, HeapTuple tuple, int attno)
{
	bool		isnull;

	return heap_getattr(tuple, attno, RelationGetDescr(rel), &isnull);
}

static int
privilege_of_code(char code)
{
	for (int i = 0; i < lengthof(words); i++)
	{
		if (words[i].code == code)
			return words[i].privilege;
	}
	return 0;
}

/* one row of grant, which is the user's */
static void
add_granted(Rights *rights, Relation rel, HeapTuple tuple)
{
	const text *task = DatumGetTextPP(column(rel, tuple, GRANT_TASK));
	GrantKey	key;
	Granted    *entry;
	bool		found;

	if (rights->tasks == NULL)
	{
		HASHCTL		ctl = {0};

		ctl.keysize = sizeof(GrantKey);
		ctl.entrysize = sizeof(Granted);
		ctl.hash = key_hash;
		ctl.match = key_compare;
		ctl.hcxt = rights->context;
		rights->tasks = hash_create("triggerdo grants", 32, &ctl,
									HASH_ELEM | HASH_FUNCTION | HASH_COMPARE | HASH_CONTEXT);
	}
	key.owner = DatumGetObjectId(column(rel, tuple, GRANT_OWNER));
	key.len = VARSIZE_ANY_EXHDR(task);
	key.task = VARDATA_ANY(task);
	entry = hash_search(rights->tasks, &key, HASH_ENTER, &found);
	if (!found)
	{
		char	   *copy = MemoryContextAlloc(rights->context, key.len + 1);

		memcpy(copy, key.task, key.len);
		entry->key.task = copy;
		entry->privileges = 0;
	}
	entry->privileges |= privilege_of_code(DatumGetChar(column(rel, tuple, GRANT_PRIVILEGE)));
}

static bool
is_named_admin(const TdoObjects *o, Oid user)
{
	Relation	rel = table_open(o->admin, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	bool		found = false;

	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		found = has_privs_of_role(user, DatumGetObjectId(column(rel, tuple, ADMIN_ROLE)));
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return found;
}

static void
read_granted(Rights *rights, const TdoObjects *o)
{
	Relation	rel = table_open(o->grant, AccessShareLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		if (has_privs_of_role(rights->user, DatumGetObjectId(column(rel, tuple, GRANT_ROLE))))
			add_granted(rights, rel, tuple);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
}

/* until the rows are bound, an oid in them is another server's */
static bool
nobody_may(void)
{
	return unlikely(tdo_origin()->standing == TDO_UNBOUND) && !superuser();
}

static void
read_rights(Rights *place, Oid user)
{
	TdoObjects	o = *tdo_objects();
	Rights		rights = {0};

	if (place->context)
		MemoryContextDelete(place->context);
	place->context = NULL;
	grant_relation = o.grant;
	admin_relation = o.admin;
	origin_relation = o.origin;
	rights.user = user;
	/* what changes while we read counts as after it */
	rights.changes = changes;
	/* the caller's until it is whole: an error leaves nothing behind */
	rights.context = AllocSetContextCreate(CurrentMemoryContext, "triggerdo rights",
										   ALLOCSET_SMALL_SIZES);
	rights.nobody = nobody_may();
	rights.admin = superuser_arg(user) || is_named_admin(&o, user);
	/* (who may everything was granted nothing) */
	if (!superuser_arg(user))
		read_granted(&rights, &o);
	MemoryContextSetParent(rights.context, TopMemoryContext);
	*place = rights;
}

static inline Rights *
rights_of(Oid user)
{
	Rights	   *place = &places[user % PLACES];

	if (unlikely(place->context == NULL || place->user != user || place->changes != changes))
		read_rights(place, user);
	return place;
}

static int
granted(const Rights *rights, Oid owner, const char *task, int len)
{
	GrantKey	key = {owner, len, task};
	const Granted *entry;

	if (rights->tasks == NULL)
		return 0;
	entry = hash_search(rights->tasks, &key, HASH_FIND, NULL);
	return entry ? entry->privileges : 0;
}

/* -------------------------------------------------------------------- checks */

bool
tdo_may_act_as(Oid role)
{
	AcceptInvalidationMessages();
	return !nobody_may() && has_privs_of_role(GetUserId(), role);
}

bool
tdo_is_admin(void)
{
	AcceptInvalidationMessages();
	return !nobody_may() && (superuser() || rights_of(GetUserId())->admin);
}

bool
tdo_may(const char *task, Oid owner, int privileges)
{
	const Rights *rights;

	AcceptInvalidationMessages();
	if (nobody_may())
		return false;
	if (has_privs_of_role(GetUserId(), owner))
		return true;
	rights = rights_of(GetUserId());
	if (rights->admin && (privileges & (TDO_MAY_READ | TDO_MAY_MANAGE)) != 0)
		return true;
	return (granted(rights, owner, task, strlen(task)) & privileges) != 0;
}

/*
 * What costs here is paid for each row of a view: no look at anything but what
 * the row before came to.
 */
bool
tdo_may_read(Oid owner, Oid triggered_by, Datum task)
{
	Oid			user = GetUserId();
	Rights	   *rights = rights_of(user);
	const text *id;

	if (!rights->has_last || rights->last_owner != owner ||
		rights->last_triggered_by != triggered_by)
	{
		rights->last_acts = !rights->nobody &&
			(rights->admin ||
			 (OidIsValid(owner) && has_privs_of_role(user, owner)) ||
			 (OidIsValid(triggered_by) && has_privs_of_role(user, triggered_by)));
		rights->last_owner = owner;
		rights->last_triggered_by = triggered_by;
		rights->has_last = true;
	}
	if (rights->last_acts)
		return true;
	if (rights->tasks == NULL || rights->nobody || task == 0)
		return false;
	id = DatumGetTextPP(task);
	return (granted(rights, owner, VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id)) & TDO_MAY_READ) != 0;
}

/* ---------------------------------------------------------------------- rows */

TdoPrivilege
tdo_privilege_from_name(const char *name)
{
	for (int i = 0; i < lengthof(words); i++)
	{
		if (pg_strcasecmp(words[i].name, name) == 0)
			return words[i].privilege;
	}
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("unknown privilege \"%s\"", name),
			 errhint("A task has the privileges trigger, read, work and manage; each is granted by itself.")));
	return 0;					/* keep compiler quiet */
}

static char
code_of(TdoPrivilege privilege)
{
	for (int i = 0; i < lengthof(words); i++)
	{
		if (words[i].privilege == privilege)
			return words[i].code;
	}
	return '\0';
}

/* every process reads anew: the others at our commit, we at the next command */
static void
tell(Relation rel)
{
	CacheInvalidateRelcache(rel);
	CommandCounterIncrement();
}

static bool
is_of_task(Relation rel, HeapTuple tuple, const char *task)
{
	const text *id = DatumGetTextPP(column(rel, tuple, GRANT_TASK));
	int			len = VARSIZE_ANY_EXHDR(id);

	return len == strlen(task) && memcmp(VARDATA_ANY(id), task, len) == 0;
}

static bool
is_grant(Relation rel, HeapTuple tuple, const char *task, Oid role, TdoPrivilege privilege)
{
	return DatumGetObjectId(column(rel, tuple, GRANT_ROLE)) == role &&
		DatumGetChar(column(rel, tuple, GRANT_PRIVILEGE)) == code_of(privilege) &&
		is_of_task(rel, tuple, task);
}

bool
tdo_grant_add(const char *task, Oid owner, Oid role, TdoPrivilege privilege)
{
	Relation	rel = table_open(tdo_objects()->grant, ShareRowExclusiveLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	bool		found = false;

	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		found = is_grant(rel, tuple, task, role, privilege);
	}
	systable_endscan(scan);
	if (!found)
	{
		Datum		values[GRANT_NATTS];
		bool		nulls[GRANT_NATTS] = {false};

		values[GRANT_TASK - 1] = CStringGetTextDatum(task);
		values[GRANT_OWNER - 1] = ObjectIdGetDatum(owner);
		values[GRANT_ROLE - 1] = ObjectIdGetDatum(role);
		values[GRANT_PRIVILEGE - 1] = CharGetDatum(code_of(privilege));
		CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), values, nulls));
		tell(rel);
	}
	table_close(rel, NoLock);
	return !found;
}

bool
tdo_grant_remove(const char *task, Oid role, TdoPrivilege privilege)
{
	Relation	rel = table_open(tdo_objects()->grant, ShareRowExclusiveLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	bool		found = false;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		if (!is_grant(rel, tuple, task, role, privilege))
			continue;
		CatalogTupleDelete(rel, &tuple->t_self);
		found = true;
	}
	systable_endscan(scan);
	if (found)
		tell(rel);
	table_close(rel, NoLock);
	return found;
}

void
tdo_grant_forget_task(const char *task)
{
	Relation	rel = table_open(tdo_objects()->grant, ShareRowExclusiveLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		if (is_of_task(rel, tuple, task))
			CatalogTupleDelete(rel, &tuple->t_self);
	}
	systable_endscan(scan);
	tell(rel);
	table_close(rel, NoLock);
}

static bool
find_admin(Relation rel, Oid role, ItemPointer tid)
{
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	bool		found = false;

	while (!found && HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		CHECK_FOR_INTERRUPTS();
		found = DatumGetObjectId(column(rel, tuple, ADMIN_ROLE)) == role;
		if (found)
			*tid = tuple->t_self;
	}
	systable_endscan(scan);
	return found;
}

bool
tdo_admin_add(Oid role)
{
	Relation	rel = table_open(tdo_objects()->admin, ShareRowExclusiveLock);
	ItemPointerData tid;
	bool		found = find_admin(rel, role, &tid);

	if (!found)
	{
		Datum		value = ObjectIdGetDatum(role);
		bool		isnull = false;

		CatalogTupleInsert(rel, heap_form_tuple(RelationGetDescr(rel), &value, &isnull));
		tell(rel);
	}
	table_close(rel, NoLock);
	return !found;
}

bool
tdo_admin_remove(Oid role)
{
	Relation	rel = table_open(tdo_objects()->admin, ShareRowExclusiveLock);
	ItemPointerData tid;
	bool		found = find_admin(rel, role, &tid);

	if (found)
	{
		CatalogTupleDelete(rel, &tid);
		tell(rel);
	}
	table_close(rel, NoLock);
	return found;
}

/* ------------------------------------------------------------- dropped roles */

static void
remove_dropped(Oid table, int attno)
{
	Relation	rel = table_open(table, NoLock);
	SysScanDesc scan = systable_beginscan(rel, InvalidOid, false, NULL, 0, NULL);
	HeapTuple	tuple;
	bool		any = false;

	while (HeapTupleIsValid(tuple = systable_getnext(scan)))
	{
		Oid			role = DatumGetObjectId(column(rel, tuple, attno));

		CHECK_FOR_INTERRUPTS();
		/* (one that a copy's server lacks waits for its name) */
		if (tdo_role_is_missing(role) || SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(role)))
			continue;
		CatalogTupleDelete(rel, &tuple->t_self);
		any = true;
	}
	systable_endscan(scan);
	if (any)
		tell(rel);
	table_close(rel, NoLock);
}

void
tdo_grants_look_again(void)
{
	roles_changed = true;
}

void
tdo_grants_follow(void)
{
	TdoObjects	o = *tdo_objects();

	if (!roles_changed || tdo_origin()->standing == TDO_UNBOUND ||
		!ConditionalLockRelationOid(o.grant, ShareRowExclusiveLock) ||
		!ConditionalLockRelationOid(o.admin, ShareRowExclusiveLock))
		return;
	roles_changed = false;
	remove_dropped(o.grant, GRANT_ROLE);
	remove_dropped(o.admin, ADMIN_ROLE);
}
