# Without shared_preload_libraries triggerdo can be created and tasks defined;
# what needs its processes says so, with a hint. A restart with the library is all
# it then takes.
#
# Red without: tdo_require_shmem() in prepare_to_write() (src/api_trigger.c) and
# wait_for_run; "if (tdo_shared)" in tdo_sql_announce() (src/api_view.c), where
# CREATE EXTENSION crashes; sweep() in src/launcher.c, which finds the database.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use TriggerdoTest qw(node wait_runs invariants_ok app plpgsql_task pids all_final);

my $node = node('preload', conf => "shared_preload_libraries = ''");
$node->safe_psql('postgres', q{
	CREATE EXTENSION triggerdo;
	CREATE ROLE app LOGIN;
	GRANT USAGE ON SCHEMA triggerdo TO app;
	CREATE SCHEMA app AUTHORIZATION app});
pass('CREATE EXTENSION works without the library preloaded');
plpgsql_task($node, 'echo', '');
is(app($node, 'SELECT id FROM triggerdo.tasks'), 'echo', 'define_task works');
is(app($node, 'SELECT count(*) FROM triggerdo.runs'), '0', 'triggerdo.runs can be read');
is(app($node, q{SELECT triggerdo.retry_delay('{"maxAttempts": 3, "backoff": "linear", "randomize": false}', 2)}),
	'00:00:02', 'what needs no process works');

foreach my $call (
	q{SELECT triggerdo.trigger_task('echo')},
	q{SELECT triggerdo.batch_trigger_task('echo', '{}')},
	q{SELECT triggerdo.trigger_batch('[{"task": "echo"}]')},
	q{CALL triggerdo.trigger_and_wait('echo', '{}', NULL)},
	q{SELECT triggerdo.wait_for_run('01890000-0000-7000-8000-000000000000')},
	q{SELECT triggerdo.cancel_run('01890000-0000-7000-8000-000000000000')},
	q{SELECT * FROM triggerdo.workers})
{
	my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$call", extra_params => [ '-U', 'app' ]);
	like($err, qr/ERROR:  55000: triggerdo is not loaded.*HINT:  Add triggerdo to shared_preload_libraries and restart/s,
		"it is said: $call");
}
is(app($node, 'SELECT count(*) FROM triggerdo.runs'), '0', 'nothing was written');

$node->append_conf('postgresql.conf', "shared_preload_libraries = 'triggerdo'");
$node->restart;
wait_runs($node, q{(SELECT count(*) FROM pg_stat_activity WHERE backend_type IN ('triggerdo launcher', 'triggerdo scheduler')) = 2});
app($node, q{SELECT triggerdo.trigger_task('echo')});
all_final($node);
is(app($node, 'SELECT status FROM triggerdo.runs'), 'COMPLETED', 'after a restart with the library, runs run');
invariants_ok($node, 'at the end');

# gone again: what is there can still be read
app($node, q{SELECT triggerdo.trigger_task('echo', delay => '1 h')});
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
is($node->safe_psql('postgres', 'SELECT status FROM triggerdo.runs ORDER BY created_at'), "COMPLETED\nDELAYED", 'without the library, a superuser can read runs');
# what lets others through is in the library (src/api_state.c), and any call of ours brings it
is(app($node, 'SELECT status FROM triggerdo.runs'), '', 'others none,');
is(app($node, "SELECT triggerdo.version() <> ''; SELECT status FROM triggerdo.runs ORDER BY created_at"), "t\nCOMPLETED\nDELAYED", 'or theirs, once it is loaded');
$node->safe_psql('postgres', 'DROP EXTENSION triggerdo');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_namespace WHERE nspname LIKE '%triggerdo%'}), '0', 'and DROP EXTENSION leaves nothing');
$node->stop;
done_testing();
