/*-------------------------------------------------------------------------
 *
 * task.c
 *	  Task definitions: rows of _triggerdo.task, and what they name.
 *
 * Job: read and write definitions; find a task's function by name and refuse
 * the shapes that a call through fmgr would get wrong.
 * Called by: api_task.c, api_trigger.c, execute.c, transition.c.
 * Locks: ROW EXCLUSIVE on task to write; SHARE ROW EXCLUSIVE on task while
 * something is defined or dropped, so that two definers of one id take turns.
 * Crash: ordinary heap changes.
 *
 * Functions are kept by name: an oid changes with DROP/CREATE and with a
 * restore, and may come to mean another function.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/varlena.h"

#include "compat.h"
#include "guc.h"
#include "store.h"
#include "task.h"
#include "triggerdo.h"

enum
{
	TASK_ID = 1, TASK_OWNER, TASK_OWNER_NAME, TASK_KIND, TASK_RUN_SCHEMA,
	TASK_RUN_NAME, TASK_RUN_NARGS, TASK_ISOLATE, TASK_CREATED_AT,
	TASK_UPDATED_AT, TASK_RETRY, TASK_DESCRIPTION, TASK_OPTIONS,
	TASK_OWN_COMMITS, TASK_MAX_DURATION, TASK_COMMAND, TASK_KEEP,
	TASK_PAYLOAD_SCHEMA, TASK_HOOKS, TASK_NATTS = TASK_HOOKS
};

static SysScanDesc
scan_task(Relation rel, const char *id, Snapshot snapshot)
{
	ScanKeyData key;

	ScanKeyInit(&key, TASK_ID, BTEqualStrategyNumber, F_TEXTEQ, CStringGetTextDatum(id));
	/* text compares by the column's collation, and the index was built so */
	key.sk_collation = TupleDescAttr(RelationGetDescr(rel), TASK_ID - 1)->attcollation;
	return systable_beginscan(rel, tdo_objects()->task_pkey, true, snapshot, 1, &key);
}

static Datum
column(Relation rel, HeapTuple tuple, int attno, bool *isnull)
{
	return heap_getattr(tuple, attno, RelationGetDescr(rel), isnull);
}

static void
read_task(Relation rel, HeapTuple tuple, TdoTask *task)
{
	bool		isnull;
	Datum		d;

	task->id = TextDatumGetCString(column(rel, tuple, TASK_ID, &isnull));
	task->owner = DatumGetObjectId(column(rel, tuple, TASK_OWNER, &isnull));
	task->owner_name = *DatumGetName(column(rel, tuple, TASK_OWNER_NAME, &isnull));
	task->kind = DatumGetChar(column(rel, tuple, TASK_KIND, &isnull));
	task->run_schema = *DatumGetName(column(rel, tuple, TASK_RUN_SCHEMA, &isnull));
	task->run_name = *DatumGetName(column(rel, tuple, TASK_RUN_NAME, &isnull));
	task->run_nargs = DatumGetInt16(column(rel, tuple, TASK_RUN_NARGS, &isnull));
	task->isolate = DatumGetBool(column(rel, tuple, TASK_ISOLATE, &isnull));
	task->created_at = DatumGetTimestampTz(column(rel, tuple, TASK_CREATED_AT, &isnull));
	task->updated_at = DatumGetTimestampTz(column(rel, tuple, TASK_UPDATED_AT, &isnull));
	d = column(rel, tuple, TASK_RETRY, &isnull);
	task->retry = isnull ? NULL : DatumGetJsonbPCopy(d);
	d = column(rel, tuple, TASK_DESCRIPTION, &isnull);
	task->description = isnull ? NULL : TextDatumGetCString(d);
	task->options = DatumGetJsonbPCopy(column(rel, tuple, TASK_OPTIONS, &isnull));
	task->own_commits = DatumGetBool(column(rel, tuple, TASK_OWN_COMMITS, &isnull));
	d = column(rel, tuple, TASK_MAX_DURATION, &isnull);
	task->max_duration = isnull ? 0 : DatumGetInt64(d);
	d = column(rel, tuple, TASK_COMMAND, &isnull);
	task->command = isnull ? NULL : TextDatumGetCString(d);
	task->keep = DatumGetChar(column(rel, tuple, TASK_KEEP, &isnull));
	d = column(rel, tuple, TASK_PAYLOAD_SCHEMA, &isnull);
	task->payload_schema = isnull ? NULL : DatumGetJsonbPCopy(d);
	task->schema_stamp = 0;
	d = column(rel, tuple, TASK_HOOKS, &isnull);
	task->hooks = isnull ? NULL : DatumGetJsonbPCopy(d);
}

