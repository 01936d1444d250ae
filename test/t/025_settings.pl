# SIGHUP: every process takes in what it has to; known fault: what a session still
# believes in, in the middle of a long CALL, must not decide who is woken.
#
# Red without: tdo_bgw_reload() in tdo_bgw_sleep() (src/bgw.c); tdo_database_listed()
# in look() (src/scheduler.c); the comparison with swept_list in tdo_launcher_main()
# (src/launcher.c); executors_are_off() in send_request() (src/wake.c).

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

my $node = node('settings');
setup_app($node);
plpgsql_task($node, 'echo', '');
plpgsql_task($node, 'mine', q{payload := to_jsonb(current_setting('triggerdo.batch_time'));});

sub calm
{
	return within(10, 'the scheduler rests', sub {
		$node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'triggerdo scheduler'
			AND state = 'idle' AND state_change < clock_timestamp() - interval '700 ms'}) eq '1' });
}

# ------------------------------------------------- the launcher and the scheduler

reload_with($node, q{triggerdo.databases = 'nowhere'});
within(5, 'triggerdo.databases: the scheduler of a database not listed ends',
	sub { pids($node, 'scheduler') == 0 });
within(5, 'and its executors', sub { pids($node, 'executor') == 0 });
app($node, q{SELECT triggerdo.trigger_task('echo')});
reload_with($node, q{triggerdo.databases = '*'});
within(5, 'listed again, it starts', sub { pids($node, 'scheduler') == 1 });
all_final($node);

# --------------------------------------------------------------- the executors

foreach my $value (5, 20)
{
	reload_with($node, "triggerdo.batch_time = $value");
	usleep(300_000);
	is(app($node, q{SELECT triggerdo.wait_for_run(triggerdo.trigger_task('mine')) ->> 'x' WHERE false;
			SELECT triggerdo.trigger_task('mine') AS run \gset
			SELECT triggerdo.wait_for_run(:'run') ->> 'output'}),
		"${value}ms", "an executor has taken in $value ms");
}

# --------------------------------------- a session in a long CALL, with old settings

reload_with($node, 'triggerdo.executors = 0');
within(5, 'executors = 0: the executors end', sub { pids($node, 'executor') == 0 });
calm();
# (it commits, so that what it enqueues can run; it takes in no setting before its end)
$node->safe_psql('postgres', q{CREATE PROCEDURE app.long() LANGUAGE plpgsql AS $$
	BEGIN
		WHILE current_setting('triggerdo.executors') = '0' AND NOT EXISTS (SELECT FROM app.go) LOOP
			PERFORM pg_sleep(0.02); COMMIT;
		END LOOP;
		PERFORM triggerdo.trigger_task('echo');
		COMMIT;
		PERFORM pg_sleep(3);
	END $$; CREATE TABLE app.go (x int); GRANT ALL ON app.go TO app});
my $session = $node->background_psql('postgres');
$session->query_safe('SET ROLE app');
$session->{stdin} .= "CALL app.long();\n";
$session->{run}->pump_nb;
within(5, 'the procedure runs', sub {
	$node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CALL app.long%'}) eq '1' });
reload_with($node, 'triggerdo.executors = 2');
calm();
app($node, 'INSERT INTO app.go VALUES (1)');
within(2, 'what a session with old settings enqueues is started at once', sub {
	$node->safe_psql('postgres', q{SELECT count(*) FILTER (WHERE finished_at IS NOT NULL) = count(*) AND count(*) = 2
		FROM triggerdo.runs WHERE task = 'echo'}) eq 't' });
$session->query_safe('SELECT 1');
$session->quit;

invariants_ok($node, 'at the end');
$node->stop;
done_testing();
