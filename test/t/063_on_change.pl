# on_change beyond one session: dumps and restores, onto a server of other roles; logical
# replication; a crash, a prepared transaction; DROP EXTENSION ... CASCADE.
#
# Red without: pg_extension_config_dump('_triggerdo.change') in sql/30_tables_0_2_0.sql; the
# line of change in bind_roles() and its UPDATE (sql/81_pause.sql); tdo_origin_require_bound()
# in tdo_sql_change() (src/api_change.c); TDO_UNBOUND in tdo_change_sweep() (src/change.c); the invalidation of change in tdo_bind_roles()
# (src/store.c), where a session goes on as the old oid's role.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use TriggerdoTest qw(node setup_app poll wait_runs invariants_ok app plpgsql_task all_final reload_with);

my $from = node('from', fast => 1, init => { allows_streaming => 'logical' }, conf => 'max_prepared_transactions = 5');
my $to = node('to', fast => 1);
my $dir = PostgreSQL::Test::Utils::tempdir;

# app and other own a table each; other may trigger app's task
$from->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE ROLE other LOGIN');
setup_app($from);
$from->safe_psql('postgres', q{
	GRANT USAGE ON SCHEMA triggerdo TO PUBLIC;
	CREATE SCHEMA other AUTHORIZATION other;
	GRANT app TO other});
plpgsql_task($from, 'follow', '');
app($from, q{
	CREATE TABLE app.docs (id int PRIMARY KEY, body text);
	SELECT triggerdo.on_change('app.docs', 'follow', '{INSERT,UPDATE,DELETE,TRUNCATE}')});
app($from, q{
	CREATE TABLE other.notes (id int, kind text) PARTITION BY LIST (kind);
	CREATE TABLE other.notes_a PARTITION OF other.notes FOR VALUES IN ('a');
	SELECT triggerdo.on_change('other.notes', 'follow', '{INSERT}', $$NEW.id > 1$$)}, role => 'other');