/* an MVCC snapshot: one that sees only what is committed now could miss a row in the middle of its update (rows.c) */
bool
tdo_task_get(const char *id, TdoTask *task)
{
	Relation	rel = table_open(tdo_objects()->task, AccessShareLock);
	Snapshot	latest;
	SysScanDesc scan;
	HeapTuple	tuple;
	bool		found;

	/* what this command did counts, too */
	CommandCounterIncrement();
	latest = RegisterSnapshot(GetLatestSnapshot());
	scan = scan_task(rel, id, latest);
	tuple = systable_getnext(scan);
	found = HeapTupleIsValid(tuple);
	if (found)
		read_task(rel, tuple, task);
	systable_endscan(scan);
	UnregisterSnapshot(latest);
	table_close(rel, AccessShareLock);
	return found;
}

/* of the views: the policy that the definition had, or NULL */
Jsonb *
tdo_task_retry_as_of(const char *id, Snapshot snapshot)
{
	Relation	rel = table_open(tdo_objects()->task, AccessShareLock);
	SysScanDesc scan = scan_task(rel, id, snapshot);
	HeapTuple	tuple = systable_getnext(scan);
	Jsonb	   *retry = NULL;

	if (HeapTupleIsValid(tuple))
	{
		bool		isnull;
		Datum		d = column(rel, tuple, TASK_RETRY, &isnull);

		retry = isnull ? NULL : DatumGetJsonbPCopy(d);
	}
	systable_endscan(scan);
	table_close(rel, AccessShareLock);
	return retry;
}

static HeapTuple
form_task(Relation rel, const TdoTask *task)
{
	Datum		values[TASK_NATTS];
	bool		nulls[TASK_NATTS] = {false};

	values[TASK_ID - 1] = CStringGetTextDatum(task->id);
	values[TASK_OWNER - 1] = ObjectIdGetDatum(task->owner);
	values[TASK_OWNER_NAME - 1] = NameGetDatum(&task->owner_name);
	values[TASK_KIND - 1] = CharGetDatum(task->kind);
	values[TASK_RUN_SCHEMA - 1] = NameGetDatum(&task->run_schema);
	values[TASK_RUN_NAME - 1] = NameGetDatum(&task->run_name);
	values[TASK_RUN_NARGS - 1] = Int16GetDatum((int16) task->run_nargs);
	values[TASK_ISOLATE - 1] = BoolGetDatum(task->isolate);
	values[TASK_CREATED_AT - 1] = TimestampTzGetDatum(task->created_at);
	values[TASK_UPDATED_AT - 1] = TimestampTzGetDatum(task->updated_at);
	nulls[TASK_RETRY - 1] = task->retry == NULL;
	values[TASK_RETRY - 1] = JsonbPGetDatum(task->retry);
	nulls[TASK_DESCRIPTION - 1] = task->description == NULL;
	values[TASK_DESCRIPTION - 1] = task->description ? CStringGetTextDatum(task->description) : 0;
	values[TASK_OPTIONS - 1] = JsonbPGetDatum(task->options);
	values[TASK_OWN_COMMITS - 1] = BoolGetDatum(task->own_commits);
	nulls[TASK_MAX_DURATION - 1] = task->max_duration == 0;
	values[TASK_MAX_DURATION - 1] = Int64GetDatum(task->max_duration);
	nulls[TASK_COMMAND - 1] = task->command == NULL;
	values[TASK_COMMAND - 1] = task->command ? CStringGetTextDatum(task->command) : 0;
	values[TASK_KEEP - 1] = CharGetDatum(task->keep);
	nulls[TASK_PAYLOAD_SCHEMA - 1] = task->payload_schema == NULL;
	values[TASK_PAYLOAD_SCHEMA - 1] = JsonbPGetDatum(task->payload_schema);
	nulls[TASK_HOOKS - 1] = task->hooks == NULL;
	values[TASK_HOOKS - 1] = JsonbPGetDatum(task->hooks);
	return heap_form_tuple(RelationGetDescr(rel), values, nulls);
}

