# F41: statements that want a database to themselves pass while our processes are
# connected to it, for who may run them; the refused ones disturb nobody; nothing
# is lost, no attempt burnt. And several databases at work at once.
#
# Red without: hold_and_stop() in make_way() (src/utility.c): each statement waits
# 5 s and fails; wait_for_others() there and tdo_owns_database() in want_*(), for
# the refused; "holds == 0" in tdo_database_attach() and tdo_database_change()
# (src/shmem.c), for the sweep; tdo_database_is_held() in note_ended()
# (src/executor.c), for the count of crashes; "announced" in after().

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

my $node = node('databases', fast => 1, conf => "max_worker_processes = 32
	triggerdo.sweep_interval = '1 s'");
$node->safe_psql('postgres', q{
	CREATE ROLE master LOGIN CREATEDB;
	CREATE ROLE stranger LOGIN CREATEDB;
	CREATE DATABASE work OWNER master;
	SET allow_in_place_tablespaces = on;
	CREATE TABLESPACE other LOCATION '';
	GRANT CREATE ON TABLESPACE other TO master, stranger});

sub prepare
{
	my ($database) = @_;

	setup_app($node, $database);
	app($node, 'CREATE TABLE app.effect (run uuid); CREATE TABLE app.gate (open bool)',
		database => $database);
	my $effect = 'INSERT INTO app.effect SELECT run_id FROM triggerdo.current_run();';
	plpgsql_task($node, 'short', "$effect PERFORM pg_sleep(0.002);", database => $database);
	plpgsql_task($node, 'long', qq{$effect
		WHILE NOT EXISTS (SELECT FROM app.gate) LOOP PERFORM pg_sleep(0.01); END LOOP;},
		database => $database);
	return;
}

# a run that takes as long as it likes in some executor's hand, and many short ones
my %total;
sub load
{
	my ($database) = @_;

	app($node, q{TRUNCATE app.gate; SELECT triggerdo.trigger_task('long')}, database => $database);
	wait_runs($node, in_hand(), $database);
	app($node, q{SELECT count(triggerdo.trigger_task('short')) FROM generate_series(1, 300)},
		database => $database);
	$total{$database} += 301;
	return;
}

sub in_hand
{
	return q{EXISTS (SELECT FROM triggerdo.runs WHERE task = 'long' AND status = 'EXECUTING')};
}

sub ours
{
	my ($database) = @_;
	return join ' ', $node->safe_psql('postgres', qq{
		SELECT pid FROM pg_stat_activity WHERE datname = '$database'
		   AND (backend_type = 'triggerdo scheduler' OR query LIKE '%of task long') ORDER BY pid});
}

# the long run is in hand again, and nobody blames it; then everything is done
sub finish
{
	my ($name, $database, $was) = @_;

	within(5, "F41: $name: the run cut off is in hand again", sub {
		my ($rc, $out) = $node->psql($database, 'SELECT ' . in_hand());
		return $rc == 0 && $out eq 't' });
	is( $node->safe_psql($database, 'SELECT max(crashes) FROM _triggerdo.live'),
		'0', "F41: $name: it is not counted as a crash");
	app($node, 'INSERT INTO app.gate VALUES (true)', database => $database);
	all_final($node, $database);
	my $n = $total{ $was // $database };
	is( $node->safe_psql($database, q{SELECT count(*), count(DISTINCT run) FROM app.effect}),
		"$n|$n", "F41: $name: every run has its effect once");
	is( $node->safe_psql($database, q{SELECT DISTINCT status, attempt FROM triggerdo.runs}),
		'COMPLETED|1', "F41: $name: no attempt is burnt");
	invariants_ok($node, $name, $database);
	return;
}

# (seconds, error) of a statement as a role
sub statement
{
	my ($role, $sql) = @_;
	my $begin = time;
	my ($rc, $out, $err) =
	  $node->psql('postgres', $sql, extra_params => [ '-U', $role ]);
	return (time - $begin, $err);
}

# What the same takes where nobody is in its way: it copies files and waits for
# checkpoints, which is not for us to answer for.
sub without_us
{
	my ($sql) = @_;
	$node->safe_psql('postgres', 'CREATE DATABASE plain OWNER master');
	$sql =~ s/DATABASE \w+/DATABASE plain/;
	$sql =~ s/TO \w+/TO plain2/;
	$sql =~ s/plain TEMPLATE \w+/plain2 TEMPLATE plain/;
	my ($took, $err) = statement('master', $sql);
	die "$sql: $err" if $err;
	$node->safe_psql('postgres', "DROP DATABASE IF EXISTS $_") foreach qw(plain plain2);
	return $took;
}

sub passes
{
	my ($sql, $role) = @_;
	my $anyhow = without_us($sql);
	my ($took, $err) = statement($role // 'master', $sql);

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	is($err, '', "F41: passes: $sql");
	cmp_ok($took, '<', $anyhow + 1,
		sprintf('F41: within 1 s more (%.2f) than it takes anyhow (%.2f): %s', $took - $anyhow, $anyhow, $sql));
	return;
}

# ------------------------------------------- who may not do it disturbs nobody

prepare('work');
load('work');
my $before = ours('work');
foreach my $sql (
	'DROP DATABASE work',
	'DROP DATABASE work WITH (FORCE)',
	'CREATE DATABASE copy TEMPLATE work',
	'ALTER DATABASE work RENAME TO renamed',
	'ALTER DATABASE work SET TABLESPACE other')
{
	my ($took, $err) = statement('stranger', $sql);
	like($err, qr/must be owner|permission denied/, "F41: refused: $sql");
	cmp_ok($took, '<', 1, 'F41: at once');
	($took, $err) = statement('master', "BEGIN; $sql");
	like($err, qr/cannot run inside a transaction block|cannot be executed/,
		"F41: refused in a transaction block: $sql")
	  unless $sql =~ /RENAME/;
}
is(ours('work'), $before, 'F41: the refused statements ended none of our processes');

# ... nor does one that fails because somebody is connected
my $session = $node->background_psql('work');
$session->query_safe('SELECT 1');
my ($took, $err) = statement('master', 'DROP DATABASE work');
like($err, qr/is being accessed by other users.*There is 1 other session/s,
	'F41: refused while a session is connected');
cmp_ok($took, '<', 7, 'F41: after the wait PostgreSQL has for it');
is(ours('work'), $before, 'F41: and ends none of our processes');
# (it may leave meanwhile)
my $begin = time;
my $drop = IPC::Run::start(
	[ 'psql', '-XAtq', '-d', $node->connstr('postgres') . ' user=master', '-c', 'ALTER DATABASE work RENAME TO work2' ],
	'>', \my $out, '2>', \my $err2, IPC::Run::timeout(60));
usleep(1_000_000);
is(ours('work'), $before, 'F41: while it waits for a session ours go on');
$session->quit;
$drop->finish;
is($err2, '', 'F41: it passes when the session has left');
passes('ALTER DATABASE work2 RENAME TO work');
finish('refused', 'work');

# --------------------------------------------------- who may do it is let through

load('work');
passes('ALTER DATABASE work RENAME TO renamed');
finish('RENAME', 'renamed', 'work');
passes('ALTER DATABASE renamed RENAME TO work');

load('work');
passes('ALTER DATABASE work SET TABLESPACE other');
finish('SET TABLESPACE', 'work');

load('work');
passes('CREATE DATABASE copy TEMPLATE work');
within(5, 'F41: a copy of a database with the extension is found at once', sub {
	return pids($node, 'scheduler', q{datname = 'copy'}) == 1 });
passes('DROP DATABASE copy');
finish('TEMPLATE', 'work');

# refused by PostgreSQL when we have made way already
load('work');
app($node, q{BEGIN; SELECT triggerdo.trigger_task('short'); PREPARE TRANSACTION 'p'},
	database => 'work');
$total{work}++;
($took, $err) = statement('master', 'DROP DATABASE work');
like($err, qr/prepared transaction/, 'F41: refused because of a prepared transaction');
app($node, q{COMMIT PREPARED 'p'}, database => 'work');
finish('refused late', 'work');

# (with start trouble, which is to be forgotten with the database)
load('work');
$node->safe_psql('work', q{CREATE ROLE low LOGIN; GRANT USAGE ON SCHEMA triggerdo TO low; CREATE SCHEMA low AUTHORIZATION low});
plpgsql_task($node, 'never', '', role => 'low', database => 'work');
$node->safe_psql('work', q{REVOKE CONNECT ON DATABASE work FROM PUBLIC; SELECT triggerdo.trigger_task('never')});
within(5, 'start trouble', sub { $node->safe_psql('work',
	q{SELECT count(*) FROM triggerdo.workers WHERE reason IS NOT NULL AND role = 'low'}) eq '1' });
# (as a role that could not end a superuser's process by FORCE)
passes('DROP DATABASE work WITH (FORCE)');
$node->safe_psql('postgres', 'CREATE DATABASE work OWNER master');
%total = ();
prepare('work');
within(3, 'F41: nothing is remembered of a database that is gone', sub { $node->safe_psql('work',
	q{SELECT count(*) FROM triggerdo.workers WHERE database IS NULL AND kind <> 'launcher'}) eq '0' });
load('work');
$session = $node->background_psql('work');
$session->query_safe('SELECT 1');
passes('DROP DATABASE work WITH (FORCE)', $ENV{USER} // 'postgres');
eval { $session->quit };

# ------------------------------------ a database that the sweep is just looking at

my $from = -s $node->logfile;
my @slow;
foreach my $i (1 .. 25)
{
	my $begin = time;
	$node->safe_psql('postgres', "CREATE DATABASE brief$i");
	usleep(40_000 * ($i % 25));
	$begin = time;
	my ($rc, $out, $err) = $node->psql('postgres', "DROP DATABASE brief$i");
	push @slow, $err || time - $begin if $err || time - $begin > 4;
}
is("@slow", '', 'F41: CREATE and DROP DATABASE while databases are looked at: none fails or takes long');
unlike(substr(slurp_file($node->logfile), $from), qr/FATAL/, 'F41: and the log is quiet');

# ------------------------------------------------------------ three at the same time

my @three = map { "db$_" } 1 .. 3;
%total = ();
foreach my $database (@three)
{
	$node->safe_psql('postgres', "CREATE DATABASE $database OWNER master");
	prepare($database);
}
load($_) foreach @three;
# what is done to one is nothing to the others
my %pids = map { $_ => ours($_) } @three;
passes('ALTER DATABASE db1 RENAME TO db9');
passes('ALTER DATABASE db9 RENAME TO db1');
is(ours($_), $pids{$_}, "F41: $_ is not disturbed") foreach @three[ 1, 2 ];
finish('three at once', $_) foreach @three;

$node->stop;
done_testing();