# what was triggered, without ids
sub triggered
{
	my ($node, $db) = @_;
	return $node->safe_psql($db // 'postgres', q{
		SELECT triggered_by, owner, payload->>'operation', payload->>'schema', payload->>'table', payload->'old'->>'id', payload->'new'->>'id'
		  FROM triggerdo.runs WHERE task = 'follow' ORDER BY run_id});
}
sub subscriptions
{
	my ($node, $db, $role) = @_;
	return $node->safe_psql($db // 'postgres', q{SELECT name, target, task, operations, condition, role, enabled FROM triggerdo.changes ORDER BY target::text},
		extra_params => [ '-U', $role ]) if $role;
	return $node->safe_psql($db // 'postgres', q{SELECT name, target, task, operations, condition, role, enabled FROM triggerdo.changes ORDER BY target::text});
}

# ------------------------------------------------------------- prepared, crashed

app($from, q{INSERT INTO app.docs VALUES (1, 'one')});
app($from, q{INSERT INTO other.notes VALUES (1, 'a'), (2, 'a')}, role => 'other');
$from->safe_psql('postgres', q{BEGIN; INSERT INTO app.docs VALUES (2, 'prepared'); PREPARE TRANSACTION 'p'});
$from->safe_psql('postgres', q{BEGIN; INSERT INTO app.docs VALUES (3, 'prepared'); PREPARE TRANSACTION 'q'});
$from->stop('immediate');
$from->start;
is(triggered($from), "app|app|INSERT|app|docs||1\nother|app|INSERT|other|notes||2", 'a crash: what was committed is triggered, what was prepared is not yet');
$from->safe_psql('postgres', q{COMMIT PREPARED 'p'});
$from->safe_psql('postgres', q{ROLLBACK PREPARED 'q'});
all_final($from);
is(triggered($from), "app|app|INSERT|app|docs||1\nother|app|INSERT|other|notes||2\napp|app|INSERT|app|docs||2", 'COMMIT PREPARED triggers, once; ROLLBACK PREPARED does not');
my $subscriptions = subscriptions($from);
is($subscriptions, "on_change_follow|app.docs|follow|{INSERT,UPDATE,DELETE,TRUNCATE}||app|origin\non_change_follow|other.notes|follow|{INSERT}|NEW.id > 1|other|origin", 'the subscriptions');

# ------------------------------------------------------------- logical replication

# The subscriber has the same table and a subscription to changes of its own.
$from->safe_psql('postgres', 'CREATE PUBLICATION p FOR TABLE app.docs');
$to->safe_psql('postgres', 'CREATE ROLE evil LOGIN; CREATE ROLE app LOGIN; CREATE ROLE other LOGIN; CREATE DATABASE replica');
setup_app($to, 'replica');
plpgsql_task($to, 'follow', '', database => 'replica');
app($to, q{
	CREATE TABLE app.docs (id int PRIMARY KEY, body text);
	SELECT triggerdo.on_change('app.docs', 'follow', '{INSERT,UPDATE,DELETE,TRUNCATE}')}, database => 'replica');
my $connstr = $from->connstr . ' dbname=postgres';
$to->safe_psql('replica', "CREATE SUBSCRIPTION s CONNECTION '$connstr' PUBLICATION p");
sub replicated
{
	my ($sql, $condition) = @_;
	app($from, $sql);
	return ok(poll($to, "SELECT $condition", 'replica'), "replicated: $sql");
}
replicated(q{INSERT INTO app.docs VALUES (10, 'ten')}, 'EXISTS (SELECT FROM app.docs WHERE id = 10)');
is(triggered($to, 'replica'), '', 'what replication brings, first copy and change, triggers nothing there');
like(triggered($from), qr/INSERT\|app\|docs\|\|10$/, 'it has where it was made');

$to->safe_psql('replica', 'ALTER TABLE app.docs ENABLE ALWAYS TRIGGER on_change_follow; ALTER TABLE app.docs ENABLE ALWAYS TRIGGER on_truncate_follow');
like(subscriptions($to, 'replica'), qr/\|always$/, 'ENABLE ALWAYS is shown');
replicated(q{INSERT INTO app.docs VALUES (11, 'eleven'), (12, 'twelve')}, 'EXISTS (SELECT FROM app.docs WHERE id = 12)');
replicated(q{UPDATE app.docs SET body = 'changed' WHERE id = 11}, q{EXISTS (SELECT FROM app.docs WHERE body = 'changed')});
replicated(q{DELETE FROM app.docs WHERE id = 12}, 'NOT EXISTS (SELECT FROM app.docs WHERE id = 12)');
replicated(q{TRUNCATE app.docs}, 'NOT EXISTS (SELECT FROM app.docs)');
is(triggered($to, 'replica'),
	"app|app|INSERT|app|docs||11\napp|app|INSERT|app|docs||12\napp|app|UPDATE|app|docs|11|11\napp|app|DELETE|app|docs|12|\napp|app|TRUNCATE|app|docs||",
	'with ENABLE ALWAYS a change that is applied triggers there, as who asked for it there');
all_final($to, 'replica');
$to->safe_psql('replica', 'DROP SUBSCRIPTION s');
invariants_ok($to, 'after replication', 'replica');

# ------------------------------------------------------------- dump and restore

# Onto a server where app's oid is another's.
my $app_oid = $from->safe_psql('postgres', q{SELECT 'app'::regrole::oid});
$to->safe_psql('replica', q{DROP EXTENSION triggerdo_test; DROP TABLE app.docs});
all_final($from);
my $before = triggered($from);
foreach my $what ([ 'full' ], [ 'table', '-t', 'app.docs' ])
{
	my ($name, @options) = @$what;
	command_ok([ 'pg_dump', '-Fc', '-f', "$dir/$name", @options, '-h', $from->host, '-p', $from->port, '-d', 'postgres' ], "pg_dump of $name");
}
$to->safe_psql('postgres', 'CREATE DATABASE full_copy');
command_ok([ 'pg_restore', '-d', 'full_copy', '-h', $to->host, '-p', $to->port, "$dir/full" ], 'pg_restore of everything');
is(triggered($to, 'full_copy'), $before, 'the restore itself triggers nothing');
my ($rc, $out, $err) = $to->psql('full_copy', q{INSERT INTO app.docs VALUES (20, 'early')}, extra_params => [ '-U', 'app' ]);
like($err, qr/loaded from a dump/, 'before resume() a change is refused, not lost');
# a session that has met the trigger before
my $session = $to->background_psql('full_copy', on_error_stop => 0);
$session->query(q{INSERT INTO app.docs VALUES (20, 'early')});
$session->{stderr} = '' if exists $session->{stderr};
$to->safe_psql('full_copy', q{GRANT app TO other; SELECT triggerdo.resume()});
is(subscriptions($to, 'full_copy'), $subscriptions, 'after resume() the subscriptions are those of the original');
like(subscriptions($to, 'full_copy', 'app'), qr/^on_change_follow\|docs\|[^\n]*$/, 'app sees its own');
is(subscriptions($to, 'full_copy', 'evil'), '', 'who has another role\'s old oid sees none');
$session->query(q{INSERT INTO app.docs VALUES (21, 'after')});
app($to, q{INSERT INTO other.notes VALUES (1, 'a'), (3, 'a')}, role => 'other', database => 'full_copy');
is(substr(triggered($to, 'full_copy'), length $before), "\napp|app|INSERT|app|docs||21\nother|app|INSERT|other|notes||3", 'and changes trigger, as the roles of those names');
$session->quit;
invariants_ok($to, 'restored', 'full_copy');

# Loaded in parts: the rows are there before the triggers, and nobody's call takes them for stale.
$to->safe_psql('postgres', 'CREATE DATABASE parts');
my @restore = ('pg_restore', '-d', 'parts', '-h', $to->host, '-p', $to->port);
command_ok([ @restore, "--section=$_", "$dir/full" ], "pg_restore of its $_") foreach 'pre-data', 'data';
is($to->safe_psql('parts', q{SELECT triggerdo.drop_on_change('app.docs', 'follow')}), 'f', 'there is no trigger yet');
command_ok([ @restore, '--section=post-data', "$dir/full" ], 'pg_restore of its post-data');
$to->safe_psql('parts', 'SELECT triggerdo.resume()');
is(subscriptions($to, 'parts'), $subscriptions, 'the subscriptions are whole');

# By its owner, who has no right to the trigger's function: the table comes without the trigger.
(undef, $err) = run_command([ 'pg_restore', '-U', 'app', '-d', 'replica', '-h', $to->host, '-p', $to->port, "$dir/table" ]);
like($err, qr/permission denied for schema _triggerdo.*errors ignored on restore: \d+$/s, 'an owner restores a table');
is($to->safe_psql('replica', q{SELECT count(*) FROM pg_trigger WHERE tgrelid = 'app.docs'::regclass}), '0', 'without the trigger');
$to->safe_psql('replica', 'DROP TABLE app.docs');

# One table alone, into a database that has another of the extension: its trigger names nothing there.
command_ok([ 'pg_restore', '-d', 'replica', '-h', $to->host, '-p', $to->port, "$dir/table" ], 'pg_restore of a table alone');
my $runs = triggered($to, 'replica');
app($to, q{INSERT INTO app.docs VALUES (30, 'x')}, database => 'replica');
is(triggered($to, 'replica'), $runs, 'whose trigger is nobody\'s there, and does nothing');
app($to, q{SELECT triggerdo.on_change('app.docs', 'follow'); INSERT INTO app.docs VALUES (31, 'x')}, database => 'replica');
is(substr(triggered($to, 'replica'), length $runs), "\napp|app|INSERT|app|docs||31", 'until its owner asks for it again');
is($to->safe_psql('replica', q{SELECT count(*) FROM pg_trigger WHERE tgrelid = 'app.docs'::regclass}), '1', 'with the trigger that was there');

# ------------------------------------------------------------- DROP EXTENSION

(undef, undef, $err) = $to->psql('replica', 'DROP EXTENSION triggerdo');
like($err, qr/trigger on_change_follow on table app.docs depends on function _triggerdo.on_change\(\).*CASCADE/s, 'DROP EXTENSION names the triggers that would go');
$to->safe_psql('replica', 'SET client_min_messages = error; DROP EXTENSION triggerdo CASCADE');
app($to, q{INSERT INTO app.docs VALUES (40, 'x')}, database => 'replica');
is($to->safe_psql('replica', 'SELECT count(*) FROM app.docs'), '3', 'after CASCADE the table is as it was, and is written');

invariants_ok($from, 'in the original');
$from->stop;
$to->stop;
done_testing();