/* executors keep definitions: tell them, at commit, that they changed */
static void
definitions_changed(Relation rel)
{
	CacheInvalidateRelcache(rel);
}

void
tdo_task_insert(const TdoTask *task)
{
	Relation	rel = table_open(tdo_objects()->task, RowExclusiveLock);

	CatalogTupleInsert(rel, form_task(rel, task));
	definitions_changed(rel);
	table_close(rel, NoLock);
}

void
tdo_task_update(const TdoTask *task)
{
	Relation	rel = table_open(tdo_objects()->task, RowExclusiveLock);
	SysScanDesc scan = scan_task(rel, task->id, SnapshotSelf);
	HeapTuple	old = systable_getnext(scan);

	if (HeapTupleIsValid(old))
		CatalogTupleUpdate(rel, &old->t_self, form_task(rel, task));
	systable_endscan(scan);
	definitions_changed(rel);
	table_close(rel, NoLock);
}

bool
tdo_task_delete(const char *id)
{
	Relation	rel = table_open(tdo_objects()->task, RowExclusiveLock);
	SysScanDesc scan = scan_task(rel, id, SnapshotSelf);
	HeapTuple	old = systable_getnext(scan);
	bool		found = HeapTupleIsValid(old);

	if (found)
		CatalogTupleDelete(rel, &old->t_self);
	systable_endscan(scan);
	definitions_changed(rel);
	table_close(rel, NoLock);
	return found;
}

void
tdo_task_lock_definitions(void)
{
	Relation	rel = table_open(tdo_objects()->task, ShareRowExclusiveLock);

	table_close(rel, NoLock);
}

/* -------------------------------------------------------------- the function */

char *
tdo_task_function_name(const TdoTask *task)
{
	return quote_qualified_identifier(NameStr(task->run_schema), NameStr(task->run_name));
}

#define SHAPE_HINT \
	"A task runs a function (payload jsonb) or () that returns jsonb or void, or a procedure (payload jsonb, INOUT result jsonb)."

static void
wrong_shape(const char *name, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
			 errmsg("%s cannot be run as a task: %s", name, why),
			 errhint(SHAPE_HINT)));
}

/* the mode of the argument at that place, IN where none has another */
static char
argument_mode(HeapTuple tuple, int index)
{
	bool		isnull;
	Datum		d = SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_proargmodes, &isnull);
	ArrayType  *modes;

	if (isnull)
		return PROARGMODE_IN;
	modes = DatumGetArrayTypeP(d);
	return index < ARR_DIMS(modes)[0] ? ((char *) ARR_DATA_PTR(modes))[index] : '\0';
}

static bool
has_output_arguments(HeapTuple tuple)
{
	bool		isnull;

	(void) SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_proallargtypes, &isnull);
	for (int i = 0; !isnull; i++)
	{
		char		mode = argument_mode(tuple, i);

		if (mode == '\0')
			break;
		if (mode != PROARGMODE_IN && mode != PROARGMODE_VARIADIC)
			return true;
	}
	return false;
}

