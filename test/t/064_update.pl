# ALTER EXTENSION triggerdo UPDATE from 0.1.0: a database with tasks, history and runs
# that wait, all of which are there afterwards and run; and the objects are those of
# a fresh CREATE EXTENSION, to the definition. A dump of 0.1.0 into 0.2.0.
#
# The objects of 0.1.0 are its own install script, the rows those that its library
# wrote (test/upgrade).
#
# Red without: any of the parts in UPDATE_FROM_0_1_0, and the guard in the rule that makes
# the update script (Makefile); TDO_OLDEST_SQL (src/triggerdo.h). Red with: a function, view,
# column, comment or grant that only one of the two scripts makes.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;

use TriggerdoTest
  qw(node wait_runs invariants_ok app all_final reload_with within pids extension_dir);

my ($current) = slurp_file(extension_dir() . '/triggerdo.control') =~ /default_version = '([^']+)'/;
my $data = slurp_file("$FindBin::Bin/../upgrade/data-0.1.0.sql");

# (the rows are of a day long past)
my $node = node('update', fast => 1, conf => "triggerdo.retention = 0\ntriggerdo.executors = 0");
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE ROLE other LOGIN');

# Everything that makes up the extension, a line for each thing: two databases whose
# lists are equal differ in nothing that a user or a dump could see.
my $surface = q{
	WITH member AS (
		SELECT d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid
		 WHERE d.refclassid = 'pg_extension'::regclass AND e.extname = 'triggerdo' AND d.deptype = 'e'),
	rel AS (SELECT c.* FROM pg_class c JOIN member m ON m.classid = 'pg_class'::regclass AND m.objid = c.oid),
	proc AS (SELECT p.* FROM pg_proc p JOIN member m ON m.classid = 'pg_proc'::regclass AND m.objid = p.oid),
	line(t) AS (
		SELECT concat_ws(' ', 'member', pg_describe_object(classid, objid, 0)) FROM member
		UNION ALL SELECT concat_ws(' ', 'comment', pg_describe_object(m.classid, m.objid, d.objsubid), d.description)
		  FROM member m JOIN pg_description d ON d.classoid = m.classid AND d.objoid = m.objid
		UNION ALL SELECT concat_ws(' ', 'function', oid::regprocedure, pg_get_functiondef(oid), prorows, proacl) FROM proc
		UNION ALL SELECT concat_ws(' ', 'relation', oid::regclass, relkind, relpersistence, reloptions, relrowsecurity, relforcerowsecurity,
			relreplident, relnatts, relacl, pg_get_partkeydef(oid), CASE relkind WHEN 'v' THEN pg_get_viewdef(oid) END) FROM rel
		UNION ALL SELECT concat_ws(' ', 'column', attrelid::regclass, attnum, attname, format_type(atttypid, atttypmod), attnotnull,
			attstorage, attcollation, attidentity, attgenerated, attacl, pg_get_expr(f.adbin, f.adrelid))
		  FROM rel JOIN pg_attribute a ON a.attrelid = rel.oid AND attnum > 0
		  LEFT JOIN pg_attrdef f ON f.adrelid = rel.oid AND f.adnum = attnum
		UNION ALL SELECT concat_ws(' ', 'constraint', conrelid::regclass, conname, pg_get_constraintdef(c.oid))
		  FROM rel JOIN pg_constraint c ON c.conrelid = rel.oid
		UNION ALL SELECT concat_ws(' ', 'index', pg_get_indexdef(indexrelid)) FROM rel JOIN pg_index ON indrelid = rel.oid
		UNION ALL SELECT concat_ws(' ', 'policy', polrelid::regclass, polname, polcmd, polroles, pg_get_expr(polqual, polrelid),
			pg_get_expr(polwithcheck, polrelid)) FROM rel JOIN pg_policy ON polrelid = rel.oid
		UNION ALL SELECT concat_ws(' ', 'trigger', pg_get_triggerdef(t.oid)) FROM rel JOIN pg_trigger t ON tgrelid = rel.oid
		UNION ALL SELECT concat_ws(' ', 'rule', pg_get_ruledef(r.oid)) FROM rel JOIN pg_rewrite r ON ev_class = rel.oid
		UNION ALL SELECT concat_ws(' ', 'enum', enumtypid::regtype, enumlabel, row_number() OVER (PARTITION BY enumtypid ORDER BY enumsortorder))
		  FROM pg_enum JOIN member m ON m.classid = 'pg_type'::regclass AND m.objid = enumtypid
		UNION ALL SELECT concat_ws(' ', 'type', t.oid::regtype, typtype, typacl, typnotnull, typdefault)
		  FROM pg_type t JOIN member m ON m.classid = 'pg_type'::regclass AND m.objid = t.oid
		UNION ALL SELECT concat_ws(' ', 'schema', nspname, nspacl) FROM pg_namespace WHERE nspname IN ('triggerdo', '_triggerdo')
		UNION ALL SELECT concat_ws(' ', 'initial acl', pg_describe_object(i.classoid, i.objoid, i.objsubid), i.privtype, i.initprivs)
		  FROM member m JOIN pg_init_privs i ON i.classoid = m.classid AND i.objoid = m.objid
		UNION ALL SELECT concat_ws(' ', 'dumped', c.oid::regclass, c.condition)
		  FROM pg_extension, unnest(extconfig, extcondition) c(oid, condition) WHERE extname = 'triggerdo'
		UNION ALL SELECT concat_ws(' ', 'extension', extversion, extrelocatable, extnamespace::regnamespace) FROM pg_extension WHERE extname = 'triggerdo')
	SELECT replace(t, E'\n', '\n') FROM line ORDER BY t COLLATE "C"};

