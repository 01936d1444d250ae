/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  The differences between PostgreSQL 14 and 18 that triggerdo meets.
 *
 * Code is written against the newest signature; older servers get a wrapper.
 *
 *-------------------------------------------------------------------------
 */
#ifndef TDO_COMPAT_H
#define TDO_COMPAT_H

#include "postgres.h"

#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_tablespace.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/lock.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "tcop/pquery.h"
#include "tcop/tcopprot.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "utils/wait_event.h"
#if PG_VERSION_NUM >= 150000
#include "common/pg_prng.h"
#endif

#if PG_VERSION_NUM < 140000 || PG_VERSION_NUM >= 190000
#error "triggerdo supports PostgreSQL 14 to 18"
#endif

/* 15 moved shared memory requests into a hook */
#if PG_VERSION_NUM >= 150000
#define TDO_HAVE_SHMEM_REQUEST_HOOK
#endif

/* 18 has the word in front */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

#if PG_VERSION_NUM < 150000
#define MarkGUCPrefixReserved(prefix) EmitWarningsOnPlaceholders(prefix)
#endif

/* 16 renamed the setting and its variable */
#if PG_VERSION_NUM >= 160000
#define tdo_debug_parallel_query debug_parallel_query
#define TDO_DEBUG_PARALLEL_OFF	DEBUG_PARALLEL_OFF
#else
#define tdo_debug_parallel_query force_parallel_mode
#define TDO_DEBUG_PARALLEL_OFF	FORCE_PARALLEL_OFF
#endif

/* 17 renamed it */
#if PG_VERSION_NUM >= 170000
#define tdo_transam TransamVariables
#else
#define tdo_transam ShmemVariableCache
#endif

/* a DROP DATABASE that was interrupted (later minor releases have the name) */
#ifndef DATCONNLIMIT_INVALID_DB
#define DATCONNLIMIT_INVALID_DB (-2)
#endif

/* 17 lets a worker connect as a role without LOGIN */
#ifdef BGWORKER_BYPASS_ROLELOGINCHECK
#define TDO_CONNECT_FLAGS		BGWORKER_BYPASS_ROLELOGINCHECK
#define TDO_NOLOGIN_ALLOWED		true
#else
#define TDO_CONNECT_FLAGS		0
#define TDO_NOLOGIN_ALLOWED		false
#endif

static inline AclResult
tdo_aclcheck_function(Oid fn, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(ProcedureRelationId, fn, role, ACL_EXECUTE);
#else
	return pg_proc_aclcheck(fn, role, ACL_EXECUTE);
#endif
}

static inline AclResult
tdo_aclcheck_schema(Oid schema, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(NamespaceRelationId, schema, role, ACL_USAGE);
#else
	return pg_namespace_aclcheck(schema, role, ACL_USAGE);
#endif
}

static inline AclResult
tdo_aclcheck_connect(Oid database, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(DatabaseRelationId, database, role, ACL_CONNECT);
#else
	return pg_database_aclcheck(database, role, ACL_CONNECT);
#endif
}

static inline AclResult
tdo_aclcheck_tablespace(Oid tablespace, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(TableSpaceRelationId, tablespace, role, ACL_CREATE);
#else
	return pg_tablespace_aclcheck(tablespace, role, ACL_CREATE);
#endif
}

static inline bool
tdo_owns_database(Oid database, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(DatabaseRelationId, database, role);
#else
	return pg_database_ownercheck(database, role);
#endif
}

static inline bool
tdo_owns_extension(Oid extension, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(ExtensionRelationId, extension, role);
#else
	return pg_extension_ownercheck(extension, role);
#endif
}

static inline Oid
tdo_primary_key(Relation rel)
{
#if PG_VERSION_NUM >= 180000
	return RelationGetPrimaryKeyIndex(rel, false);
#else
	return RelationGetPrimaryKeyIndex(rel);
#endif
}

static inline List *
tdo_analyze(RawStmt *raw, const char *sql, Oid *types, int ntypes)
{
#if PG_VERSION_NUM >= 150000
	return pg_analyze_and_rewrite_fixedparams(raw, sql, types, ntypes, NULL);
#else
	return pg_analyze_and_rewrite(raw, sql, types, ntypes, NULL);
#endif
}

static inline bool
tdo_portal_run(Portal portal, DestReceiver *dest, QueryCompletion *qc)
{
#if PG_VERSION_NUM >= 180000
	return PortalRun(portal, FETCH_ALL, true, dest, dest, qc);
#else
	return PortalRun(portal, FETCH_ALL, true, true, dest, dest, qc);
#endif
}

/* seed from the operating system at a process's first use, never shared by fork */
static inline uint64
tdo_random_uint64(void)
{
#if PG_VERSION_NUM >= 150000
	static pg_prng_state state;
	static int	seeded_for = 0;

	if (unlikely(seeded_for != MyProcPid))
	{
		pg_prng_strong_seed(&state);
		seeded_for = MyProcPid;
	}
	return pg_prng_uint64(&state);
#else
	uint64		r;

	if (!pg_strong_random(&r, sizeof(r)))
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR),
				 errmsg("could not generate random values")));
	return r;
#endif
}

/*
 * Does this backend hold an advisory lock?  They never take the fast path, so
 * they are on its lists; another backend may add to those (fast-path
 * transfer), hence the partition lock.
 */
static inline bool
tdo_holds_advisory_lock(void)
{
	for (int i = 0; i < NUM_LOCK_PARTITIONS; i++)
	{
		bool		found = false;

#if PG_VERSION_NUM >= 160000
		dlist_iter	iter;

		if (dlist_is_empty(&MyProc->myProcLocks[i]))
			continue;
		LWLockAcquire(LockHashPartitionLockByIndex(i), LW_SHARED);
		dlist_foreach(iter, &MyProc->myProcLocks[i])
		{
			PROCLOCK   *p = dlist_container(PROCLOCK, procLink, iter.cur);

			if (p->tag.myLock->tag.locktag_lockmethodid == USER_LOCKMETHOD)
				found = true;
		}
#else
		SHM_QUEUE  *queue = &(MyProc->myProcLocks[i]);
		PROCLOCK   *p;

		if (SHMQueueEmpty(queue))
			continue;
		LWLockAcquire(LockHashPartitionLockByIndex(i), LW_SHARED);
		for (p = (PROCLOCK *) SHMQueueNext(queue, queue, offsetof(PROCLOCK, procLink));
			 p != NULL;
			 p = (PROCLOCK *) SHMQueueNext(queue, &p->procLink, offsetof(PROCLOCK, procLink)))
		{
			if (p->tag.myLock->tag.locktag_lockmethodid == USER_LOCKMETHOD)
				found = true;
		}
#endif
		LWLockRelease(LockHashPartitionLockByIndex(i));
		if (found)
			return true;
	}
	return false;
}

/*
 * 17's transaction_timeout would end the process, not the run, which would then be
 * taken for one that crashes its executor.  (statement_timeout is never started in
 * a worker.)
 */
static inline void
tdo_no_transaction_timeout(void)
{
#if PG_VERSION_NUM >= 170000
	SetConfigOption("transaction_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
#endif
}

/*
 * Named wait events exist since 17; before, all extensions share one.  Takes a
 * lock: to be asked once a process.
 */
static inline uint32
tdo_wait_event(const char *name)
{
#if PG_VERSION_NUM >= 170000
	return WaitEventExtensionNew(name);
#else
	return PG_WAIT_EXTENSION;
#endif
}

#endif							/* TDO_COMPAT_H */
