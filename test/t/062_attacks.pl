# The attacks of reference/reliability-and-security.md, section 3, that no other test
# has: S03 rows that name another owner, S04 planted objects while the extension is
# installed, S05 SECURITY DEFINER, S06 names as weapons, S08 forged
# notifications, S09 what is said where everybody looks, S12 signals. Where the
# others are tested: docs/SECURITY.md.
#
# Red without: the missing GRANTs of sql/00_header.sql and 90_views.sql, and the
# owner in tdo_entry_get() (src/execute.c) (S03); qualified names in sql/ (S04); roles
# by oid in src/execute.c, identifiers quoted in src/task.c (S06); the rows as the only
# truth (S08); pgstat_report_activity() with the run's id and task alone (S09).

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

# (what clients send is theirs to log, or not)
my $node = node('attacks', fast => 1, conf => "log_statement = none\nlog_min_error_statement = panic");

# ------------------------------------- S04: before CREATE EXTENSION

$node->safe_psql('postgres', q{
	CREATE ROLE planter LOGIN;
	CREATE DATABASE planted OWNER planter});
my $plant = q{
	CREATE SCHEMA evil;
	CREATE TABLE evil.sprung (what text);
	CREATE FUNCTION evil.spring(what text) RETURNS bool LANGUAGE plpgsql AS $$
	BEGIN IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) current_user) THEN INSERT INTO evil.sprung VALUES (what); END IF; RETURN true; END $$;
	OPERATORS
	CREATE FUNCTION evil.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT CASE WHEN evil.spring('now()') THEN pg_catalog.now() END $$;
	CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE sql AS $$ SELECT CASE WHEN evil.spring('current_setting') THEN pg_catalog.current_setting($1) END $$;
	CREATE FUNCTION evil.pg_extension_config_dump(regclass, text) RETURNS void LANGUAGE sql AS $$ SELECT evil.spring('pg_extension_config_dump') $$;
	CREATE FUNCTION evil.make_interval(secs float8) RETURNS interval LANGUAGE sql AS $$ SELECT CASE WHEN evil.spring('make_interval') THEN interval '1 s' END $$;
	CREATE FUNCTION evil.quote_ident(text) RETURNS text LANGUAGE sql AS $$ SELECT CASE WHEN evil.spring('quote_ident') THEN $1 END $$;
	GRANT ALL ON SCHEMA evil TO PUBLIC; GRANT ALL ON ALL TABLES IN SCHEMA evil TO PUBLIC};
