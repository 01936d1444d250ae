# F40: a library that meets SQL objects of another version touches nothing, says so
# once, and goes on when they fit again; ALTER EXTENSION UPDATE under load.
#
# Red without: is_served() (src/store.c); tdo_database_trouble_is_news() in
# say_mismatch() (src/scheduler.c); tdo_wake_launcher() and tdo_objects_changed() in
# after(), and AlterExtensionStmt in look_at() (src/utility.c).

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task pids all_final reload_with within
  extension_dir);

# Versions that are no one's but this test's: the same objects under other numbers.
my $dir = extension_dir();
my ($current) = slurp_file("$dir/triggerdo.control") =~ /default_version = '([^']+)'/;
my ($old, $new, $odd) = ('0.0.9', '99.0.0', 'odd');
my @files;

sub script
{
	my ($name, $text) = @_;
	my $file = "$dir/triggerdo--$name.sql";

	die "$file is there" if -e $file;
	push @files, $file;
	append_to_file($file, $text);
	return;
}
END { unlink @files; }

my $install = slurp_file("$dir/triggerdo--$current.sql");
script($_, $install) foreach $old, $new, $odd;
foreach my $other ($old, $new, $odd)
{
	script("$other--$current", "-- nothing to do\n");
	script("$current--$other", "-- nothing to do\n");
}

my $node = node('versions', conf => "triggerdo.sweep_interval = '1 s'");
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE SCHEMA app AUTHORIZATION app');

sub said
{
	my ($from) = @_;
	return scalar(() = substr(slurp_file($node->logfile), $from) =~ /LOG:  triggerdo does nothing in database/g);
}

# ------------------------------------------- created in a version we do not serve

foreach my $case (
	[ $old, qr/The library is newer.*HINT:  Run ALTER EXTENSION triggerdo UPDATE\./s ],
	[ $new, qr/The library is older.*HINT:  Restart the server with the library of that version\./s ],
	[ $odd, qr/HINT/ ])
{
	my ($version, $hint) = @$case;
	my $from = -s $node->logfile;

	$node->safe_psql('postgres', qq{CREATE EXTENSION triggerdo VERSION '$version';
		GRANT USAGE ON SCHEMA triggerdo TO app});
	within(5, "F40: $version: the log says that it is not served", sub { said($from) });
	like(substr(slurp_file($node->logfile), $from), $hint, "F40: $version: and what to do");
	foreach my $call (
		q{SELECT triggerdo.trigger_task('echo')},
		q{SELECT triggerdo.define_task('echo', run => 'app.echo')},
		q{SELECT triggerdo.run_result('00000000-0000-7000-8000-000000000000')})
	{
		my ($rc, $out, $err) = $node->psql('postgres', $call, extra_params => [ '-U', 'app' ]);
		like($err, qr/ERROR:  triggerdo cannot serve version \Q$version\E of its extension.*$hint/s,
			"F40: $version: $call");
	}
	usleep(2_500_000);			# two sweeps
	is(said($from), 1, "F40: $version: the log says it once");
	is(scalar pids($node, 'scheduler', q{datname = 'postgres'}), 0, "F40: $version: no process stays");

	$node->safe_psql('postgres', "ALTER EXTENSION triggerdo UPDATE TO '$current'");
	within(3, "F40: $version: updated, it is served", sub {
		pids($node, 'scheduler', q{datname = 'postgres'}) == 1 });
	plpgsql_task($node, 'echo', '');
	app($node, q{SELECT triggerdo.trigger_task('echo')});
	all_final($node);
	invariants_ok($node, "after $version");
	$node->safe_psql('postgres', 'DROP EXTENSION triggerdo');
}

# ------------------------------------------------------------- updated under load