/* (payload jsonb), or (payload jsonb, INOUT result jsonb) */
static void
check_procedure(HeapTuple tuple, const char *name)
{
	Form_pg_proc proc = (Form_pg_proc) GETSTRUCT(tuple);
	bool		no_config;

	(void) SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_proconfig, &no_config);
	if (proc->prosecdef || !no_config)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_FUNCTION_DEFINITION),
				 errmsg("%s cannot be run as a task: a procedure with %s cannot commit",
						name, proc->prosecdef ? "SECURITY DEFINER" : "SET"),
				 errhint("Remove that from the procedure: a task runs as its owner anyway, and set_config(..., false) inside it lasts as long as the run.")));
	if (proc->pronargs < 1 || proc->pronargs > 2)
		wrong_shape(name, psprintf("it takes %d arguments", proc->pronargs));
	for (int i = 0; i < proc->pronargs; i++)
	{
		if (proc->proargtypes.values[i] != JSONBOID)
			wrong_shape(name, psprintf("its argument %d is of type %s", i + 1,
									   format_type_be(proc->proargtypes.values[i])));
	}
	if (argument_mode(tuple, 0) != PROARGMODE_IN)
		wrong_shape(name, "its first argument is not IN");
	if (proc->pronargs == 2 ? argument_mode(tuple, 1) != PROARGMODE_INOUT : has_output_arguments(tuple))
		wrong_shape(name, "its result is not the second argument, INOUT");
}

/* shapes that a call through fmgr would run wrongly, or not at all */
static void
check_function(HeapTuple tuple, const char *name)
{
	Form_pg_proc proc = (Form_pg_proc) GETSTRUCT(tuple);

	if (proc->prokind != PROKIND_FUNCTION)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("%s is not a plain function", name),
				 errhint(SHAPE_HINT)));
	if (has_output_arguments(tuple))
		wrong_shape(name, "it has output arguments");
	if (proc->proretset)
		wrong_shape(name, "it returns a set");
	if (proc->prorettype != JSONBOID && proc->prorettype != VOIDOID)
		wrong_shape(name, psprintf("it returns %s", format_type_be(proc->prorettype)));
	if (proc->pronargs > 1)
		wrong_shape(name, psprintf("it takes %d arguments", proc->pronargs));
	if (proc->pronargs > 0 && proc->proargtypes.values[0] != JSONBOID)
		wrong_shape(name, psprintf("its argument is of type %s",
								   format_type_be(proc->proargtypes.values[0])));
}

/* gives the kind of task that it is */
static char
check_shape(HeapTuple tuple, const char *name)
{
	Form_pg_proc proc = (Form_pg_proc) GETSTRUCT(tuple);

	if (OidIsValid(proc->provariadic))
		wrong_shape(name, "it is variadic");
	if (proc->prokind == PROKIND_PROCEDURE)
	{
		check_procedure(tuple, name);
		return TDO_KIND_PROCEDURE;
	}
	check_function(tuple, name);
	return TDO_KIND_FUNCTION;
}

/* every routine of that name that the current user's search_path finds */
static FuncCandidateList
candidates_of(List *names)
{
	return FuncnameGetCandidates(names, -1, NIL, false, false, false, true);
}

/* the candidate with exactly so many arguments, all of type jsonb */
static Oid
exact_candidate(FuncCandidateList list, int nargs)
{
	for (; list != NULL; list = list->next)
	{
		bool		fits = list->nargs == nargs;

		for (int i = 0; fits && i < nargs; i++)
			fits = list->args[i] == JSONBOID;
		if (fits)
			return list->oid;
	}
	return InvalidOid;
}

/* nothing fits: say what is wrong with the first there is */
static void
complain_of(Oid fn, const char *run)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(fn));

	if (!HeapTupleIsValid(tuple))
		return;
	(void) check_shape(tuple, run);
	wrong_shape(run, psprintf("it takes %d arguments",
							  ((Form_pg_proc) GETSTRUCT(tuple))->pronargs));
}