sub surface { my ($db) = @_; return [ split /\n/, $node->safe_psql($db, $surface) ] }

# The rows were written by another server, under other oids: here it is one of theirs.
sub settle
{
	my ($db) = @_;
	$node->safe_psql($db, slurp_file("$FindBin::Bin/../upgrade/settle.sql"));
	return;
}

# what the tables of 0.1.0 say, in its columns
sub rows
{
	my ($db) = @_;
	return join "\n", map { $node->safe_psql($db, $_) } q{
		SELECT id, owner::regrole, kind, run_schema, run_name, run_nargs, isolate, created_at, updated_at, retry, description, options,
			own_commits, max_duration, command, keep FROM _triggerdo.task ORDER BY id},
		'SELECT * FROM _triggerdo.run ORDER BY 1', 'SELECT * FROM _triggerdo.result ORDER BY 1',
		'SELECT * FROM _triggerdo.attempt ORDER BY 1, 2', 'SELECT * FROM _triggerdo.timer ORDER BY 1',
		# (the claim of a server that crashed is void as soon as a scheduler has come)
		q{SELECT run_id, order_key, owner, attempt, crashes, replace(state::text, 'x', 'q') FROM _triggerdo.live ORDER BY 1};
}

# Lets what waits run; 0.1.0's delays are over, or made so.
sub let_run
{
	my ($db, $name) = @_;

	$node->safe_psql($db, q{UPDATE _triggerdo.timer SET due = '2026-11-30 19:53:00+00'});
	reload_with($node, 'triggerdo.executors = 2');
	# (a change of the row behind its back: whoever fires timers looks anew)
	$node->restart;
	all_final($node, $db);
	is( $node->safe_psql($db, q{SELECT task, status, attempt, payload->>'when' FROM triggerdo.runs
			ORDER BY task COLLATE "C", payload->>'when', run_id}),
		join("\n", map { s/ /|/gr } 'again COMPLETED 2 finished', 'alone COMPLETED 1 finished', 'alone COMPLETED 1 queued',
			('echo COMPLETED 1 batch') x 2, 'echo COMPLETED 1 delayed', 'echo COMPLETED 1 finished', 'echo CANCELED 0 never',
			'echo COMPLETED 1 queued', 'slow TIMED_OUT 1 finished', 'step COMPLETED 1 claimed', 'step COMPLETED 1 finished',
			'step COMPLETED 1 queued', 'steps COMPLETED 1 finished', 'steps COMPLETED 1 queued', 'twice COMPLETED 1 ',
			'vacuum COMPLETED 1 finished', 'vacuum COMPLETED 1 queued', 'wrong FAILED 3 finished', 'wrong FAILED 3 queued'),
		"$name: what waited has run, as its task says");
	is( $node->safe_psql($db, 'SELECT task, count(*), count(DISTINCT run) FROM app.effect GROUP BY 1 ORDER BY 1'),
		join("\n", 'again|1|1', 'alone|2|2', 'echo|5|5', 'silent|2|2', 'step|3|3', 'steps|2|2'),
		"$name: every run has its effect once");
	is( app($node, q{SELECT kind, run, description, max_duration, options, retry->>'maxAttempts' FROM triggerdo.tasks ORDER BY id COLLATE "C"}, database => $db),
		join("\n",
			'function|app.again(jsonb)|||{}|3', 'function|app.echo(jsonb)|||{"isolate": true}|',
			'function|app.echo(jsonb)|gives back||{}|', 'function|app.echo(jsonb)|||{"keep": "none"}|',
			'function|app.slow(jsonb)||00:00:00.05|{}|', 'procedure|app.step(jsonb, jsonb)|||{}|',
			'procedure|app.steps(jsonb)|||{"ownCommits": true}|', 'command||||{}|', 'function|app.wrong(jsonb)|||{}|3'),
		"$name: the definitions are what they were");
	is(app($node, q{SELECT triggerdo.run_result(run_id) FROM triggerdo.runs WHERE task = 'twice'}, role => 'other', database => $db),
		'42', "$name: an old result can be read");
	app($node, q{SELECT triggerdo.define_task('echo', run => 'app.echo');
		CALL triggerdo.trigger_and_wait('echo', '{"when": "after"}', NULL)}, database => $db);
	is(app($node, q{SELECT status FROM triggerdo.runs WHERE payload->>'when' = 'after'}, database => $db),
		'COMPLETED', "$name: defined again, triggered, done");
	invariants_ok($node, $name, $db);
	reload_with($node, 'triggerdo.executors = 0');
	return;
}

