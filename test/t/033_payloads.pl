# F33: odd and huge values. Each is either refused at the enqueue with a typed
# error, or runs; what was accepted never fails to be read later, and a value that
# cannot be stored is a failure of its run, not of the executor.
#
# Red without: check_row() (src/quota.c); bookkeeping_failed() (src/batch.c).

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

my $node = node('payloads', fast => 1, init => { extra => [ '--encoding=UTF8', '--locale=C' ] },
	conf => 'triggerdo.executors = 1
	triggerdo.max_executors_per_role = 1
	triggerdo.executor_memory = 4GB
	autovacuum = off
	log_statement = none');
setup_app($node);
# (in C: it only hands the value through)
app($node, q{SELECT triggerdo.define_task('noop', run => 'triggerdo_test.noop')});
plpgsql_task($node, 'echo', '');
plpgsql_task($node, 'probe', q{payload := jsonb_build_object('type', jsonb_typeof(payload), 'bytes', pg_column_size(payload));});
plpgsql_task($node, 'makes', q{EXECUTE payload ->> 'sql' INTO payload;});

sub value { return $node->safe_psql('postgres', $_[0]) }

# the SQLSTATE of a statement of "app", 00000 when it has none
sub sqlstate
{
	my ($sql) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', $sql, extra_params => [ '-U', 'app', '-v', 'VERBOSITY=sqlstate' ]);
	return $rc == 0 ? '00000' : $err =~ /ERROR:\s+(\S{5})/ ? $1 : "?? $err";
}
app($node, q{CALL triggerdo.trigger_and_wait('noop', '{}', NULL)});
my ($pid) = pids($node, 'executor');

# ---------------------------------------------------------------------- payloads

# name, expression, SQLSTATE of the enqueue
my @payloads = (
	[ 'null', q{'null'::jsonb}, '00000' ],
	[ 'SQL NULL', q{NULL}, '00000' ],
	[ 'a scalar', q{'1'::jsonb}, '00000' ],
	[ 'an empty key', q{'{"": {"": 0}}'::jsonb}, '00000' ],
	[ 'duplicate keys', q{'{"a": 1, "a": 2}'::jsonb}, '00000' ],
	[ '\u0000', q{'{"a": "\u0000"}'::jsonb}, '22P05' ],
	[ 'half a surrogate pair', q{'{"a": "\ud83d"}'::jsonb}, '22P02' ],
	[ 'invalid UTF-8', qq{'{"a": "\xff\xfe"}'::jsonb}, '22021' ],
	[ 'NaN', q{'{"a": NaN}'::jsonb}, '22P02' ],
	[ 'NaN as a numeric', q{jsonb_build_object('a', 'NaN'::numeric)}, '00000' ],
	[ 'Infinity as a float', q{jsonb_build_object('a', 'Infinity'::float8)}, '00000' ],
	[ 'a huge number', q{'1e131000'::jsonb}, '00000' ],
	[ 'a number too huge', q{'1e1310000'::jsonb}, '22003' ],
	[ 'a long number', q{(repeat('9', 100000))::jsonb}, '00000' ],
	[ 'deep: 1,000', q{(repeat('[', 1000) || repeat(']', 1000))::jsonb}, '00000' ],
	[ 'deep: 3,000', q{(repeat('[', 3000) || repeat(']', 3000))::jsonb}, '00000' ],
	[ 'deep objects: 3,000', q{(repeat('{"a":', 3000) || '1' || repeat('}', 3000))::jsonb}, '00000' ],
	[ 'deep: 200,000', q{(repeat('[', 200000) || repeat(']', 200000))::jsonb}, '54001' ],
	[ 'a key of 1 MB', q{jsonb_build_object(repeat('k', 1 << 20), 1)}, '00000' ],
	[ '100,000 keys', q{(SELECT jsonb_object_agg(i, i) FROM generate_series(1, 100000) i)}, '00000' ],
	[ '10 MB', q{to_jsonb(repeat('x', 10000000))}, '00000' ],
	[ '100 MB', q{to_jsonb(repeat('x', 100000000))}, '00000' ],
	[ '255 MB', q{to_jsonb(repeat('x', 255000000))}, '00000' ],
	[ '300 MB', q{to_jsonb(repeat('x', 300000000))}, '54000' ],
);
foreach my $case (@payloads)
{
	my ($name, $expression, $state) = @$case;
	is(sqlstate(qq{SELECT triggerdo.trigger_task('noop', $expression)}), $state, "F33: enqueue: $name");
}
all_final($node);
is(value(q{SELECT count(*), count(*) FILTER (WHERE status = 'COMPLETED') FROM triggerdo.runs WHERE task = 'noop'}),
	(1 + grep { $_->[2] eq '00000' } @payloads) . '|' . (1 + grep { $_->[2] eq '00000' } @payloads), 'F33: what was accepted has run');
is(value(q{SELECT count(*) FROM _triggerdo.run r JOIN _triggerdo.result s USING (run_id) WHERE task = 'noop' AND pg_column_size(output) <> pg_column_size(payload)}), '0', 'F33: and came back as it was');
is(value(q{SELECT count(*) FROM triggerdo.runs WHERE task = 'noop' AND pg_column_size(payload) < 1000000 AND output IS DISTINCT FROM payload}), '0', 'F33: to the byte');

# by way of plpgsql, and read through the interface
app($node, q{SELECT triggerdo.trigger_task('probe', to_jsonb(repeat('x', 20000000)));
	SELECT triggerdo.trigger_task('probe', (repeat('[', 3000) || repeat(']', 3000))::jsonb)});
all_final($node);
is(value(q{SELECT string_agg(output ->> 'type', ' ' ORDER BY created_at) FROM triggerdo.runs WHERE task = 'probe'}), 'string array', 'F33: in plpgsql too');

# ----------------------------------------------------------------------- outputs

# name, SQL whose value the task returns, status and SQLSTATE
my @outputs = (
	[ 'null', 'SELECT $$null$$::jsonb', 'COMPLETED', '' ],
	[ '250 MB', 'SELECT to_jsonb(repeat($$x$$, 250000000))', 'COMPLETED', '' ],
	[ '300 MB', 'SELECT to_jsonb(repeat($$x$$, 300000000))', 'FAILED', '54000' ],
	[ 'deep: 3,000', 'SELECT (repeat($$[$$, 3000) || repeat($$]$$, 3000))::jsonb', 'COMPLETED', '' ],
	[ 'deep: 200,000', 'SELECT (repeat($$[$$, 200000) || repeat($$]$$, 200000))::jsonb', 'FAILED', '54001' ],
	[ '\u0000', 'SELECT $${"a": "\u0000"}$$::jsonb', 'FAILED', '22P05' ],
	[ 'NaN', 'SELECT to_jsonb($$NaN$$::numeric)', 'COMPLETED', '' ],
);
my %run;
foreach my $case (@outputs)
{
	my ($name, $sql) = @$case;
	$sql =~ s/\\/\\\\/g;
	$sql =~ s/"/\\"/g;
	$run{$name} = app($node, qq{SELECT triggerdo.trigger_task('makes', '{"sql": "$sql"}')});
}
all_final($node);
foreach my $case (@outputs)
{
	my ($name, undef, $status, $state) = @$case;
	is(value(qq{SELECT status, error ->> 'sqlstate' FROM triggerdo.runs WHERE run_id = '$run{$name}'}), "$status|$state", "F33: output: $name");
}
is(value(qq{SELECT pg_column_size(triggerdo.run_result('$run{'250 MB'}')) > 250000000}), 't', 'F33: run_result gives 250 MB');
is(sqlstate(q{CALL triggerdo.trigger_and_wait('makes', '{"sql": "SELECT to_jsonb(repeat($$x$$, 20000000))"}', NULL)}), '00000', 'F33: trigger_and_wait gives 20 MB');
is(sqlstate(q{CALL triggerdo.trigger_and_wait('makes', '{"sql": "SELECT (repeat($$[$$, 3000) || repeat($$]$$, 3000))::jsonb"}', NULL)}), '00000', 'F33: and what is deep');

# deeper than an executor's stack, from a session that has more
$node->safe_psql('postgres', q{SET max_stack_depth = '7MB'; SET SESSION AUTHORIZATION app;
	SELECT triggerdo.trigger_task('noop', (repeat('[', 20000) || repeat(']', 20000))::jsonb, metadata => '{"deep": 1}');
	SELECT triggerdo.trigger_task('echo', (repeat('[', 20000) || repeat(']', 20000))::jsonb, metadata => '{"deep": 1}')});
all_final($node);
is(value(q{SELECT string_agg(status::text, ' ') FROM triggerdo.runs WHERE metadata ? 'deep'}), 'COMPLETED COMPLETED', 'F33: deeper than a stack: handed through, not parsed');

# -------------------------------------------------------------- tags, metadata, ids

foreach my $case (
	[ 'tags: 100,000', q{tags => (SELECT array_agg('tag ' || i) FROM generate_series(1, 100000) i)}, '00000' ],
	[ 'tags: one of 50 MB', q{tags => ARRAY[repeat('x', 50000000)]}, '00000' ],
	[ 'metadata: 20 MB', q{metadata => jsonb_build_object('x', repeat('x', 20000000))}, '00000' ],
	[ 'tags: NULL inside', q{tags => ARRAY['a', NULL]}, '22004' ],
	[ 'metadata: not an object', q{metadata => '[]'}, '22023' ],
	[ 'more than a row can hold', q{tags => (SELECT array_agg(repeat('x', 536850000)) FROM generate_series(1, 2))}, '54000' ],
  )
{
	my ($name, $argument, $state) = @$case;
	is(sqlstate(qq{SELECT triggerdo.trigger_task('echo', $argument)}), $state, "F33: $name");
}
all_final($node);
foreach my $id ([ '127 é', q{repeat('é', 127)}, '00000' ], [ '255 bytes', q{repeat('x', 255)}, '00000' ], [ '256 bytes', q{repeat('é', 128)}, '42602' ], [ 'empty', q{''}, '42602' ])
{
	my ($name, $expression, $state) = @$id;
	is(sqlstate(qq{SELECT triggerdo.define_task($expression, run => 'triggerdo_test.noop')}), $state, "F33: a task's id: $name");
	is(sqlstate(qq{CALL triggerdo.trigger_and_wait($expression, '{}', NULL)}), $state eq '00000' ? $state : '42704', "F33: triggered: $name");
}
is(sqlstate(qq{SELECT triggerdo.trigger_task(repeat('é', 5000000))}), '42704', 'F33: an id of 10 MB');

is(value(q{SELECT count(*) FROM triggerdo.runs WHERE status NOT IN ('COMPLETED', 'FAILED') OR error ->> 'sqlstate' IN ('XX000', '53200')}), '0', 'F33: no run is left, none met an internal error');
is(join(' ', pids($node, 'executor')), $pid, 'F33: all by one executor, which lives');
invariants_ok($node, 'at the end');
$node->stop;
done_testing();
