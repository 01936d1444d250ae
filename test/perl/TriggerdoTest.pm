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

our @EXPORT_OK = qw(node setup_app wait_runs invariants_ok);

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

# wait_runs(NODE, CONDITION, [DATABASE]): waits until "SELECT CONDITION" is
# true; one test, which fails after the usual time-out of the TAP modules.
sub wait_runs
{
	my ($node, $condition, $database) = @_;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return ok(
		$node->poll_query_until($database // 'postgres', "SELECT ($condition)"),
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

1;
