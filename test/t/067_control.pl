# Children that executors have in hand when their parent is cancelled, cancels of a
# whole backlog beside executors, and the memory and time that these take.
#
# Red without, in src/api_cancel.c: note_children() in cancel_one() (grandchildren),
# ids_add(&c->later) (runs claimed along with others), await_all(), c->wait_for_children (a deadlock), note_children() in count_stopped() only, MemoryContextReset(c->each), "|| !wait" (deadlocks, now and then);
# in src/filter.c: MemoryContextReset(s->run_context), the snapshot of tdo_filter_begin() (a replay of many does not end).

use strict;
use warnings;

use IPC::Run ();
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

use TriggerdoTest qw(node setup_app invariants_ok app plpgsql_task all_final within);

my $node = node('control', conf => "triggerdo.max_executors_per_role = 8\ntriggerdo.max_executors = 16");
setup_app($node);

sub statuses
{
	my ($where) = @_;
	return $node->safe_psql('postgres', qq{
		SELECT string_agg(task || ' ' || status || ' ' || n, ', ' ORDER BY task COLLATE "C", status)
		  FROM (SELECT task, status, count(*) AS n FROM triggerdo.runs WHERE $where GROUP BY 1, 2) x});
}

# ------------------------------------------------ a tree, all of it in hand or delayed

app($node, q{
	CREATE TABLE app.effect (run uuid);
	CREATE PROCEDURE app.grow(payload jsonb) LANGUAGE plpgsql AS $$
	DECLARE down int := (payload->>'down')::int;
	BEGIN
		IF down > 0 THEN
			PERFORM triggerdo.trigger_task('grow', jsonb_build_object('down', down - 1)) FROM generate_series(1, 2);
		END IF;
		PERFORM triggerdo.trigger_task('leaf', delay => '1 day'), triggerdo.trigger_task('sleeps');
		COMMIT;
		PERFORM pg_sleep(300);
	END $$;
	CREATE FUNCTION app.sleeps(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
	BEGIN
		INSERT INTO app.effect SELECT run_id FROM triggerdo.current_run();
		PERFORM pg_sleep(300);
		RETURN payload;
	END $$;
	SELECT triggerdo.define_task('grow', 'app.grow', options => '{"ownCommits":true}'), triggerdo.define_task('leaf', 'app.sleeps'),
		triggerdo.define_task('sleeps', 'app.sleeps')});
foreach my $how ('cancel_run', 'cancel_runs')
{
	my $root = app($node, q{SELECT triggerdo.trigger_task('grow', '{"down":1}')});
	within(60, "$how: the tree stands",
		sub { statuses("root_run_id = '$root' OR run_id = '$root'") eq 'grow EXECUTING 3, leaf DELAYED 3, sleeps EXECUTING 3' });
	is(app($node, $how eq 'cancel_run' ? "SELECT triggerdo.cancel_run('$root', 'all')"
			: "SELECT triggerdo.cancel_runs('{\"run_ids\": [\"$root\"]}')"),
		$how eq 'cancel_run' ? 't' : '1', "$how of the root");
	is(statuses("root_run_id = '$root' OR run_id = '$root'"), 'grow CANCELED 3, leaf CANCELED 3, sleeps CANCELED 3',
		"$how: nothing of it goes on when the call returns");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM app.effect'), '0', "$how: without effect");
	is($node->safe_psql('postgres', 'SELECT count(*) FROM _triggerdo.child'), '0', "$how: nothing is left of it");
}

# a parent whose executor is killed keeps its children, and is cancelled with them
{
	my $root = app($node, q{SELECT triggerdo.trigger_task('grow', '{"down":0}')});
	within(60, 'a parent and its children', sub { statuses("root_run_id = '$root' OR run_id = '$root'") =~ /leaf DELAYED 1, sleeps EXECUTING 1/ });
	$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid) FROM triggerdo.workers WHERE run_id = '$root'");
	within(60, 'begins anew', sub { statuses("parent_run_id = '$root'") =~ /leaf DELAYED 2, sleeps EXECUTING 2/ });
	is(app($node, "SELECT triggerdo.cancel_run('$root')"), 't', 'cancelled');
	is(statuses("parent_run_id = '$root'"), 'leaf CANCELED 2, sleeps CANCELED 2', 'with the children of both times');
}

# --------------------------------------------- what another session has locked, or ends

sub start
{
	my ($sql) = @_;
	my %s = (out => '', err => '');
	$s{handle} = IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('postgres'), '-c', $sql ],
		'<', \undef, '>', \$s{out}, '2>', \$s{err});
	return \%s;
}

