/*-------------------------------------------------------------------------
 *
 * api_change.c
 *	  SQL: on_change, drop_on_change; the function that their triggers call.
 *
 * Job: check arguments and rights, make and drop triggers on a user's table;
 * turn a row's change into a run.
 * Called by: SQL; the server, for each change.
 * Locks: on_change takes SHARE ROW EXCLUSIVE on the table, as CREATE TRIGGER
 * does, or ACCESS EXCLUSIVE, as DROP TRIGGER, where a trigger has to go;
 * drop_on_change ACCESS EXCLUSIVE; each the same on partitions.  Then both take
 * the lock that definitions share, never the other way round: who waits for the
 * writers of a table keeps no definer waiting.
 * Crash: ordinary transactions.
 *
 * The trigger is made here, not by a statement: nobody has USAGE on the schema of
 * its function, so nobody else can make one, with a role that is not theirs.  It
 * is made as the caller, by the server's own CreateTrigger(), and the condition
 * is parsed with the caller's search_path, as in a CREATE TRIGGER of the caller's.
 *
 * Who writes evaluates the condition and turns the row into JSON, as with any
 * trigger: that may call functions of the table's owner.  Only then, with a
 * finished payload, the run is triggered as the role that asked for it.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/relation.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parser.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/fmgrprotos.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "api.h"
#include "change.h"
#include "clock.h"
#include "compat.h"
#include "definition.h"
#include "grant.h"
#include "origin.h"
#include "shmem.h"
#include "store.h"
#include "triggerdo.h"

PG_FUNCTION_INFO_V1(tdo_sql_on_change);
PG_FUNCTION_INFO_V1(tdo_sql_drop_on_change);
PG_FUNCTION_INFO_V1(tdo_sql_change);

#define MEND_HINT \
	"The table's owner may call triggerdo.on_change() again, or triggerdo.drop_on_change()."

/* a subscription's triggers: one for rows, one for TRUNCATE */
typedef struct Kind
{
	const char *prefix;			/* of the trigger's name */
	int16		events;
	bool		row;
} Kind;

static const Kind kinds[] = {
	{"on_change_", TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE, true},
	{"on_truncate_", TRIGGER_TYPE_TRUNCATE, false}
};

static const struct
{
	const char *name;
	int16		event;
}			operations[] = {
	{"INSERT", TRIGGER_TYPE_INSERT}, {"UPDATE", TRIGGER_TYPE_UPDATE},
	{"DELETE", TRIGGER_TYPE_DELETE}, {"TRUNCATE", TRIGGER_TYPE_TRUNCATE}
};

/* a trigger that is there */
typedef struct Found
{
	Oid			oid;			/* InvalidOid: none */
	char	   *name;
	char		enabled;		/* TRIGGER_FIRES_... */
	char	   *id;				/* of the subscription */
} Found;

/* ----------------------------------------------------------------- arguments */

static int16
event_of(const char *name)
{
	for (int i = 0; i < lengthof(operations); i++)
	{
		if (pg_strcasecmp(operations[i].name, name) == 0)
			return operations[i].event;
	}
	return 0;
}

static int16
read_operations(ArrayType *array)
{
	Datum	   *values;
	bool	   *nulls;
	int			n;
	int16		events = 0;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		int16		event = nulls[i] ? 0 : event_of(TextDatumGetCString(values[i]));

		if (event == 0)
			ereport(ERROR,
					(errcode(nulls[i] ? ERRCODE_NULL_VALUE_NOT_ALLOWED : ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("unknown operation \"%s\"",
							nulls[i] ? "NULL" : TextDatumGetCString(values[i])),
					 errhint("Operations are INSERT, UPDATE, DELETE and TRUNCATE.")));
		events |= event;
	}
	if (events == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("operations must not be empty"),
				 errhint("Leave it out for '{INSERT,UPDATE,DELETE}'; drop_on_change() ends a subscription.")));
	return events;
}

static ArrayType *
names_of(int16 events)
{
	Datum		names[lengthof(operations)];
	int			n = 0;

	for (int i = 0; i < lengthof(operations); i++)
	{
		if (events & operations[i].event)
			names[n++] = CStringGetTextDatum(operations[i].name);
	}
	return construct_array(names, n, TEXTOID, -1, false, TYPALIGN_INT);
}