$node->safe_psql('postgres', 'CREATE EXTENSION triggerdo; GRANT USAGE ON SCHEMA triggerdo TO app');
app($node, 'CREATE TABLE app.effect (run uuid); CREATE TABLE app.gate (open bool)');
my $effect = 'INSERT INTO app.effect SELECT run_id FROM triggerdo.current_run();';
plpgsql_task($node, 'short', "$effect PERFORM pg_sleep(0.002);");
plpgsql_task($node, 'long', qq{$effect
	WHILE NOT EXISTS (SELECT FROM app.gate) LOOP PERFORM pg_sleep(0.01); END LOOP;});
app($node, q{SELECT triggerdo.trigger_task('long')});

# (a session that has looked at the objects before)
my $session = $node->background_psql('postgres');
$session->query_safe(q{SET ROLE app; SELECT triggerdo.trigger_task('short')});
my $total = 2;
my $from = -s $node->logfile;
my @slow;
foreach my $turn (1 .. 5)
{
	wait_runs($node, q{EXISTS (SELECT FROM triggerdo.runs WHERE task = 'long' AND status = 'EXECUTING')});
	app($node, q{SELECT count(triggerdo.trigger_task('short')) FROM generate_series(1, 200)});
	$total += 200;
	my $other = $turn % 2 ? $new : $old;
	my $begin = time;
	$node->safe_psql('postgres', "ALTER EXTENSION triggerdo UPDATE TO '$other'");
	push @slow, time - $begin if time - $begin > 1;
	my ($rc, $out, $err) = $node->psql('postgres', q{SELECT triggerdo.trigger_task('short')},
		extra_params => [ '-U', 'app' ]);
	like($err, qr/cannot serve version \Q$other\E/, "F40: updated to $other under load: not served");
	# (a session that knew the objects before finds that out, too)
	$session->query_safe(q{DO $$ BEGIN PERFORM triggerdo.trigger_task('short');
		EXCEPTION WHEN object_not_in_prerequisite_state THEN NULL; END $$});
	is($node->safe_psql('postgres', 'SELECT count(*) FROM _triggerdo.live') > 0,
		1, 'F40: what is queued is there');
	$node->safe_psql('postgres', "ALTER EXTENSION triggerdo UPDATE TO '$current'");
	$session->query_safe(q{SELECT triggerdo.trigger_task('short')});
	$total++;
}
is("@slow", '', 'F40: ALTER EXTENSION UPDATE under load: each within 1 s');
wait_runs($node, q{EXISTS (SELECT FROM triggerdo.runs WHERE task = 'long' AND status = 'EXECUTING')});
is($node->safe_psql('postgres', 'SELECT max(crashes) FROM _triggerdo.live'),
	'0', 'F40: the run cut off is not counted as a crash');
app($node, 'INSERT INTO app.gate VALUES (true)');
all_final($node);
is( $node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT run) FROM app.effect}),
	"$total|$total", 'F40: every run has its effect once');
is( $node->safe_psql('postgres', q{SELECT DISTINCT status, attempt FROM triggerdo.runs}),
	'COMPLETED|1', 'F40: no attempt is burnt');
unlike(substr(slurp_file($node->logfile), $from), qr/\[\d+\] (ERROR|PANIC|WARNING)/,
	'F40: no error of ours in the log');

# an update that is rolled back
my ($rc, $out, $err) = $node->psql('postgres',
	"BEGIN; ALTER EXTENSION triggerdo UPDATE TO '$new'; ROLLBACK");
app($node, q{CALL triggerdo.trigger_and_wait('short', '{}', NULL)});

# a restart of the server is what a new library comes with
$node->safe_psql('postgres', "ALTER EXTENSION triggerdo UPDATE TO '$new'");
$session->quit;
$from = -s $node->logfile;
$node->restart;
within(5, 'F40: after a restart the log says it again', sub { said($from) });
$node->safe_psql('postgres', "ALTER EXTENSION triggerdo UPDATE TO '$current'");
app($node, q{CALL triggerdo.trigger_and_wait('short', '{}', NULL)});
invariants_ok($node, 'at the end');

$node->stop;
done_testing();