/* the argument list of a name like app.f(jsonb), or NULL; quotes may hide a parenthesis */
static const char *
find_arguments(const char *run)
{
	bool		quoted = false;

	for (const char *c = run; *c; c++)
	{
		if (*c == '"')
			quoted = !quoted;
		else if (*c == '(' && !quoted)
			return c;
	}
	return NULL;
}

static void
bad_name(const char *run)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_NAME),
			 errmsg("\"%s\" is not the name of a function that a task can run", run),
			 errhint("Write it as app.send_email, or app.send_email(jsonb). " SHAPE_HINT)));
}

/* how many arguments "(...)" asks for; -1: that is no list of a task's or a hook's */
static int
count_arguments(const char *list)
{
	static const struct
	{
		const char *list;
		int			nargs;
	}			known[] = {
		{"()", 0}, {"(jsonb)", 1}, {"(pg_catalog.jsonb)", 1}, {"(payload jsonb)", 1},
		{"(run jsonb)", 1}, {"(run jsonb,error jsonb)", 2},
		{"(jsonb,jsonb)", 2}, {"(jsonb,inout jsonb)", 2},
		{"(payload jsonb,inout result jsonb)", 2}
	};
	char	   *squeezed = palloc(strlen(list) + 1);
	int			n = 0;

	for (const char *c = list; *c; c++)
	{
		/* a space counts only between two words */
		if (*c != ' ' || (n > 0 && strchr("(,", squeezed[n - 1]) == NULL &&
						  strchr(" ,)", c[1]) == NULL))
			squeezed[n++] = pg_tolower((unsigned char) *c);
	}
	squeezed[n] = '\0';
	for (int i = 0; i < lengthof(known); i++)
	{
		if (strcmp(squeezed, known[i].list) == 0)
			return known[i].nargs;
	}
	return -1;
}

/* NIL: that is no name */
static List *
split_name(const char *name)
{
	List	   *parts;
	List	   *names = NIL;
	ListCell   *lc;

	if (!SplitIdentifierString(pstrdup(name), '.', &parts) ||
		list_length(parts) < 1 || list_length(parts) > 2)
		return NIL;
	foreach(lc, parts)
		names = lappend(names, makeString(lfirst(lc)));
	return names;
}

/*
 * A name as users write it, alone or with an argument list: what it is split
 * into, and how many arguments the list has (*nargs stays without one).
 * False: it is not written so.
 */
static bool
read_name(const char *name, List **names, int *nargs)
{
	const char *list = find_arguments(name);

	if (list != NULL)
		*nargs = count_arguments(list);
	*names = split_name(list ? pnstrdup(name, list - name) : name);
	return *names != NIL && (list == NULL || *nargs >= 0);
}

Oid
tdo_task_find_function(const char *name, int nargs, Oid *other)
{
	FuncCandidateList candidates;
	List	   *names;

	*other = InvalidOid;
	if (!read_name(name, &names, &nargs))
		return InvalidOid;
	candidates = candidates_of(names);
	if (candidates != NULL)
		*other = candidates->oid;
	return exact_candidate(candidates, nargs);
}

/*
 * The name may stand alone or with the argument list that it is to have.
 * Without one, (jsonb) is preferred to (jsonb, jsonb), and that to ().
 */
static Oid
parse_function(const char *run, int *nargs)
{
	static const int order[] = {1, 2, 0};
	List	   *names;
	FuncCandidateList candidates;
	Oid			fn;

	*nargs = -1;
	if (!read_name(run, &names, nargs))
		bad_name(run);
	candidates = candidates_of(names);
	if (*nargs >= 0)
		fn = exact_candidate(candidates, *nargs);
	else
	{
		fn = InvalidOid;
		for (int i = 0; !OidIsValid(fn) && i < lengthof(order); i++)
		{
			*nargs = order[i];
			fn = exact_candidate(candidates, *nargs);
		}
	}
	if (!OidIsValid(fn) && candidates != NULL)
		complain_of(candidates->oid, run);
	return fn;
}