/* places in an error are places in the condition, not in the caller's statement */
static void
condition_failed(void *arg)
{
	int			position = geterrposition();

	if (position <= 0)
		return;
	errposition(0);
	internalerrposition(position);
	internalerrquery(arg);
	if (geterrcode() == ERRCODE_INVALID_OBJECT_DEFINITION)
		errhint("The condition must fit each operation: INSERT has no OLD, DELETE no NEW, TRUNCATE neither. Name those that it fits, as operations => '{UPDATE}'.");
}

static bool
is_expression(const SelectStmt *s)
{
	ResTarget  *target;

	if (list_length(s->targetList) != 1 || s->distinctClause || s->intoClause ||
		s->fromClause || s->whereClause || s->groupClause || s->havingClause ||
		s->windowClause || s->sortClause || s->limitOffset || s->limitCount ||
		s->lockingClause)
		return false;
	target = linitial_node(ResTarget, s->targetList);
	return target->name == NULL && target->indirection == NIL &&
		!(IsA(target->val, ColumnRef) &&
		  IsA(linitial(((ColumnRef *) target->val)->fields), A_Star));
}

/* the grammar for an expression of PL/pgSQL's takes a SELECT without its first word */
static Node *
parse_condition(const char *condition)
{
	List	   *raw = raw_parser(condition, RAW_PARSE_PLPGSQL_EXPR);
	SelectStmt *select = castNode(SelectStmt, linitial_node(RawStmt, raw)->stmt);

	if (!is_expression(select))
		ereport(ERROR,
				(errcode(ERRCODE_SYNTAX_ERROR),
				 errmsg("condition must be one expression"),
				 errhint("For example 'OLD.status IS DISTINCT FROM NEW.status'.")));
	return linitial_node(ResTarget, select->targetList)->val;
}

/* ----------------------------------------------------------------- the table */

static void
refuse_table(Form_pg_class form, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_WRONG_OBJECT_TYPE),
			 errmsg("changes of \"%s\" cannot be followed: it is %s", NameStr(form->relname), why),
			 errhint("Tables, partitioned tables and foreign tables can be followed.")));
}

static void
check_kind(Form_pg_class form)
{
	if (form->relkind != RELKIND_RELATION && form->relkind != RELKIND_PARTITIONED_TABLE &&
		form->relkind != RELKIND_FOREIGN_TABLE)
		refuse_table(form, "not a table");
	if (form->relpersistence == RELPERSISTENCE_TEMP)
		refuse_table(form, "temporary");
	if (IsSystemClass(form->oid, form))
		refuse_table(form, "a system catalog");
	if (form->relnamespace == tdo_objects()->schema)
		refuse_table(form, "triggerdo's own");
}

/* the caller owns it; follow: its changes are to be followed */
static void
check_table(Oid relid, bool follow)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Form_pg_class form;

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_TABLE),
				 errmsg("relation with OID %u does not exist", relid),
				 errhint("Name the table, as 'app.documents'.")));
	form = (Form_pg_class) GETSTRUCT(tuple);
	if (follow)
		check_kind(form);
	if (!has_privs_of_role(GetUserId(), form->relowner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("must be owner of table \"%s\"", NameStr(form->relname)),
				 errhint("SET ROLE to its owner.")));
	ReleaseSysCache(tuple);
}

static void
lock_table(Oid relid, bool follow, LOCKMODE lock)
{
	LockRelationOid(relid, lock);
	check_table(relid, follow);
	/* the server will want them, too, for the copies of the triggers */
	if (get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE)
		list_free(find_all_inheritors(relid, lock, NULL));
	tdo_task_lock_definitions();
}

/* ------------------------------------------------------------- the triggers */

/* the trigger of that kind that was made for the task */
static Found
find_trigger(Relation rel, const Kind *kind, const char *task)
{
	Oid			function = tdo_change_function();
	Found		found = {0};

	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		const Trigger *t = &rel->trigdesc->triggers[i];
		Found		candidate;

		if (t->tgfoid != function || t->tgnargs != TDO_CHANGE_ARGS ||
			strcmp(t->tgargs[TDO_CHANGE_ARG_TASK], task) != 0 ||
			(t->tgtype & kind->events) == 0)
			continue;
		candidate.oid = t->tgoid;
		candidate.name = pstrdup(t->tgname);
		candidate.enabled = t->tgenabled;
		candidate.id = pstrdup(t->tgargs[TDO_CHANGE_ARG_ID]);

		/*
		 * A partition's copy belongs to the partitioned table's.  This look
		 * takes in invalidations, and the relcache may build the description
		 * anew: t is not to be used after it.
		 */
		if (tdo_change_target(candidate.oid) == RelationGetRelid(rel))
			found = candidate;
	}
	return found;
}

