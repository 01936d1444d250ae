# pg_dump and pg_restore: definitions and runs come back, on a server whose roles
# have other oids, and where the old oid of one role is another role's now. Until
# resume() nobody but a superuser sees or runs anything of it; then all is bound by
# name, and every waiting run runs once.
#
# Red without: pg_extension_config_dump() (sql/25_dump.sql); TDO_UNBOUND in
# tdo_may_read() and tdo_may_act_as() (src/api_view.c), tdo_origin_require_bound()
# (src/origin.c) and its callers; bind_roles(), forget_orphans(), end_unrestored()
# (sql/81_pause.sql); "running" in look() and role_trouble()'s first line
# (src/scheduler.c); tdo_origin_is_empty() in tdo_origin_settle().

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

my $from = node('from', fast => 1);
my $to = node('to', fast => 1);
my $dir = PostgreSQL::Test::Utils::tempdir;

# ---------------------------------------------------------------- the original

sub clock { my ($node, $sql, $db) = @_; return $node->safe_psql($db // 'postgres', "SELECT triggerdo_test.$sql") }

# one after the other, so that their oids are
$from->safe_psql('postgres', 'CREATE ROLE before1; CREATE ROLE before2; CREATE ROLE app LOGIN; CREATE ROLE other LOGIN; CREATE ROLE lost LOGIN; CREATE ROLE boss LOGIN');
setup_app($from);
$from->safe_psql('postgres', q{
	GRANT USAGE ON SCHEMA triggerdo TO PUBLIC;
	GRANT USAGE ON SCHEMA app TO PUBLIC;
	CREATE SCHEMA other AUTHORIZATION other;
	CREATE TABLE app.ledger (run uuid, who name);
	GRANT INSERT ON app.ledger TO PUBLIC});
my $write = q{INSERT INTO app.ledger SELECT run_id, current_user FROM triggerdo.current_run();};
plpgsql_task($from, 'echo', $write);
plpgsql_task($from, 'wrong', qq{RAISE 'on purpose';},
	define => q{retry => triggerdo.retry_policy(3, 'fixed', min_delay => '20 days', max_delay => '20 days', jitter => false)});
plpgsql_task($from, 'theirs', $write, role => 'other');
app($from, q{GRANT EXECUTE ON FUNCTION app.echo TO PUBLIC; SELECT 1});
app($from, q{SELECT triggerdo.define_task('of-lost', run => 'app.echo')}, role => 'lost');

clock($from, 'freeze()');
# three days: some of each are final, some wait
foreach my $day ('2031-03-01', '2031-03-02', '2031-03-03')
{
	clock($from, "set_time('$day 12:00:00+00')");
	app($from, qq{SELECT count(triggerdo.trigger_task('echo', jsonb_build_object('n', n), tags => '{a,b}', idempotency_key => '$day ' || n)) FROM generate_series(1, 5) n});
	app($from, q{SELECT triggerdo.cancel_run(triggerdo.trigger_task('echo', delay => '1 h'), 'not wanted')});
	app($from, q{SELECT triggerdo.trigger_task('wrong', max_attempts => 1)});
	app($from, q{SELECT triggerdo.trigger_task('theirs', '"x"')}, role => 'other');
	wait_runs($from, q{NOT EXISTS (SELECT FROM triggerdo.runs WHERE status = 'QUEUED')});
	app($from, q{SELECT triggerdo.trigger_task('wrong')});
	app($from, qq{SELECT triggerdo.trigger_task('echo', '"delayed"', delay => '10 days', idempotency_key => '$day delayed')});
	wait_runs($from, q{NOT EXISTS (SELECT FROM triggerdo.runs WHERE status IN ('QUEUED', 'EXECUTING', 'DEQUEUED'))});
}
reload_with($from, 'triggerdo.executors = 0');
within(10, 'no executor', sub { pids($from, 'executor') == 0 });
$from->safe_psql('postgres', q{GRANT app TO other});
foreach my $day ('2031-03-01', '2031-03-02', '2031-03-03')
{
	clock($from, "set_time('$day 18:00:00+00')");
	app($from, q{SELECT count(triggerdo.trigger_task('echo', jsonb_build_object('queued', n))) FROM generate_series(1, 3) n});
	app($from, q{SELECT count(triggerdo.trigger_task('of-lost')) FROM generate_series(1, 2)}, role => 'lost');
	app($from, q{SELECT triggerdo.trigger_task('echo', '"by other"')}, role => 'other');
}
$from->safe_psql('postgres', q{REVOKE app FROM other});
# as a replay by who may not read the run leaves it: its owner is found anew all the same
$from->safe_psql('postgres', q{UPDATE _triggerdo.run SET triggered_by = 0 WHERE payload = '{"queued": 2}'});
# grants: to one who is there, to one who is not, administration
app($from, q{SELECT triggerdo.grant_task('echo', 'other', 'read'), triggerdo.grant_task('echo', 'lost', 'manage')});
app($from, q{SELECT triggerdo.grant_task('theirs', 'app', 'read')}, role => 'other');
$from->safe_psql('postgres', q{SELECT triggerdo.grant_admin('boss')});
invariants_ok($from, 'in the original');

# what a role sees; queued runs of the retried ones differ in nothing
sub picture
{
	my ($node, $db, $role) = @_;
	return $node->safe_psql($db, q{
		SELECT run_id, task, status, queue, payload, output, error->>'message', tags, attempt, max_attempts, created_at,
			queued_at, started_at, finished_at, delayed_until, triggered_by, owner, duration FROM triggerdo.runs ORDER BY 1;
		SELECT run_id, attempt, status, retry_at, error->>'message' FROM triggerdo.attempts ORDER BY 1, 2;
		SELECT id, owner, kind, run, retry, options, created_at FROM triggerdo.tasks ORDER BY 1},
		extra_params => [ '-U', $role ]);
}
my $superuser = $from->safe_psql('postgres', 'SELECT current_user');
my %before = map { $_ => picture($from, 'postgres', $_) } $superuser, 'app', 'other', 'boss';
my $waiting = $from->safe_psql('postgres', 'SELECT run_id FROM triggerdo.runs WHERE finished_at IS NULL');
cmp_ok(scalar(split /\n/, $waiting), '==', 24, 'runs of every kind wait in the original');
like($before{app}, qr/DELAYED.*on purpose/, 'a retried one is among them');

sub dump_to
{
	my ($name, @options) = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ 'pg_dump', '-Fc', '-f', "$dir/$name", @options,
			'-h', $from->host, '-p', $from->port, '-d', 'postgres' ], '>', \$out, '2>', \$err);
	ok($ok && $err eq '', "pg_dump of $name") or diag($err);
	return;
}
my @definitions = map { ('-T', "_triggerdo.${_}_*") } qw(run result attempt);
dump_to('full');
dump_to('definitions', @definitions);
dump_to('history', '-n', '_triggerdo');
dump_to('schemas', '-n', '_triggerdo', '-n', 'triggerdo', '-n', 'app', '-n', 'other', '-e', 'triggerdo');
dump_to('schema-only', '-s');
dump_to('data-only', '-a');

