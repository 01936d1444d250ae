# Helpers of the TAP tests, above PostgreSQL::Test::Cluster.
#
# scripts/check gives the settings that load the staged build (TEMP_CONFIG), so
# a node needs nothing but node('name'). Functions are called by their full
# name, or imported one by one:
#
#   use TriggerdoTest qw(node setup_app invariants_ok);

package TriggerdoTest;

use strict;
use warnings;

use Exporter qw(import);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

our @EXPORT_OK = qw(node setup_app answer poll wait_runs invariants_ok
  app plpgsql_task pids all_final reload_with within extension_dir);

# node(NAME, OPTION => VALUE...): a new server, running.
#
#   conf   => "lines"   more settings; the last word
#   start  => 0         initialize only
#   init   => { ... }   arguments of init(), as { allows_streaming => 1 }
#   fast   => 1         without fsync, for a test that needs many commits
#
# Cluster.pm switches fsync and the restart after a crash off. A test of crashes
# wants the server as users have it, so both are on again.
sub node
{
	my ($name, %opts) = @_;

	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(%{ $opts{init} // {} });
	$node->append_conf('postgresql.conf',
		"restart_after_crash = on\nfsync = " . ($opts{fast} ? 'off' : 'on'));
	# streaming nodes get room for ten sessions only
	$node->append_conf('postgresql.conf', 'max_connections = 40');
	$node->append_conf('postgresql.conf', $opts{conf}) if defined $opts{conf};
	$node->start if $opts{start} // 1;
	return $node;
}

# setup_app(NODE, [DATABASE]): the extensions, and a user "app" with a schema of
# that name, as README's first lines make them.
sub setup_app
{
	my ($node, $database) = @_;

	$node->safe_psql(
		$database // 'postgres', q{
		CREATE EXTENSION triggerdo;
		CREATE EXTENSION triggerdo_test;
		DO $$ BEGIN
			IF to_regrole('app') IS NULL THEN CREATE ROLE app LOGIN; END IF;
		END $$;
		GRANT USAGE ON SCHEMA triggerdo TO app;
		CREATE SCHEMA app AUTHORIZATION app;
	});
	return;
}

# answer(NODE, QUERY, [DATABASE]): what a server says that may just be crashing; undef
# when it says nothing. (psql may leave before it has read the query: a broken pipe.)
sub answer
{
	my ($node, $query, $database) = @_;
	my ($rc, $out) = eval { $node->psql($database // 'postgres', $query) };

	die $@ if $@ && $@ !~ /Broken pipe/;
	return !$@ && $rc == 0 ? $out : undef;
}

# poll(NODE, QUERY, [DATABASE]): waits until the query gives "t"; true if it does
# in the usual time. While a server refuses sessions, psql may end before it has
# been given the query, and IPC::Run dies of that.
sub poll
{
	my ($node, $query, $database) = @_;

	for (;;)
	{
		my $true = eval { $node->poll_query_until($database // 'postgres', $query) };
		return $true unless $@;
		die $@ unless $@ =~ /Broken pipe/;
		usleep(100_000);
	}
}

# wait_runs(NODE, CONDITION, [DATABASE]): waits until "SELECT CONDITION" is
# true; one test, which fails after the usual time-out of the TAP modules.
sub wait_runs
{
	my ($node, $condition, $database) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(
		poll($node, "SELECT ($condition)", $database),
		"in time: $condition");
}

# invariants_ok(NODE, NAME, [DATABASE]): one test, that check_invariants() finds
# nothing; what it finds is shown.
sub invariants_ok
{
	my ($node, $name, $database) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	$database //= 'postgres';
	my $found = $node->safe_psql($database,
		'SELECT count(*) FROM triggerdo.check_invariants()');
	return 1 if is($found, '0', "invariants hold: $name");
	diag(
		$node->safe_psql(
			$database, 'SELECT * FROM triggerdo.check_invariants() LIMIT 20'));
	return 0;
}

# app(NODE, SQL, [role => ..., database => ...]): SQL as that role, "app" unless
# told; gives its output, and dies of an error.
sub app
{
	my ($node, $sql, %opts) = @_;

	return $node->safe_psql($opts{database} // 'postgres',
		$sql, extra_params => [ '-U', $opts{role} // 'app' ]);
}

# plpgsql_task(NODE, ID, STATEMENTS, [OPTION => VALUE...]): a task of "app" whose
# function does these statements and returns its payload.
#
#   role, database, schema   "app", "postgres", the role
#   declare => 'x int;'      variables
#   define  => "retry => ''" more arguments of define_task
sub plpgsql_task
{
	my ($node, $id, $body, %opts) = @_;
	my $schema = $opts{schema} // $opts{role} // 'app';
	my $declare = $opts{declare} ? "DECLARE $opts{declare}" : '';
	my $define = $opts{define} ? ", $opts{define}" : '';
	(my $function = "$schema.$id") =~ s/-/_/g;

	app($node, qq{
		CREATE OR REPLACE FUNCTION $function(payload jsonb) RETURNS jsonb
		LANGUAGE plpgsql AS \$body\$ $declare BEGIN $body RETURN payload; END \$body\$;
		SELECT triggerdo.define_task('$id', run => '$function'$define)}, %opts);
	return;
}

# pids(NODE, KIND, [CONDITION]): the processes of that kind, as the server shows
# them: launcher, scheduler, executor.
sub pids
{
	my ($node, $kind, $condition) = @_;

	return split /\n/,
	  $node->safe_psql('postgres',
		"SELECT pid FROM pg_stat_activity WHERE backend_type = 'triggerdo $kind' AND ("
		  . ($condition // 'true') . ') ORDER BY pid');
}

# all_final(NODE, [DATABASE]): waits until no run is left; one test.
sub all_final
{
	my ($node, $database) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return wait_runs($node,
		'NOT EXISTS (SELECT FROM triggerdo.runs WHERE finished_at IS NULL)',
		$database);
}

# reload_with(NODE, "name = value"...): settings, taken in by every process soon.
sub reload_with
{
	my ($node, @settings) = @_;

	$node->safe_psql('postgres', "ALTER SYSTEM SET $_") foreach @settings;
	$node->reload;
	return;
}

# extension_dir(): where the server finds the control file and scripts of triggerdo.
sub extension_dir
{
	my $conf = slurp_file($ENV{TEMP_CONFIG});
	return "$1/extension" if $conf =~ /^extension_control_path = '([^:']+):/m;
	my ($stage) = $conf =~ /^extension_destdir = '([^']+)'/m;
	chomp(my $share = `$ENV{PG_CONFIG} --sharedir`);
	return ($stage // '') . "$share/extension";
}

# within(SECONDS, NAME, CODE): one test, that CODE (a condition) comes true in
# that time; gives the seconds it took.
sub within
{
	my ($seconds, $name, $code) = @_;
	my $begin = time;
	my $true;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	until ($true = $code->())
	{
		last if time - $begin > $seconds;
		usleep(20_000);
	}
	my $took = time - $begin;
	ok($true && $took <= $seconds, sprintf('%s within %g s', $name, $seconds))
	  or diag(sprintf('%.2f s', $took));
	return $took;
}

1;