/*
 * Will on_change() drop a trigger?  Without a lasting lock: a stronger lock than
 * the one that is held is not to be asked for later.  A trigger that comes or
 * goes meanwhile makes it wait where it need not, or while definers wait.
 */
static bool
has_to_drop(Oid relid, int16 events, const char *task)
{
	Relation	rel = try_relation_open(relid, AccessShareLock);
	bool		drop = false;

	if (rel == NULL)
		return false;
	for (int i = 0; i < lengthof(kinds); i++)
	{
		if ((events & kinds[i].events) == 0 && OidIsValid(find_trigger(rel, &kinds[i], task).oid))
			drop = true;
	}
	relation_close(rel, AccessShareLock);
	return drop;
}

static char *
trigger_name(Relation rel, const Kind *kind, const char *task)
{
	/* what goes beyond is told apart by its hash */
	int			room = NAMEDATALEN - 1 - strlen(kind->prefix);
	int			len = strlen(task);
	char	   *name = psprintf("%s%s", kind->prefix, task);

	if (len > room)
		name = psprintf("%s%.*s_%08x", kind->prefix, pg_mbcliplen(task, len, room - 9), task,
						hash_bytes((const unsigned char *) task, len));
	for (int i = 0; rel->trigdesc != NULL && i < rel->trigdesc->numtriggers; i++)
	{
		if (strcmp(rel->trigdesc->triggers[i].tgname, name) == 0)
			ereport(ERROR,
					(errcode(ERRCODE_DUPLICATE_OBJECT),
					 errmsg("table \"%s\" has another trigger \"%s\"",
							RelationGetRelationName(rel), name),
					 errhint("Give that one another name, by ALTER TRIGGER. A partition has its triggers from the partitioned table, which is followed already.")));
	}
	return name;
}

static void
drop_trigger(const Found *old)
{
	ObjectAddress address;

	if (!OidIsValid(old->oid))
		return;
	ObjectAddressSet(address, TriggerRelationId, old->oid);
	performDeletion(&address, DROP_RESTRICT, 0);
	CommandCounterIncrement();
}

/* a trigger that is there is replaced in place, with what ALTER TABLE made of it */
static char *
put_trigger(Relation rel, const Kind *kind, int16 events, const Found *old,
			const TdoChange *change, const char *condition)
{
	CreateTrigStmt *stmt = makeNode(CreateTrigStmt);
	ErrorContextCallback callback = {0};
	pg_uuid_t	id = change->id;

	stmt->replace = OidIsValid(old->oid);
	stmt->trigname = stmt->replace ? old->name : trigger_name(rel, kind, change->task);
#if PG_VERSION_NUM < 150000

	/*
	 * ALTER TRIGGER ... RENAME leaves its name to a partition's copy, and a
	 * replacement would be made beside that: two runs for each row.
	 */
	if (stmt->replace && rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
	{
		drop_trigger(old);
		stmt->replace = false;
	}
#endif
	stmt->relation = makeRangeVar(get_namespace_name(RelationGetNamespace(rel)),
								  pstrdup(RelationGetRelationName(rel)), -1);
	stmt->funcname = list_make2(makeString(TDO_PRIVATE_SCHEMA), makeString("on_change"));
	stmt->args = list_make2(makeString(DatumGetCString(DirectFunctionCall1(uuid_out, UUIDPGetDatum(&id)))),
							makeString(pstrdup(change->task)));
	stmt->row = kind->row;
	stmt->timing = TRIGGER_TYPE_AFTER;
	stmt->events = events;
	if (condition)
	{
		callback.callback = condition_failed;
		callback.arg = unconstify(char *, condition);
		callback.previous = error_context_stack;
		error_context_stack = &callback;
		stmt->whenClause = parse_condition(condition);
	}
	(void) CreateTriggerFiringOn(stmt, condition, RelationGetRelid(rel), InvalidOid, InvalidOid,
								 InvalidOid, tdo_change_function(), InvalidOid, NULL, false, false,
								 OidIsValid(old->oid) ? old->enabled : TRIGGER_FIRES_ON_ORIGIN);
	if (condition)
		error_context_stack = callback.previous;
	CommandCounterIncrement();
	return stmt->trigname;
}

Datum
tdo_sql_on_change(PG_FUNCTION_ARGS)
{
	Oid			relid;
	TdoChange	change = {0};
	TdoTask		task;
	int16		events;
	char	   *id;
	char	   *condition;
	char	   *name = NULL;
	Found		old[lengthof(kinds)];
	Relation	rel;

	tdo_require_arg(fcinfo, 0, "target");
	tdo_require_arg(fcinfo, 1, "task");
	tdo_require_shmem();
	PreventCommandIfReadOnly("on_change()");
	relid = PG_GETARG_OID(0);
	id = text_to_cstring(PG_GETARG_TEXT_PP(1));
	events = PG_ARGISNULL(2) ? kinds[0].events : read_operations(PG_GETARG_ARRAYTYPE_P(2));
	condition = PG_ARGISNULL(3) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(3));
	/* nobody waits for, or holds up, a table that is not theirs */
	check_table(relid, true);
	lock_table(relid, true, has_to_drop(relid, events, id) ? AccessExclusiveLock : ShareRowExclusiveLock);
	tdo_get_triggerable(id, &task);
	strlcpy(change.task, task.id, sizeof(change.task));
	change.role = GetUserId();
	tdo_new_run_id(change.id.data);

	rel = table_open(relid, NoLock);
	for (int i = 0; i < lengthof(kinds); i++)
	{
		old[i] = find_trigger(rel, &kinds[i], change.task);
		if (OidIsValid(old[i].oid))
			change.id = *DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(old[i].id)));
	}
	for (int i = 0; i < lengthof(kinds); i++)
	{
		int16		wanted = events & kinds[i].events;
		char	   *made;

		if (wanted == 0)
		{
			drop_trigger(&old[i]);
			continue;
		}
		made = put_trigger(rel, &kinds[i], wanted, &old[i], &change, condition);
		name = name ? name : made;
	}
	table_close(rel, NoLock);

	tdo_role_remember(change.role);
	tdo_change_write(&change, names_of(events), condition);
	tdo_change_sweep();
	CommandCounterIncrement();
	PG_RETURN_TEXT_P(cstring_to_text(name));
}