# waits for a lock, or "pauses" as a cancel does that looks again
sub stands
{
	my ($how, $query) = @_;
	my $where = $how eq 'waits' ? "wait_event_type = 'Lock'" : "wait_event_type = 'Extension'";
	within(60, "$query $how", sub { $node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE $where AND position('$query' in query) > 0 AND pid <> pg_backend_pid()") eq '1' });
}

app($node, q{
	CREATE TABLE app.go (what text);
	CREATE FUNCTION app.await_go(whatever text) RETURNS void LANGUAGE plpgsql AS $$
	BEGIN
		WHILE NOT EXISTS (SELECT FROM app.go WHERE what = whatever) LOOP PERFORM pg_sleep(0.01); END LOOP;
	END $$;
	SELECT triggerdo.trigger_task('leaf', delay => '1 day', tags => ARRAY[t]) FROM unnest('{P,C,M,X}'::text[]) WITH ORDINALITY u(t, n) ORDER BY n});
$node->safe_psql('postgres', q{
	UPDATE _triggerdo.run c SET parent_run_id = p.run_id, root_run_id = p.run_id, depth = 1 FROM _triggerdo.run p WHERE p.tags = '{P}' AND c.tags = '{C}';
	INSERT INTO _triggerdo.child SELECT parent_run_id, run_id FROM _triggerdo.run WHERE tags = '{C}'});
{
	my $held = start(q{BEGIN; SELECT triggerdo.cancel_runs('{"tag":"M"}'); SELECT app.await_go('held'); ROLLBACK});
	within(60, 'one is held', sub { $node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%await_go(''held''%' AND wait_event = 'PgSleep'}) eq '1' });
	my $second = start(q{SELECT triggerdo.cancel_runs('{"tag":["C","M","X"]}')});
	stands('waits', '["C","M","X"]');
	my $first = start(q{SELECT triggerdo.cancel_runs('{"tag":["P","X"]}')});
	stands('pauses', '["P","X"]');
	app($node, q{INSERT INTO app.go VALUES ('held')});
	$_->{handle}->finish foreach ($held, $second, $first);
	is($first->{out}, "2\n", 'what it chose is cancelled');
	like($first->{err}, qr/^NOTICE:  1 run could not be cancelled now/, 'a child that another call has, which waits for this one, is not waited for');
	is($second->{out} . $second->{err}, "2\n", 'and that call goes on');
	is($node->safe_psql('postgres', q{SELECT string_agg(tags[1] || ' ' || status, ', ' ORDER BY run_id) FROM triggerdo.runs WHERE tags && '{P,C,M,X}'}),
		'P CANCELED, C CANCELED, M CANCELED, X CANCELED', 'all are cancelled');
}

$node->safe_psql('postgres', q{ALTER SYSTEM SET triggerdo.cancel_grace = '10 min'; SELECT pg_reload_conf()});
# a parent that is over its time when it is to be cancelled: its children go on
app($node, q{
	CREATE PROCEDURE app.overdue(payload jsonb) LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM triggerdo.trigger_task('leaf', delay => '1 day', tags => '{of-overdue}');
		COMMIT;
		BEGIN
			PERFORM pg_sleep(300);
		EXCEPTION WHEN query_canceled THEN
			PERFORM pg_advisory_lock(67);
			PERFORM pg_sleep(300);
		END;
	END $$;
	SELECT triggerdo.define_task('overdue', 'app.overdue', max_duration => '0.1 s', options => '{"ownCommits":true}'), triggerdo.trigger_task('overdue')});
within(60, 'over its time', sub { $node->safe_psql('postgres', q{SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 67}) eq '1' });
{
	is(app($node, q{SELECT triggerdo.cancel_runs('{"task":"overdue"}')}), '0', 'it was not cancelled');
	is(statuses(q{task = 'overdue' OR tags = '{of-overdue}'}), 'leaf DELAYED 1, overdue TIMED_OUT 1', 'but timed out, and its children go on');
	is(app($node, q{SELECT triggerdo.cancel_runs('{"tag":"of-overdue"}')}), '1', 'they can be cancelled by themselves');
}
$node->safe_psql('postgres', q{ALTER SYSTEM RESET triggerdo.cancel_grace; SELECT pg_reload_conf()});

# ---------------------------------------------------------------- a large backlog

# how its address space grows: nothing may stay with each run
sub bulk
{
	my ($call) = @_;
	my $peak = q{SELECT 'kB ' || substring(pg_read_file('/proc/self/status') FROM 'VmPeak:\s+(\d+)')};
	my $begin = time;
	my $answer = $node->safe_psql('postgres', "$peak; SET ROLE app; SELECT $call; RESET ROLE; $peak");
	my ($before, $n, $after) = $answer =~ /^kB (\d+)\n(\d+)\nkB (\d+)$/ or die "unexpected: $answer";
	note("$call: " . (time - $begin) . " s, " . ($after - $before) . " kB");
	return ($n, $after - $before);
}

plpgsql_task($node, 'quick', 'INSERT INTO app.effect SELECT run_id FROM triggerdo.current_run();');
plpgsql_task($node, 'other', 'NULL;');
my $n = 100_000;
$node->safe_psql('postgres', 'ALTER SYSTEM SET triggerdo.executors = 0; SELECT pg_reload_conf()');
within(60, 'no executors', sub { $node->safe_psql('postgres', q{SELECT count(*) FROM triggerdo.workers WHERE kind = 'executor'}) eq '0' });
app($node, "SELECT count(*) FROM unnest(triggerdo.batch_trigger_task('quick', (SELECT array_agg('{}'::jsonb) FROM generate_series(1, $n))))");
app($node, "SELECT count(triggerdo.trigger_task('other')) FROM generate_series(1, 100)");
is((bulk(q{triggerdo.cancel_runs('{"tag":"none"}')}))[0], 0, 'a backlog of which nothing fits');
foreach my $call (q{triggerdo.cancel_runs('{"task":"quick"}')}, q{triggerdo.replay_runs('{"task":"quick","status":"CANCELED"}')})
{
	my ($did, $kb) = bulk($call);
	is($did, $n, "a large backlog: $call");
	cmp_ok($kb, '<', 20_000, 'in little memory');
}

# beside executors, which take what they can
$node->safe_psql('postgres', 'ALTER SYSTEM SET triggerdo.executors = 2; SELECT pg_reload_conf()');
within(60, 'executors at work', sub { $node->safe_psql('postgres', 'SELECT EXISTS (SELECT FROM app.effect)') eq 't' });
my $before = $node->safe_psql('postgres', q{SELECT count(*) FROM triggerdo.runs WHERE status = 'CANCELED' AND task = 'quick'});
my $canceled = app($node, q{SELECT triggerdo.cancel_runs('{"task":"quick"}')});
all_final($node);
my $all = 2 * $n;
is( $node->safe_psql('postgres', q{SELECT count(*) FILTER (WHERE status = 'CANCELED'), count(*) FILTER (WHERE status NOT IN ('CANCELED', 'COMPLETED')), count(*)
	FROM triggerdo.runs WHERE task = 'quick'}),
	join('|', $before + $canceled, 0, $all), 'what was cancelled is what was counted; the rest was done');
is( $node->safe_psql('postgres', q{SELECT (SELECT count(*) FROM app.effect) = count(*) FROM triggerdo.runs WHERE task = 'quick' AND status = 'COMPLETED'}),
	't', 'once each');
is($node->safe_psql('postgres', q{SELECT count(*) FROM triggerdo.runs WHERE task = 'other' AND status = 'COMPLETED'}), '100', 'others are left alone');

# ------------------------------------- runs that an executor has claimed with others

plpgsql_task($node, 'mates', q{IF payload ? 'wait' THEN PERFORM pg_sleep(300); END IF;});
app($node, 'SELECT count(*) FROM unnest(triggerdo.batch_trigger_task(\'mates\', (SELECT array_agg(\'{}\'::jsonb) FROM generate_series(1, 2000))))');
all_final($node);
app($node, q{SELECT triggerdo.batch_trigger_task('mates', ARRAY['{"wait":1}','{"wait":1}','{"wait":1}','{"wait":1}','{"wait":1}']::jsonb[])});
within(60, 'in one hand', sub {
	$node->safe_psql('postgres', q{SELECT count(*) FILTER (WHERE status = 'QUEUED') || ' ' || (count(*) FILTER (WHERE status = 'DEQUEUED') > 0) FROM triggerdo.runs WHERE task = 'mates' AND finished_at IS NULL}) eq '0 true' });
is(app($node, q{SELECT triggerdo.cancel_runs('{"task":"mates"}')}), '5', 'cancelled all of them, as they come to be begun');
is(statuses(q{task = 'mates' AND payload ? 'wait'}), 'mates CANCELED 5', 'at once');

# -------------------------------------------------- two, and executors, again and again

plpgsql_task($node, 'brief', 'PERFORM pg_sleep(0.001);');
for my $round (1 .. 5)
{
	my @runs;

	app($node, "SELECT count(triggerdo.trigger_task('brief')) FROM generate_series(1, 500)");
	foreach my $filter ('{"task":"brief"}', '{"created_before":"infinity"}')
	{
		my ($out, $err) = ('', '');
		my $handle = IPC::Run::start(
			[ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', "SELECT triggerdo.cancel_runs('$filter')" ],
			'<', \undef, '>', \$out, '2>', \$err);
		push @runs, [ $handle, \$out, \$err ];
	}
	foreach my $r (@runs)
	{
		$r->[0]->finish;
		unlike(${ $r->[2] }, qr/ERROR|FATAL/, "round $round: no deadlock");
	}
}
all_final($node);

invariants_ok($node, "at the end");
$node->stop;
done_testing();