void
tdo_task_set_function(TdoTask *task, const char *run)
{
	int			nargs = 0;
	Oid			fn = parse_function(run, &nargs);
	HeapTuple	tuple;
	Form_pg_proc proc;

	if (!OidIsValid(fn))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("function \"%s\" does not exist", run),
				 errhint("Create the function first, and name its schema or set search_path. " SHAPE_HINT)));
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(fn));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", fn); /* can't happen */
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	if (isAnyTempNamespace(proc->pronamespace))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
				 errmsg("a task cannot run a temporary function"),
				 errhint("Create the function in a schema that outlives this session.")));
	namestrcpy(&task->run_schema, get_namespace_name(proc->pronamespace));
	task->run_name = proc->proname;
	task->run_nargs = nargs;
	task->kind = proc->prokind == PROKIND_PROCEDURE ? TDO_KIND_PROCEDURE : TDO_KIND_FUNCTION;
	ReleaseSysCache(tuple);
}

/* the task's owner must be able to name the function, whoever defines the task */
static void
check_schema(const char *schema, Oid role)
{
	Oid			nsp = get_namespace_oid(schema, true);

	if (OidIsValid(nsp) && tdo_aclcheck_schema(nsp, role) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for schema %s", schema),
				 errhint("The task's owner, \"%s\", needs USAGE on it.",
						 GetUserNameFromId(role, true))));
}

void
tdo_task_resolve(const TdoTask *task, Oid role, TdoFunction *function)
{
	List	   *names = list_make2(makeString(pstrdup(NameStr(task->run_schema))),
								   makeString(pstrdup(NameStr(task->run_name))));
	static const char *const lists[] = {"", "jsonb", "jsonb, jsonb"};
	char	   *name = psprintf("%s(%s)", tdo_task_function_name(task), lists[task->run_nargs]);
	Oid			fn;
	HeapTuple	tuple;
	Form_pg_proc proc;

	check_schema(NameStr(task->run_schema), role);
	fn = exact_candidate(candidates_of(names), task->run_nargs);
	if (!OidIsValid(fn))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_FUNCTION),
				 errmsg("%s %s of task \"%s\" does not exist",
						task->kind == TDO_KIND_PROCEDURE ? "procedure" : "function",
						name, task->id),
				 errhint("Create it again, or define the task again with another function.")));
	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(fn));
	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", fn); /* can't happen */
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	if (check_shape(tuple, name) != task->kind)
		ereport(ERROR,
				(errcode(ERRCODE_WRONG_OBJECT_TYPE),
				 errmsg("%s is not a %s any more", name,
						task->kind == TDO_KIND_PROCEDURE ? "procedure" : "function"),
				 errhint("Define task \"%s\" again.", task->id)));
	function->oid = fn;
	function->language = proc->prolang;
	function->result = proc->prorettype;
	ReleaseSysCache(tuple);
	if (tdo_aclcheck_function(fn, role) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for %s %s",
						task->kind == TDO_KIND_PROCEDURE ? "procedure" : "function", name),
				 errhint("The task's owner, \"%s\", needs EXECUTE on it.",
						 GetUserNameFromId(role, true))));
}

int
tdo_task_policy(Jsonb *retry, int of_run, TdoRetryPolicy *policy)
{
	bool		have = false;

	if (retry != NULL)
		have = tdo_retry_parse(retry, policy, LOG);
	else if (tdo_default_retry != NULL && tdo_default_retry[0] != '\0')
		have = tdo_retry_parse(DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
																  CStringGetDatum(tdo_default_retry))),
							   policy, LOG);
	if (!have)
	{
		*policy = tdo_retry_defaults;
		policy->max_attempts = 1;
	}
	return of_run > 0 ? of_run : policy->max_attempts;
}