# what is in it: rows of these tables and the partitions, of no other of ours
my ($list) = run_command([ 'pg_restore', '-l', "$dir/full" ]);
my @data = sort grep { !/^(run|result|attempt)_\d{8}$/ } $list =~ /TABLE DATA _triggerdo (\w+)/g;
is("@data",
	'admin change child grant hook idempotency live role task timer', 'F43: a dump has the rows of these tables and of the partitions, of no other');
my ($text) = run_command([ 'pg_restore', '-f', '-', "$dir/full" ]);
my $system = $from->safe_psql('postgres', 'SELECT system_identifier FROM pg_control_system()');
unlike($text, qr/$system|_triggerdo\.origin/, 'F43: nothing in a dump tells of the server it is from');

# --------------------------------------------------------- a server of other roles

# The oids: evil has app's, app has other's, others come later; lost is not there.
my $app_oid = $from->safe_psql('postgres', q{SELECT 'app'::regrole::oid});
$to->safe_psql('postgres', qq{DO \$\$ DECLARE i int := 0; BEGIN
	LOOP
		EXECUTE format('CREATE ROLE filler%s', i);
		EXIT WHEN (SELECT max(oid) FROM pg_roles) >= $app_oid - 1;
		i := i + 1;
	END LOOP; END \$\$});