Datum
tdo_sql_drop_on_change(PG_FUNCTION_ARGS)
{
	Oid			relid;
	char	   *task;
	Found		old[lengthof(kinds)];
	Relation	rel;
	bool		found = false;

	tdo_require_arg(fcinfo, 0, "target");
	tdo_require_arg(fcinfo, 1, "task");
	PreventCommandIfReadOnly("drop_on_change()");
	relid = PG_GETARG_OID(0);
	task = text_to_cstring(PG_GETARG_TEXT_PP(1));
	check_table(relid, false);
	lock_table(relid, false, AccessExclusiveLock);
	rel = table_open(relid, NoLock);
	for (int i = 0; i < lengthof(kinds); i++)
	{
		old[i] = find_trigger(rel, &kinds[i], task);
		found = found || OidIsValid(old[i].oid);
	}
	table_close(rel, NoLock);
	for (int i = 0; i < lengthof(kinds); i++)
		drop_trigger(&old[i]);
	tdo_change_sweep();
	CommandCounterIncrement();
	PG_RETURN_BOOL(found);
}

/* ----------------------------------------------------------------- a change */

typedef struct Call
{
	const Trigger *trigger;
	const TdoChange *change;
	Jsonb	   *payload;
} Call;

/*
 * The payload as a row of rows, and to_jsonb() of it: one pass, by the rules that
 * users know.
 */
static const char *const keys[] = {"operation", "schema", "table", "old", "new"};

static TupleDesc
payload_desc(void)
{
	static TupleDesc desc = NULL;

	if (desc == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
		TupleDesc	made = CreateTemplateTupleDesc(lengthof(keys));

		for (int i = 0; i < lengthof(keys); i++)
			TupleDescInitEntry(made, i + 1, keys[i], i < 3 ? TEXTOID : RECORDOID, -1, 0);
		desc = BlessTupleDesc(made);
		MemoryContextSwitchTo(old);
	}
	return desc;
}

