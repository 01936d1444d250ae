# F29, F30: a task that lays hands on triggerdo's tables, its own definition or its
# own run; owners and functions that change, lose rights or go while runs are queued.
#
# Red without: the missing GRANTs on schema _triggerdo (sql/00_header.sql);
# tdo_aclcheck_function() in src/task.c; ERRCODE_OBJECT_IN_USE alone of class 55 in
# tdo_failure_is_environment() (src/failure.c), for a run that deletes its live row; invalidate by PROCOID in src/execute.c;
# role_trouble() (src/scheduler.c); the owner in tdo_entry_get() (src/execute.c).

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

my $node = node('owners', conf => "statement_timeout = '60s'");
setup_app($node);
app($node, 'CREATE TABLE app.effect (run uuid, what text)');

# task and status|sqlstate of its run, which must be final soon
sub outcome
{
	my ($run) = @_;
	my $until = time + 20;
	while ($node->safe_psql('postgres',
			"SELECT finished_at IS NULL FROM triggerdo.runs WHERE run_id = '$run'") eq 't')
	{
		return 'hangs' if time > $until;
		usleep(20_000);
	}
	return $node->safe_psql('postgres',
		"SELECT status, error ->> 'sqlstate' FROM triggerdo.runs WHERE run_id = '$run'");
}

sub run_task
{
	my ($id, %opts) = @_;
	return outcome(app($node, "SELECT triggerdo.trigger_task('$id')", %opts));
}

# ------------------------------------------------------------- F29: a plain role

my $n = 0;
foreach my $sql (
	'UPDATE _triggerdo.task SET owner = 10',
	'DELETE FROM _triggerdo.live',
	'INSERT INTO _triggerdo.result (run_id) SELECT run_id FROM triggerdo.current_run()',
	'SELECT FROM _triggerdo.run FOR UPDATE',
	'TRUNCATE _triggerdo.timer',
	'LOCK TABLE _triggerdo.live',
	'ALTER TABLE _triggerdo.live ADD x int',
	'DROP TABLE _triggerdo.live',
	'DROP SCHEMA _triggerdo CASCADE',
	'DROP SCHEMA triggerdo CASCADE',
	'CREATE OR REPLACE VIEW triggerdo.runs AS SELECT 1 AS x',
	'DROP EXTENSION triggerdo')
{
	plpgsql_task($node, 'h' . ++$n, "EXECUTE '$sql';");
	is(run_task("h$n"), 'FAILED|42501', "F29: a task may not: $sql");
}

# its own definition, and its own run, are its own: it must not wait for itself
my %own = (
	'defines itself' => [ q{PERFORM triggerdo.define_task('own1', run => 'app.own1', retry => triggerdo.retry_policy(7));}, qr/^COMPLETED/ ],
	'drops itself'   => [ q{PERFORM triggerdo.drop_task('own2');}, qr/^COMPLETED/ ],
	'runs itself'    => [ q{PERFORM triggerdo.run_now(run_id) FROM triggerdo.current_run();}, qr/^FAILED\|55/ ],
	'cancels itself' => [ q{PERFORM triggerdo.cancel_run(run_id) FROM triggerdo.current_run();}, qr/^(COMPLETED|FAILED|CANCELED)/ ],
	'waits for itself' => [ q{PERFORM triggerdo.wait_for_run(run_id, '200 ms') FROM triggerdo.current_run();}, qr/^(COMPLETED|FAILED)/ ],
	'triggers itself' => [ q{IF payload = '{}' THEN PERFORM triggerdo.trigger_task('own6', '1'); END IF;}, qr/^COMPLETED/ ]);
$n = 0;
foreach my $name ('defines itself', 'drops itself', 'runs itself', 'cancels itself', 'waits for itself', 'triggers itself')
{
	plpgsql_task($node, 'own' . ++$n, $own{$name}[0]);
	my $begin = time;
	like(run_task("own$n"), $own{$name}[1], "F29: a task that $name");
	cmp_ok(time - $begin, '<', 10, "F29: which $name, does not wait for itself");
}
all_final($node);
is(app($node, q{SELECT retry ->> 'maxAttempts' FROM triggerdo.tasks WHERE id = 'own1'}), '7', 'F29: defined');
is(app($node, q{SELECT count(*) FROM triggerdo.tasks WHERE id = 'own2'}), '0', 'F29: dropped');
invariants_ok($node, 'after the tasks of a plain role');

# ---------------------------------------------- F29: a superuser, who may do anything