my $operators = '';
foreach my $type (qw(name text oid int4 int8 uuid timestamptz float8 "char" bool jsonb))
{
	my $function = 'evil.op_' . ($type =~ s/\W//gr);
	$operators .= "CREATE FUNCTION $function(pg_catalog.$type, pg_catalog.$type) RETURNS bool LANGUAGE sql AS \$\$ SELECT evil.spring('operator on $type') \$\$;";
	$operators .= "CREATE OPERATOR evil.$_ (LEFTARG = pg_catalog.$type, RIGHTARG = pg_catalog.$type, FUNCTION = $function);" foreach qw(= <> >= < || + - * ~~);
}
$plant =~ s/OPERATORS/$operators/;
$node->safe_psql('planted', $plant, extra_params => [ '-U', 'planter' ]);
$node->safe_psql('postgres', 'ALTER DATABASE planted SET search_path = evil, pg_catalog');
is($node->safe_psql('planted', q{SET search_path = evil, pg_catalog; SELECT 1 = 1; SELECT 'a'::name = 'b'::name; TABLE evil.sprung}) =~ /operator on int4\n.*operator on name/s, 1, '(the traps work)');
$node->safe_psql('planted', 'DELETE FROM evil.sprung');
$node->safe_psql('planted', 'CREATE EXTENSION triggerdo');
is($node->safe_psql('planted', 'TABLE evil.sprung'), '', 'S04: CREATE EXTENSION calls nothing that was planted');
is($node->safe_psql('planted', q{SELECT pg_catalog.count(*) FROM pg_catalog.pg_depend WHERE refobjid OPERATOR(pg_catalog.=) ANY (SELECT oid FROM pg_catalog.pg_operator WHERE oprnamespace OPERATOR(pg_catalog.=) 'evil'::pg_catalog.regnamespace)
	AND classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_rewrite'::pg_catalog.regclass}), '0', 'S04: no view is built upon it');
$node->safe_psql('postgres', 'DROP DATABASE planted');

# ---------------------------------------------------------------- the rest

setup_app($node);
$node->safe_psql('postgres', q{
	CREATE ROLE low LOGIN; GRANT USAGE ON SCHEMA triggerdo TO low; CREATE SCHEMA low AUTHORIZATION low;
	CREATE ROLE bypass LOGIN BYPASSRLS; GRANT USAGE ON SCHEMA triggerdo TO bypass; CREATE SCHEMA bypass AUTHORIZATION bypass;
	CREATE ROLE signaller LOGIN; GRANT pg_signal_backend TO signaller; GRANT USAGE ON SCHEMA triggerdo TO signaller});
sub refused { my ($sql, $role) = @_; my (undef, undef, $err) = $node->psql('postgres', $sql, extra_params => [ '-U', $role ]); return $err }

# S05: the list of functions that are SECURITY DEFINER is empty
is($node->safe_psql('postgres', q{SELECT string_agg(p.oid::regprocedure::text, ' ') FROM pg_proc p
	WHERE prosecdef AND pronamespace IN ('triggerdo'::regnamespace, '_triggerdo'::regnamespace)}), '', 'S05: no function is SECURITY DEFINER');
is($node->safe_psql('postgres', q{SELECT string_agg(p.oid::regprocedure::text, ' ') FROM pg_proc p JOIN pg_language l ON l.oid = prolang
	WHERE lanname NOT IN ('c', 'internal') AND pronamespace IN ('triggerdo'::regnamespace, '_triggerdo'::regnamespace)
	  AND NOT coalesce(proconfig @> '{"search_path=pg_catalog, pg_temp"}', false)}), '', 'S05: and each that is not in C has its path');

# S03: a row that names another owner. Nobody may write one, BYPASSRLS or not ...
plpgsql_task($node, 'of-app', q{PERFORM 1;});
like(refused('INSERT INTO _triggerdo.live SELECT', $_), qr/permission denied for schema _triggerdo/, "S03: $_ writes no row") foreach 'low', 'bypass';
# ... and were it granted by mistake, a task of its own that names app as its owner is not app's: the run is bound to the definition of its owner.
plpgsql_task($node, 'of-bypass', q{CREATE TABLE app.taken ();}, role => 'bypass');
reload_with($node, 'triggerdo.executors = 0');
within(10, 'no executor', sub { pids($node, 'executor') == 0 });
$node->safe_psql('postgres', q{GRANT USAGE ON SCHEMA _triggerdo TO bypass; GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA _triggerdo TO bypass});
app($node, q{SELECT triggerdo.trigger_task('of-bypass')}, role => 'bypass');
app($node, q{UPDATE _triggerdo.live SET owner = 'app'::regrole; UPDATE _triggerdo.run SET owner = 'app'::regrole}, role => 'bypass');
$node->safe_psql('postgres', q{REVOKE ALL ON ALL TABLES IN SCHEMA _triggerdo FROM bypass; REVOKE ALL ON SCHEMA _triggerdo FROM bypass});
reload_with($node, 'triggerdo.executors = 2');
all_final($node);
is($node->safe_psql('postgres', q{SELECT status, error->>'sqlstate', owner FROM triggerdo.runs WHERE task = 'of-bypass'}),
	'FAILED|42704|app', 'S03: a run that was given to another owner does not run its function');
is($node->safe_psql('postgres', q{SELECT to_regclass('app.taken') IS NULL}), 't', 'S03: nothing ran as that owner');

# S06: names as weapons, of tasks, roles, functions; through executors
my @hostile = (q{'}, q{"}, q{'; DROP SCHEMA app CASCADE; --}, q{"; DROP SCHEMA app CASCADE; --}, q{$$}, q{$x$'"}, q{\\}, q{\\'}, q{%s%n%d}, q{%},
	q{a"b'c}, q{{}}, q{*}, q{../../x}, q{`id`}, q{$(id)}, "\x{c3}\x{a9}", "\x{f0}\x{9f}\x{92}\x{a9}", q{a b}, q{a;b}, q{/* x}, q{-- x}, q{NULL}, q{null}, q{0}, q{-1}, q{''}, q{""}, q{:x}, q{@x}, q{_triggerdo.task}, 'x' x 255);
sub literal { my ($s) = @_; return q{ E'} . ($s =~ s/\\/\\\\/gr =~ s/'/''/gr) . q{'} }
sub identifier { my ($s) = @_; return '"' . ($s =~ s/"/""/gr) . '"' }
foreach my $role ('low', q{x"; DROP SCHEMA app; --}, q{it's})
{
	my $function = identifier($role) . '.' . identifier(q{f'"; x});
	my $sql = '';
	foreach my $id (map { $role eq 'low' ? $_ : "$_ of $role" } @hostile)
	{
		my $text = literal($id);
		next if length($id) > 255;
		$sql .= "SELECT triggerdo.define_task($text, run =>" . literal($function) . ", description => $text);
			SELECT triggerdo.trigger_task($text, to_jsonb($text\::text), tags => array[$text]); SELECT triggerdo.grant_task($text, 'app', 'read');";
	}
	$node->safe_psql('postgres', sprintf('CREATE ROLE %1$s LOGIN; GRANT USAGE ON SCHEMA triggerdo TO %1$s; CREATE SCHEMA %1$s AUTHORIZATION %1$s', identifier($role))) if $role ne 'low';
	$node->safe_psql('postgres', 'SET SESSION AUTHORIZATION ' . identifier($role) . qq{;
		CREATE FUNCTION $function(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS \$f\$ BEGIN RETURN jsonb_build_object('id', (SELECT task FROM triggerdo.current_run()), 'who', current_user); END \$f\$;
		$sql});
	my $owner = literal($role);
	wait_runs($node, "NOT EXISTS (SELECT FROM triggerdo.runs WHERE owner =$owner AND finished_at IS NULL)");
	is($node->safe_psql('postgres', "SELECT count(*) FROM triggerdo.runs WHERE owner =$owner AND (status <> 'COMPLETED' OR output->>'id' <> task OR output->>'who' <> owner OR payload #>> '{}' <> task OR tags <> array[task])"),
		'0', "S06: hostile names by <$role> are names, and nothing else");
	cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM triggerdo.runs WHERE owner =$owner"), '>=', 30, 'S06: all of them');
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_namespace WHERE nspname = 'app'}), '1', 'S06: and nothing was dropped');
like(refused(qq{SELECT triggerdo.define_task($_, run => 'low.x')}, 'low'), qr/invalid task id/, "S06: refused: $_")
  foreach q{''}, q{E'\n'}, q{E'a\x7f'}, q{repeat('x', 256)}, q{' x'};

# S08: notifications are no commands
my $before = $node->safe_psql('postgres', q{SELECT count(*), count(*) FILTER (WHERE status = 'COMPLETED') FROM triggerdo.runs});
my $delayed = app($node, q{SELECT triggerdo.trigger_task('of-app', delay => '1 day')});
app($node, qq{DO \$\$ BEGIN FOR i IN 1..10000 LOOP
	PERFORM pg_notify((array['triggerdo', '_triggerdo', 'runs', '$delayed'])[1 + i % 4], format('{"run":"$delayed","status":"COMPLETED","n":%s}', i)); END LOOP; END \$\$}, role => 'low');
is($node->safe_psql('postgres', qq{SELECT status FROM triggerdo.runs WHERE run_id = '$delayed'}), 'DELAYED', 'S08: forged notifications change no run');
is($node->safe_psql('postgres', qq{SELECT count(*), count(*) FILTER (WHERE status = 'COMPLETED') FROM triggerdo.runs WHERE run_id <> '$delayed'}), $before, 'S08: nor others');

# S09: what is said where others look
my $canary = 'c4n4ry' . 'x' x 10;
plpgsql_task($node, 'secretive', qq{IF payload ? 'fail' THEN RAISE '%', payload USING DETAIL = payload::text, HINT = payload::text; END IF; PERFORM pg_sleep(0.2);});
app($node, qq{SELECT triggerdo.trigger_task('secretive', '{"$canary":1}', tags => '{$canary}', metadata => '{"$canary":1}') FROM generate_series(1, 3)});
app($node, qq{SELECT triggerdo.trigger_task('secretive', '{"$canary":1,"fail":1}')});
my $seen = '';
for (1 .. 10)
{
	$seen .= app($node, q{SELECT * FROM pg_stat_activity; SELECT * FROM pg_locks; SELECT * FROM triggerdo.workers; SELECT * FROM pg_listening_channels(); SELECT * FROM pg_settings; SELECT * FROM pg_stats}, role => 'low');
	$seen .= $node->safe_psql('postgres', q{SELECT query, application_name FROM pg_stat_activity WHERE backend_type LIKE 'triggerdo%'});
	$seen .= join '', map { slurp_file("/proc/$_/cmdline") } grep { -e "/proc/$_/cmdline" } pids($node, 'executor');
}
wait_runs($node, qq{NOT EXISTS (SELECT FROM triggerdo.runs WHERE finished_at IS NULL AND run_id <> '$delayed')});
unlike($seen, qr/$canary/, 'S09: no payload in pg_stat_activity, process names, locks, settings, statistics');
like($node->safe_psql('postgres', q{SELECT error::text FROM triggerdo.runs WHERE task = 'secretive' AND status = 'FAILED'}), qr/$canary/, '(the error has it)');
unlike(slurp_file($node->logfile), qr/$canary/, 'S09: nor in the server log, when it is in an error');

# S12: signals: only who may send them to the owner's sessions; none to those of superusers
my $busy = app($node, q{SELECT triggerdo.define_task('sleeps', command => 'SELECT pg_sleep(60)'); SELECT triggerdo.trigger_task('sleeps')});
wait_runs($node, q{EXISTS (SELECT FROM triggerdo.runs WHERE task = 'sleeps' AND status = 'EXECUTING')});
my ($executor) = split /\n/, $node->safe_psql('postgres', q{SELECT pid FROM triggerdo.workers WHERE kind = 'executor' AND run_id IS NOT NULL});
foreach my $function ('pg_terminate_backend', 'pg_cancel_backend')
{
	like(refused("SELECT $function($_->[1])", $_->[2]), qr/must be|permission denied/, "S12: $function of the $_->[0] by $_->[2]")
	  foreach [ 'scheduler', pids($node, 'scheduler'), 'signaller' ], [ 'launcher', pids($node, 'launcher'), 'signaller' ],
	  [ 'scheduler', pids($node, 'scheduler'), 'low' ], [ 'launcher', pids($node, 'launcher'), 'low' ], [ 'executor', $executor, 'low' ];
}
my $run = $node->safe_psql('postgres', q{SELECT run_id FROM triggerdo.runs WHERE task = 'sleeps'});
like(refused("SELECT triggerdo.cancel_run('$run')", $_), qr/does not exist/, "S12: cancel_run of another's run by $_") foreach 'low', 'signaller';
is(app($node, "SELECT triggerdo.cancel_run('$run')"), 't', "S12: and by its owner");
app($node, "SELECT triggerdo.cancel_run('$delayed')");

invariants_ok($node, 'at the end');
done_testing();