# ------------------------------------------------- the scripts are for the server only

foreach my $script ("$current", "0.1.0--$current")
{
	# (not as input: psql leaves before it has read it all, and what is over 64 kB then breaks the pipe)
	my ($rc, $out, $err) = $node->psql('postgres', "\\i '" . extension_dir() . "/triggerdo--$script.sql'");
	like($out, qr/^Use "(CREATE|ALTER) EXTENSION triggerdo( UPDATE)?" to load this file\.$/, "triggerdo--$script.sql: not for psql");
	is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_namespace WHERE nspname ~ 'triggerdo'}), '0', 'which does nothing');
}

# ------------------------------------------------------------------------ the objects

$node->safe_psql('postgres', "CREATE DATABASE $_") foreach qw(fresh updated dumped);
$node->safe_psql('fresh', q{CREATE EXTENSION triggerdo; GRANT USAGE ON SCHEMA triggerdo TO app, other});
# (functions of 0.1.0 that the library has no more need not be called again)
$node->safe_psql('updated', q{SET check_function_bodies = off; CREATE EXTENSION triggerdo VERSION '0.1.0'});
$node->safe_psql('updated', $data);
settle('updated');
my $before = rows('updated');
isnt($before, '', 'there are rows of 0.1.0');
my ($rc, $out, $err) = $node->psql('updated', q{SELECT triggerdo.trigger_task('echo')}, extra_params => [ '-U', 'app' ]);
like($err, qr/cannot serve version 0\.1\.0.*HINT:  Run ALTER EXTENSION triggerdo UPDATE\./s, 'not served before the update');

$node->safe_psql('updated', 'ALTER EXTENSION triggerdo UPDATE');
my ($fresh, $updated) = (surface('fresh'), surface('updated'));
cmp_ok(scalar @$fresh, '>', 200, 'there are objects to compare');
my %fresh = map { $_ => 1 } @$fresh;
my %updated = map { $_ => 1 } @$updated;
is(join("\n", grep { !$updated{$_} } @$fresh), '', 'the update lacks nothing that a new extension has');
is(join("\n", grep { !$fresh{$_} } @$updated), '', 'and has nothing else');

is(rows('updated'), $before, 'every row is as it was');
within(10, 'a scheduler serves the database', sub { pids($node, 'scheduler', q{datname = 'updated'}) == 1 });
invariants_ok($node, 'after the update', 'updated');
let_run('updated', 'updated');

# ---------------------------------------- a dump of 0.1.0, loaded into this version

$node->safe_psql('dumped', $data);
is($node->safe_psql('dumped', 'SELECT triggerdo.resume()'), 't', 'a dump of 0.1.0 is bound to this server');
invariants_ok($node, 'after the dump', 'dumped');
let_run('dumped', 'dumped');
is(join("\n", grep { !$fresh{$_} } @{ surface('dumped') }), '', 'its objects are the new ones');

$node->stop;
done_testing();