/* to_jsonb() wants to be told the type of its argument */
static Jsonb *
record_to_jsonb(Datum record)
{
	static FmgrInfo to_jsonb;

	if (to_jsonb.fn_expr == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
		Const	   *row = makeNullConst(RECORDOID, -1, InvalidOid);

		fmgr_info(F_TO_JSONB, &to_jsonb);
		to_jsonb.fn_expr = (Node *) makeFuncExpr(F_TO_JSONB, JSONBOID, list_make1(row),
												 InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
		MemoryContextSwitchTo(old);
	}
	return DatumGetJsonbP(FunctionCall1(&to_jsonb, record));
}

static Jsonb *
make_payload(const TriggerData *t, Form_pg_class target)
{
	TupleDesc	row = RelationGetDescr(t->tg_relation);
	HeapTuple	old = NULL;
	HeapTuple	new = NULL;
	const char *operation = "TRUNCATE";
	Datum		values[lengthof(keys)] = {0};
	bool		nulls[lengthof(keys)] = {false};

	if (TRIGGER_FIRED_BY_INSERT(t->tg_event))
	{
		operation = "INSERT";
		new = t->tg_trigtuple;
	}
	else if (TRIGGER_FIRED_BY_UPDATE(t->tg_event))
	{
		operation = "UPDATE";
		old = t->tg_trigtuple;
		new = t->tg_newtuple;
	}
	else if (TRIGGER_FIRED_BY_DELETE(t->tg_event))
	{
		operation = "DELETE";
		old = t->tg_trigtuple;
	}
	values[0] = CStringGetTextDatum(operation);
	values[1] = CStringGetTextDatum(get_namespace_name(target->relnamespace));
	values[2] = CStringGetTextDatum(NameStr(target->relname));
	nulls[3] = old == NULL;
	values[3] = old ? heap_copy_tuple_as_datum(old, row) : (Datum) 0;
	nulls[4] = new == NULL;
	values[4] = new ? heap_copy_tuple_as_datum(new, row) : (Datum) 0;
	return record_to_jsonb(HeapTupleGetDatum(heap_form_tuple(payload_desc(), values, nulls)));
}

/* who asked for it is still there, and still owns the table */
static void
check_role(const TdoChange *change, Form_pg_class target)
{
	if (!SearchSysCacheExists1(AUTHOID, ObjectIdGetDatum(change->role)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("role \"%s\", which asked for changes of table \"%s\", does not exist",
						tdo_role_name(change->role), NameStr(target->relname)),
				 errhint(MEND_HINT)));
	if (!has_privs_of_role(change->role, target->relowner))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("role \"%s\", which asked for changes of table \"%s\", does not own it any more",
						GetUserNameFromId(change->role, false), NameStr(target->relname)),
				 errhint(MEND_HINT)));
}

/*
 * The subscription is looked at again, and after the task and the right to it:
 * drop_task() ends all of them in one commit, which may have come while the
 * payload was made, and nobody's write fails because of it.
 */
static void
trigger_run(void *arg)
{
	const Call *call = arg;
	TdoTask		task;
	TdoChange	change;
	bool		found = tdo_definition(call->change->task, &task);
	bool		may = found && tdo_may(task.id, task.owner, TDO_MAY_TRIGGER);

	if (!tdo_change_of(call->trigger, &change))
		return;
	tdo_check_triggerable(call->change->task, found ? &task : NULL, may);
	(void) tdo_trigger(&task, call->payload);
}

static void
say_which(void *arg)
{
	const Call *call = arg;

	errcontext("on_change() subscription for task \"%s\"", call->change->task);
}

static void
follow_change(const TriggerData *t, const TdoChange *change)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(change->target));
	Form_pg_class target;
	Call		call = {0};

	/* (a trigger made by hand; ours is gone with its table) */
	if (!HeapTupleIsValid(tuple))
		return;
	target = (Form_pg_class) GETSTRUCT(tuple);
	check_role(change, target);
	call.trigger = t->tg_trigger;
	call.change = change;
	call.payload = make_payload(t, target);
	ReleaseSysCache(tuple);
	tdo_as_role(change->role, trigger_run, &call);
}

/*
 * For each row: the server's own loop over a statement's rows does not look for
 * interrupts, and a cancelled statement must not go on to its commit.
 */
Datum
tdo_sql_change(PG_FUNCTION_ARGS)
{
	const TriggerData *t = (const TriggerData *) fcinfo->context;
	TdoChange	change;
	Call		call = {0};
	ErrorContextCallback callback = {0};

	CHECK_FOR_INTERRUPTS();
	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(t->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("this function is for the triggers that on_change() makes"),
				 errhint("Call triggerdo.on_change().")));
	if (!tdo_change_of(t->tg_trigger, &change))
		PG_RETURN_POINTER(NULL);
	call.change = &change;
	callback.callback = say_which;
	callback.arg = &call;
	callback.previous = error_context_stack;
	error_context_stack = &callback;
	tdo_require_shmem();
	tdo_origin_require_bound();
	follow_change(t, &change);
	error_context_stack = callback.previous;
	PG_RETURN_POINTER(NULL);
}