reload_with($node, 'triggerdo.allow_superuser_tasks = on');
$node->safe_psql('postgres', 'CREATE SCHEMA su');
$n = 0;
foreach my $sql (
	'DELETE FROM _triggerdo.live WHERE run_id = (SELECT run_id FROM triggerdo.current_run())',
	'UPDATE _triggerdo.live SET attempt = attempt WHERE run_id = (SELECT run_id FROM triggerdo.current_run())',
	'SELECT FROM _triggerdo.live FOR UPDATE',
	'LOCK TABLE _triggerdo.live IN ACCESS EXCLUSIVE MODE',
	'ALTER TABLE _triggerdo.live SET (fillfactor = 70)',
	'DROP TABLE _triggerdo.live CASCADE',
	'DROP SCHEMA _triggerdo CASCADE')
{
	# (two executors: a lock that is held to the end keeps the other one out, not itself)
	$node->safe_psql('postgres', 'CREATE OR REPLACE FUNCTION su.h' . ++$n
		  . "(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS \$\$ BEGIN EXECUTE '$sql'; RETURN payload; END \$\$;
		  SELECT triggerdo.define_task('su$n', run => 'su.h$n')");
	my $run = $node->safe_psql('postgres', "SELECT triggerdo.trigger_task('su$n')");
	like(outcome($run), qr/^(COMPLETED|FAILED)/, "F29: a superuser's task that does: $sql");
	plpgsql_task($node, 'echo', '');
	is(run_task('echo'), 'COMPLETED|', 'F29: and others go on');
}
invariants_ok($node, 'after the tasks of a superuser');
is(slurp_file($node->logfile) =~ /PANIC|was terminated by signal/ ? 'crash' : '', '', 'F29: nothing crashed');
reload_with($node, 'triggerdo.allow_superuser_tasks = off');

# -------------------------------------------------------- F30: while runs are queued

$node->safe_psql('postgres', q{
	CREATE ROLE other LOGIN; GRANT USAGE ON SCHEMA triggerdo TO other;
	CREATE SCHEMA lib; GRANT USAGE ON SCHEMA lib TO other, app;
	CREATE FUNCTION lib.f(payload jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '"old"'::jsonb $$});
app($node, "SELECT triggerdo.define_task('lib-$_', run => 'lib.f')", role => 'other')
  foreach qw(execute usage replaced dropped again rename);

# trigger while nothing runs, change, let run
sub changed
{
	my ($task, $change, $mend) = @_;
	reload_with($node, 'triggerdo.executors = 0');
	within(5, 'no executor', sub { pids($node, 'executor') == 0 });
	my $run = app($node, "SELECT triggerdo.trigger_task('$task')", role => 'other');
	$node->safe_psql('postgres', $change);
	reload_with($node, 'triggerdo.executors = 2');
	my $outcome = outcome($run);
	$outcome = $node->safe_psql('postgres', "SELECT output FROM triggerdo.runs WHERE run_id = '$run'")
	  if $outcome eq 'COMPLETED|';
	$node->safe_psql('postgres', $mend) if $mend;
	return $outcome;
}

is( changed('lib-execute', 'REVOKE EXECUTE ON FUNCTION lib.f FROM PUBLIC', 'GRANT EXECUTE ON FUNCTION lib.f TO PUBLIC'),
	'FAILED|42501', 'F30: the owner has lost EXECUTE: the run fails');
is( changed('lib-usage', 'REVOKE USAGE ON SCHEMA lib FROM other', 'GRANT USAGE ON SCHEMA lib TO other'),
	'FAILED|42501', 'F30: the owner has lost USAGE: the run fails');
is( changed('lib-replaced', q{CREATE OR REPLACE FUNCTION lib.f(payload jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT '"new"'::jsonb $$}),
	'"new"', 'F30: the function was replaced: the new one runs');
is( changed('lib-dropped', 'DROP FUNCTION lib.f'), 'FAILED|42883', 'F30: the function was dropped: the run fails');
is( changed('lib-again', q{CREATE FUNCTION lib.f(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN '"anew"'; END $$}),
	'"anew"', 'F30: dropped and made anew: that one runs');

# the owner's name changes: it is the same role
reload_with($node, 'triggerdo.executors = 0');
within(5, 'no executor', sub { pids($node, 'executor') == 0 });
my $run = app($node, q{SELECT triggerdo.trigger_task('lib-rename')}, role => 'other');
$node->safe_psql('postgres', 'ALTER ROLE other RENAME TO another');
reload_with($node, 'triggerdo.executors = 2');
is(outcome($run), 'COMPLETED|', 'F30: the owner was renamed: its run is done');
is(app($node, "SELECT owner FROM triggerdo.runs WHERE run_id = '$run'", role => 'another'), 'another',
	'F30: under the new name');

# with an executor at work for it: dropped
app($node, q{CALL triggerdo.trigger_and_wait('lib-rename', '{}', NULL)}, role => 'another');
$node->safe_psql('postgres', 'DROP OWNED BY another; DROP ROLE another; CREATE ROLE another LOGIN; GRANT USAGE ON SCHEMA triggerdo TO another');
my ($rc, $out, $err) = $node->psql('postgres', q{SELECT triggerdo.trigger_task('lib-rename')},
	extra_params => [ '-U', 'another' ]);
isnt($rc, 0, 'F30: a new role of a dropped owner\'s name has none of its tasks');
$run = $node->safe_psql('postgres', q{SELECT triggerdo.trigger_task('lib-rename')});
within(10, 'F30: the dropped owner\'s executors end when there is work for them', sub {
	return $node->safe_psql('postgres',
		q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'triggerdo executor' AND usename IS NULL}) eq '0' });
within(10, 'F30: the reason is shown', sub {
	return $node->safe_psql('postgres', q{SELECT count(*) FROM triggerdo.workers WHERE reason ~ 'does not exist'}) eq '1' });
is( $node->safe_psql('postgres', "SELECT status, triggerdo.cancel_run(run_id) FROM triggerdo.runs WHERE run_id = '$run'"),
	'QUEUED|t', 'F30: its run stays queued, until it is cancelled');
invariants_ok($node, 'at the end');

$node->stop;
done_testing();