$to->safe_psql('postgres', 'CREATE ROLE evil LOGIN; CREATE ROLE app LOGIN; CREATE ROLE other LOGIN; CREATE ROLE boss LOGIN');
is($to->safe_psql('postgres', q{SELECT 'evil'::regrole::oid || ' ' || 'app'::regrole::oid}),
	$from->safe_psql('postgres', q{SELECT 'app'::regrole::oid || ' ' || 'other'::regrole::oid}),
	'the oids of the original are those of other roles here');
$to->safe_psql('postgres', 'CREATE EXTENSION triggerdo_test');
clock($to, 'freeze()');
clock($to, q{set_time('2031-03-03 18:00:00+00')});

sub restore
{
	my ($name, $db, @options) = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ 'pg_restore', @options, '-d', $db, '-h', $to->host, '-p', $to->port, "$dir/$name" ],
		'>', \$out, '2>', \$err);
	ok($ok && $err eq '', "F43: pg_restore @options of $name ends with 0 and says nothing") or diag($err);
	return;
}
sub psql_in
{
	my ($db, $sql, $role) = @_;
	my ($rc, $out, $err) = $to->psql($db, $sql, extra_params => [ '-U', $role // $superuser ]);
	return $err eq '' ? $out : "$out\n$err";
}
sub state_of { return psql_in($_[0], q{SELECT state, reason FROM triggerdo.workers WHERE kind = 'scheduler' AND database = current_database()}) }
sub make_database { $to->safe_psql('postgres', qq{CREATE DATABASE "$_[0]"}); return $_[0] }

# nothing of it is anybody's before resume()
sub unbound_ok
{
	my ($db, $name, %opts) = @_;
	my $from_log = -s $to->logfile;

	is(state_of($db), 'paused|its tasks and runs were loaded from a dump', "F43: $name: paused, and triggerdo.workers says so");
	foreach my $role ('evil', 'app', 'other', 'boss')
	{
		is(psql_in($db, 'SELECT (SELECT count(*) FROM triggerdo.runs), (SELECT count(*) FROM triggerdo.tasks), (SELECT count(*) FROM triggerdo.attempts), (SELECT count(*) FROM triggerdo.stats)', $role),
			'0|0|0|0', "F43: $name: $role sees nothing before resume()");
		like(psql_in($db, q{SELECT triggerdo.trigger_task('echo')}, $role), $opts{no_task} ? qr/task "echo" does not exist/ : qr/were loaded from a dump/,
			"F43: $name: $role can trigger nothing");
		like(psql_in($db, q{SELECT triggerdo.define_task('mine', run => 'app.echo')}, $role), qr/were loaded from a dump/,
			"F43: $name: $role can define nothing");
		like(psql_in($db, q{SELECT triggerdo.pause()}, $role), qr/permission denied/, "F43: $name: $role can pause nothing");
		like(psql_in($db, q{SELECT triggerdo.resume()}, $role), qr/permission denied/, "F43: $name: $role can resume nothing");
	}
	clock($to, q{advance('1 ms')});
	is($to->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE datname = '$db' AND backend_type = 'triggerdo executor'"), '0',
		"F43: $name: nothing is run");
	is(psql_in($db, 'SELECT triggerdo.pause()'), 'f', "F43: $name: pause() has nothing to do");
	return;
}

# ------------------------------------------------------------------------ all of it

reload_with($to, 'triggerdo.executors = 0');
my $log = -s $to->logfile;
restore('full', make_database('full'), '-1');
within(10, 'F43: full: the log says so', sub { substr(slurp_file($to->logfile), $log) =~ /triggerdo is paused in database "full": its tasks and runs were loaded from a dump/ });
unbound_ok('full', 'full');
is(picture($to, 'full', $superuser), $before{$superuser}, 'F43: full: every row is back, with the names of its roles');
my $app_run = $from->safe_psql('postgres', q{SELECT min(run_id::text) FROM triggerdo.runs WHERE status = 'QUEUED' AND task = 'echo'});
foreach my $function ('run_result', 'wait_for_run', 'cancel_run', 'run_now')
{
	like(psql_in('full', "SELECT triggerdo.$function('$app_run')", 'evil'), qr/does not exist|loaded from a dump/, "F43: full: evil's $function finds nothing");
}
my $out = psql_in('full', 'SELECT triggerdo.resume()');
like($out, qr/^t\b/, 'F43: full: resume() does something');
like($out, qr/WARNING: .*do not exist on this server: lost/, 'F43: full: resume() names the role that is missing');
is(picture($to, 'full', $_), $before{$_}, "F43: full: $_ sees what it saw in the original") foreach $superuser, 'app', 'other', 'boss';
my $grants = q{SELECT task, _triggerdo.role_name(owner), _triggerdo.role_name(role), privilege FROM _triggerdo."grant" UNION ALL SELECT '', '', _triggerdo.role_name(role), 'a' FROM _triggerdo.admin ORDER BY 1, 3};
is(psql_in('full', $grants), "||boss|a\necho|app|lost|m\necho|app|other|r\ntheirs|other|app|r", 'F43: full: grants are of those with the names');
is(psql_in('full', 'SELECT (SELECT count(*) FROM triggerdo.runs), (SELECT count(*) FROM triggerdo.tasks)', 'evil'),
	'0|0', "F43: full: who has app's old oid sees nothing");
invariants_ok($to, 'full, resumed', 'full');
my $keys = q{SELECT triggerdo.trigger_task('echo', idempotency_key => k) FROM unnest(ARRAY['2031-03-01 1', '2031-03-03 5', '2031-03-02 delayed']) k};
is(psql_in('full', $keys, 'app'), app($from, $keys), 'F43: full: idempotency keys have the runs that they had');
is(psql_in('full', 'SELECT triggerdo.resume()') =~ s/\n.*//sr, 'f', 'F43: full: a second resume() has nothing to do');

# all that waited runs, once, as who it ran before
sub run_all
{
	my ($db, $name) = @_;
	reload_with($to, 'triggerdo.executors = 2');
	clock($to, q{advance('1 ms')});
	wait_runs($to, q{NOT EXISTS (SELECT FROM triggerdo.runs WHERE status <> 'DELAYED' AND finished_at IS NULL AND owner <> 'lost')}, $db);
	clock($to, q{advance('10 days')});
	wait_runs($to, q{NOT EXISTS (SELECT FROM triggerdo.runs WHERE task <> 'wrong' AND finished_at IS NULL AND owner <> 'lost')}, $db);
	clock($to, q{advance('10 days')});
	wait_runs($to, q{(SELECT count(*) = 3 FROM triggerdo.runs WHERE status = 'DELAYED' AND attempt = 2)}, $db);
	clock($to, q{advance('20 days')});
	wait_runs($to, q{NOT EXISTS (SELECT FROM triggerdo.runs WHERE finished_at IS NULL AND owner <> 'lost')}, $db);
	is(psql_in($db, q{SELECT who, count(*), count(DISTINCT run) FROM app.ledger GROUP BY 1 ORDER BY 1}),
		"app|30|30\nother|3|3", "F43: $name: every run ran once, as its owner");
	is(psql_in($db, q{SELECT task, status, attempt, count(*) FROM triggerdo.runs WHERE task = 'wrong' GROUP BY 1, 2, 3 ORDER BY 3}),
		"wrong|FAILED|1|3\nwrong|FAILED|3|3", "F43: $name: attempts made before count");
	return;
}
run_all('full', 'full');
is(psql_in('full', q{SELECT DISTINCT status FROM triggerdo.runs WHERE owner = 'lost'}), 'QUEUED', 'F43: full: runs of a missing role wait');
within(15, 'F43: full: and the reason is shown', sub {
	psql_in('full', q{SELECT role, reason FROM triggerdo.workers WHERE reason ~ 'CREATE ROLE'}) =~ /^lost\|/ })
  or diag(psql_in('full', 'TABLE triggerdo.workers'));
like(psql_in('full', q{SELECT triggerdo.trigger_task('of-lost')}), qr/role "lost".*does not exist on this server/, 'F43: full: nor can a superuser trigger its tasks');
$to->safe_psql('postgres', 'CREATE ROLE lost LOGIN');
within(5, 'a role of that name', sub { psql_in('full', q{SELECT 1 FROM pg_roles WHERE rolname = 'lost'}) eq '1' });
is(psql_in('full', 'SELECT count(*) FROM triggerdo.runs', 'lost'), '0', 'F43: full: CREATE ROLE alone gives it nothing');
psql_in('full', 'SELECT triggerdo.resume()', 'boss');
is(psql_in('full', 'SELECT count(*) FROM triggerdo.runs', 'lost'), '0', 'F43: full: nor does the resume() of an administrator');
is(psql_in('full', 'SELECT triggerdo.resume()'), 'f', 'F43: full: resume() after CREATE ROLE');
wait_runs($to, q{NOT EXISTS (SELECT FROM triggerdo.runs WHERE finished_at IS NULL)}, 'full');
is(psql_in('full', q{SELECT g.role = 'lost'::regrole FROM _triggerdo."grant" g WHERE privilege = 'm'}), 't', 'F43: full: binds what it was granted');
is(psql_in('full', q{SELECT status, count(*) FROM triggerdo.runs GROUP BY 1}, 'lost'), 'COMPLETED|6', 'F43: full: binds its runs, and they run');
invariants_ok($to, 'full, all done', 'full');
$to->safe_psql('postgres', 'DROP ROLE lost');	# (of full it owns rows, and no object)

# ------------------------------------------- while it is being loaded, step by step

reload_with($to, 'triggerdo.executors = 2');
clock($to, q{set_time('2031-03-03 18:00:00+00')});
my $db = make_database('steps');
restore('full', $db, '--section=pre-data');
wait_runs($to, q{EXISTS (SELECT FROM triggerdo.workers WHERE kind = 'scheduler' AND pid IS NOT NULL AND database = current_database())}, $db);
foreach my $table ('live', 'timer', 'child', 'role', 'task')
{
	my ($data) = run_command([ 'pg_restore', '-a', '-t', $table, '-f', '-', "$dir/full" ]);
	$to->safe_psql($db, $data);
	clock($to, q{advance('20 days')});
	within(5, 'the scheduler has looked', sub { state_of($db) =~ /^paused/ });
}
psql_in($db, q{SELECT pg_sleep(0.5)});		# time in which nothing may happen
is(psql_in($db, q{SELECT state, count(*) FROM _triggerdo.live GROUP BY 1 ORDER BY 1}), "d|6\nq|18", 'F43: half loaded: nothing is fired, run or forgotten');
is(psql_in($db, q{SELECT count(*) FROM _triggerdo.timer}), '6', 'F43: half loaded: no timer goes');
unbound_ok($db, 'half loaded');
clock($to, q{set_time('2031-03-03 18:00:00+00')});
my ($rest) = run_command([ 'pg_restore', '-l', "$dir/full" ]);
append_to_file("$dir/list", join("\n", grep { !/TABLE DATA _triggerdo (live|timer|child|role|task) / } split /\n/, $rest) . "\n");
restore('full', $db, '--section=data', '--section=post-data', '-L', "$dir/list");
psql_in($db, 'SELECT triggerdo.resume()');
invariants_ok($to, 'loaded in steps, resumed', $db);
run_all($db, 'loaded in steps');

# ------------------ who may what, and nothing else yet: a dump's data begins with that
# Red without: grant and admin in tdo_origin_is_empty() (src/origin.c), and in forget_orphans().

reload_with($to, 'triggerdo.executors = 0');
$db = make_database('rights');
psql_in($db, 'CREATE EXTENSION triggerdo; GRANT USAGE ON SCHEMA triggerdo TO PUBLIC');
foreach my $table ('admin', 'grant')
{
	my ($data) = run_command([ 'pg_restore', '-a', '-t', $table, '-f', '-', "$dir/full" ]);
	$to->safe_psql($db, $data);
	unbound_ok($db, "only $table", no_task => 1);
}
psql_in($db, 'SELECT triggerdo.resume()');
is(psql_in($db, 'SELECT count(*) FROM triggerdo.tasks', 'evil'), '0', 'F43: only grants: evil, which has the oid of another, is nobody');
is(psql_in($db, q{SELECT count(*) FROM _triggerdo."grant"}), '0', 'F43: only grants: those on tasks that are not there are forgotten');
invariants_ok($to, 'only grants, resumed', $db);

# --------------------------------------------------------------- two steps: -s and -a

reload_with($to, 'triggerdo.executors = 0');
clock($to, q{set_time('2031-03-03 18:00:00+00')});
$db = make_database('two');
restore('schema-only', $db, '-1');
restore('data-only', $db, '-1');
unbound_ok($db, '-s, then -a');
psql_in($db, 'SELECT triggerdo.resume()');
is(picture($to, $db, $_), $before{$_}, "F43: -s, then -a: $_ sees what it saw in the original") foreach 'app', 'other';
invariants_ok($to, '-s, then -a', $db);

# ----------------------------------------------------------- -n with the extension

$db = make_database('schemas');
restore('schemas', $db, '-1');
unbound_ok($db, '-n -e');
psql_in($db, 'SELECT triggerdo.resume()');
is(picture($to, $db, $_), $before{$_}, "F43: -n -e: $_ sees what it saw in the original") foreach 'app', 'other';
invariants_ok($to, '-n -e', $db);

# ---------------------------- -n alone: the partitions, without what is the extension's

$db = make_database('history');
psql_in($db, 'CREATE EXTENSION triggerdo; GRANT USAGE ON SCHEMA triggerdo TO PUBLIC');
restore('history', $db, '-1');
is(state_of($db), 'paused|its tasks and runs were loaded from a dump', 'F43: -n: paused, and says so');
$out = psql_in($db, 'SELECT triggerdo.resume()');
like($out, qr/NOTICE: .*CANCELED: 24/, 'F43: -n: runs whose state was left out are CANCELED, and it is said');
is(psql_in($db, q{SELECT status, count(*) FROM triggerdo.runs GROUP BY 1 ORDER BY 1}), "COMPLETED|18\nCANCELED|27\nFAILED|3", 'F43: -n: what was final is as it was');
is(psql_in($db, 'SELECT count(*) FROM triggerdo.runs', $_), '0', "F43: -n: whose they were is not known, so $_ sees none")
  foreach 'app', 'other', 'evil';
invariants_ok($to, '-n', $db);

# ------------------------------------------------------------------ definitions only

$db = make_database('definitions');
restore('definitions', $db, '-1');
unbound_ok($db, 'definitions');
$out = psql_in($db, 'SELECT triggerdo.resume()');
like($out, qr/NOTICE: .*forgotten: 24/, 'F43: definitions: waiting runs without their rows are forgotten, and it is said');
invariants_ok($to, 'definitions, resumed', $db);
is(psql_in($db, 'SELECT id, owner FROM triggerdo.tasks ORDER BY 1'), "echo|app\nof-lost|lost\ntheirs|other\nwrong|app", 'F43: definitions: tasks are back, with their owners');
is(psql_in($db, q{BEGIN;
		SELECT count(triggerdo.trigger_task('echo', idempotency_key => k)) FROM unnest(ARRAY['2031-03-01 1', '2031-03-02 delayed']) k;
		SELECT idempotency_key FROM triggerdo.runs;
		ROLLBACK}, 'app'),
	"2\n2031-03-02 delayed", 'F43: definitions: what was forgotten may be triggered again, what was done may not');
reload_with($to, 'triggerdo.executors = 2');
$out = psql_in($db, q{CALL triggerdo.trigger_and_wait('theirs', '7', NULL)}, 'other');
like($out, qr/"output": 7/, 'F43: definitions: and work');

# ----------------------- back into the place it came from: it is a restore all the same

$from->safe_psql('postgres', 'DROP EXTENSION triggerdo CASCADE');
my ($o, $err) = ('', '');
my ($data) = run_command([ 'pg_restore', '-l', "$dir/full" ]);
append_to_file("$dir/ours", join("\n", grep { /triggerdo/ && !/triggerdo_test/ } split /\n/, $data) . "\n");
ok(IPC::Run::run([ 'pg_restore', '-1', '-L', "$dir/ours", '-d', 'postgres', '-h', $from->host, '-p', $from->port, "$dir/full" ], '>', \$o, '2>', \$err), 'into the same database') or diag($err);
is($from->safe_psql('postgres', q{SELECT state FROM triggerdo.workers WHERE kind = 'scheduler' AND database = current_database()}), 'paused', 'F43: restored into the database it is from: paused');
is($from->safe_psql('postgres', 'SELECT triggerdo.resume()'), 't', 'and resumed');
is(picture($from, 'postgres', 'app'), $before{app}, 'F43: restored into the database it is from: as it was');
invariants_ok($from, 'restored into the same database');

$from->stop;
$to->stop;
done_testing();
