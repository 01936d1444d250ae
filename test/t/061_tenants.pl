# Two tenants: what one of them can see and be told is the same, to the byte,
# whether the other is there or not (S10).
#
# Two servers on which tenant_b does the same at the same (frozen) times. On one of
# them tenant_a has tasks, runs of every kind, failures, results, grants; on the
# other it has none. Then every function is called by tenant_b over ids of its own, of
# tenant_a, and of nobody, with arguments made from pg_proc, so that a new function is
# among them by itself; every view is read; and what PostgreSQL shows everybody. Ids of
# runs are given names, numbers of processes are left out.
#
# What differs, and is named in docs/SECURITY.md: that a task id is taken (42501 for
# "no such task"); sizes and statistics of tables, which EXPLAIN shows as well as
# pg_class; that a role has sessions.
#
# Red without: may_read() in each view (sql/90_views.sql) and in run_policies()
# (src/api_state.c); current_database() in triggerdo.workers; no_such_run() for a run that may not be read, and the same answer
# for both in run_now() (src/api_run.c); granted() when it does not compare owners.

use strict;
use warnings;

use FindBin;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

use TriggerdoTest
  qw(node setup_app wait_runs invariants_ok app plpgsql_task pids all_final reload_with within);

my %node = map { $_ => node($_, fast => 1, conf => "triggerdo.executors = 1
triggerdo.max_executors_per_role = 1
triggerdo.idle_timeout = '1h'
autovacuum = off") } qw(with without);
my $unknown = '01890000-0000-7000-8000-000000000000';

# ------------------------------------------------------------------- the tenants

my %id;    # node => label => id of a run
my $canary = 'swordfish';

sub b { my ($node, $sql) = @_; return app($node{$node}, $sql, role => 'tenant_b') }
sub a { my ($node, $sql) = @_; return $node eq 'with' ? app($node{$node}, $sql, role => 'tenant_a') : '' }
sub clock { my ($node, $sql) = @_; return $node{$node}->safe_psql('postgres', "SELECT triggerdo_test.$sql") }
sub all_done
{
	my ($node) = @_;
	return wait_runs($node{$node},
		q{NOT EXISTS (SELECT FROM triggerdo.runs WHERE status IN ('QUEUED', 'DEQUEUED', 'EXECUTING') AND task <> 'a-long')});
}

# tenant_a, in the time before and between what tenant_b does
sub a_works
{
	my ($node, $n) = @_;
	a($node, qq{
		SELECT triggerdo.trigger_task('a-task', jsonb_build_object('$canary', i), tags => '{$canary}') FROM generate_series(1, 20 * $n) i;
		SELECT triggerdo.trigger_task('a-fails', '"$canary"');
		SELECT triggerdo.trigger_task('a-retried', '"$canary"');
		SELECT triggerdo.trigger_task('a-task', '"$canary"', delay => '2 days') FROM generate_series(1, 3)});
	all_done($node) if $node eq 'with';
	return;
}

my %listener;
foreach my $node (qw(with without))
{
	my $n = $node{$node};
	setup_app($n);
	$n->safe_psql('postgres', q{
		CREATE ROLE tenant_a LOGIN; CREATE ROLE tenant_b LOGIN; CREATE ROLE tenant_c LOGIN;
		GRANT USAGE ON SCHEMA triggerdo TO tenant_a, tenant_b, tenant_c;
		CREATE SCHEMA tenant_a AUTHORIZATION tenant_a;
		CREATE SCHEMA tenant_b AUTHORIZATION tenant_b});
	foreach my $t (qw(a b))
	{
		app($n, qq{
			CREATE TABLE tenant_$t.t (x int);
			CREATE FUNCTION tenant_$t.work(payload jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT payload';
			CREATE FUNCTION tenant_$t.fails(payload jsonb) RETURNS jsonb LANGUAGE plpgsql AS \$\$ BEGIN RAISE 'failed with %', payload; END \$\$},
			role => "tenant_$t");
	}
	clock($node, 'freeze()');
	clock($node, q{set_time('2031-03-01 12:00:00+00')});

	a($node, q{
		SELECT triggerdo.define_task('a-task', 'tenant_a.work', description => 'swordfish');
		SELECT triggerdo.define_task('a-fails', 'tenant_a.fails');
		SELECT triggerdo.define_task('a-retried', 'tenant_a.fails', retry => '{"maxAttempts":5,"minTimeoutInMs":600000,"maxTimeoutInMs":600000}');
		SELECT triggerdo.grant_task('a-task', 'tenant_c', 'read');
		SELECT triggerdo.grant_task('a-task', 'tenant_c', 'manage')});
	a_works($node, 1);
	b($node, q{
		SELECT triggerdo.define_task('b-task', 'tenant_b.work', description => 'own');
		SELECT triggerdo.define_task('b-fails', 'tenant_b.fails', retry => '{"maxAttempts":2,"minTimeoutInMs":600000,"maxTimeoutInMs":600000}');
		SELECT triggerdo.grant_task('b-task', 'tenant_c', 'read')});
	# (channels that one could guess; the ids of tenant_a's runs are listened for below)
	$listener{$node} = $n->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'tenant_b' ]);
	$listener{$node}->query_safe('LISTEN triggerdo; LISTEN _triggerdo; LISTEN tenant_a; LISTEN "a-task"; LISTEN runs; LISTEN run');
	foreach my $label (qw(final failed retried delayed canceled))
	{
		my %how = (
			failed   => q{'b-fails', '"failed"', max_attempts => 1},
			retried  => q{'b-fails', '"retried"'},
			delayed  => q{'b-task', '"delayed"', delay => '1 day'},
			canceled => q{'b-task', '"canceled"', delay => '1 day'});
		$id{$node}{"mine-$label"} = b($node, 'SELECT triggerdo.trigger_task(' . ($how{$label} // q{'b-task', '"final"', tags => '{t}'}) . ')');
		all_done($node);
		clock($node, q{advance('1 minute')});
		a_works($node, 2);
	}
	b($node, "SELECT triggerdo.cancel_run('$id{$node}{'mine-canceled'}')");
	$id{$node}{'mine-batch'} = b($node, q{SELECT (triggerdo.batch_trigger_task('b-task', '{"\"batch\""}'))[1]});
	all_done($node);
}
# tenant_a's own, which the other server has never seen
foreach my $label (qw(final failed delayed retried))
{
	my %which = (
		final   => q{task = 'a-task' AND status = 'COMPLETED'},
		failed  => q{task = 'a-fails'},
		delayed => q{task = 'a-task' AND status = 'DELAYED'},
		retried => q{task = 'a-retried'});
	$id{with}{"theirs-$label"} = $id{without}{"theirs-$label"} =
	  $node{with}->safe_psql('postgres', "SELECT run_id FROM triggerdo.runs WHERE $which{$label} ORDER BY run_id LIMIT 1");
	like($id{with}{"theirs-$label"}, qr/^[0-9a-f-]{36}$/, "tenant_a has a run that is $label");
}
is($node{without}->safe_psql('postgres', q{SELECT count(*) FROM triggerdo.runs WHERE owner = 'tenant_a'}), '0', 'and on the other server none');

# ---------------------------------------------------------- what tenant_b is told

# The answer to a statement, as text; nothing of it stays.
foreach my $n (values %node)
{
	app($n, q{
		CREATE FUNCTION tenant_b.answer(statement text) RETURNS text LANGUAGE plpgsql AS $$
		DECLARE
			given jsonb; message text; code text; detail text; hint text; context text;
		BEGIN
			IF statement ~ '^CALL' THEN EXECUTE statement;
			ELSE EXECUTE 'SELECT coalesce(jsonb_agg(to_jsonb(x)), ''[]'') FROM (' || statement || ') x' INTO given; END IF;
			RAISE EXCEPTION USING ERRCODE = 'ZZ000', MESSAGE = coalesce(given::text, 'done');
		EXCEPTION WHEN SQLSTATE 'ZZ000' THEN RETURN sqlerrm;
		WHEN OTHERS THEN
			GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, code = RETURNED_SQLSTATE, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
			RETURN concat_ws(' | ', code, message, detail, hint);
		END $$}, role => 'tenant_b');
}

# the same text on both servers: ids of runs by their labels, numbers of processes gone
sub told
{
	my ($node, $statement) = @_;
	my $answer = b($node, 'SELECT tenant_b.answer($statement$' . $statement . '$statement$)');
	my %label = reverse %{ $id{$node} };

	$answer =~ s/\b([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b/$label{$1} ? "<$label{$1}>" : $1 eq $unknown ? $1 : '<new>'/ge;
	$answer =~ s/"pid": \d+/"pid": <pid>/g;
	return $answer;
}

sub same
{
	my ($name, $statement, %opts) = @_;
	my %told;
	foreach my $node (qw(with without))
	{
		(my $s = $statement) =~ s/\{([\w-]+)\}/$id{$node}{$1} \/\/ $unknown/ge;
		$told{$node} = told($node, $s);
	}
	unlike($told{with}, qr/$canary/, "$name: nothing of tenant_a's is in it") unless $opts{quiet};
	# an id of a task is a name, and can be taken
	if ($opts{taken} && $told{with} ne $told{without})
	{
		return like($told{with}, qr/^42501 \| (?:permission denied for|must be owner of) task "a-task" \| /,
			"$name: the id of a task is taken, and nothing else is told");
	}
	return is($told{with}, $told{without}, $name);
}

foreach my $view (split /\n/, $node{with}->safe_psql('postgres',
		q{SELECT relname FROM pg_class WHERE relnamespace = 'triggerdo'::regnamespace AND relkind = 'v' ORDER BY 1}))
{
	same("view $view", "SELECT * FROM triggerdo.$view v ORDER BY to_jsonb(v)->'payload', to_jsonb(v)->'task', to_jsonb(v)::text");
	same("view $view, counted", "SELECT count(*), min(v::text) <> '' AS some FROM triggerdo.$view v", quiet => 1);
}
isnt(b('with', 'SELECT count(*) FROM triggerdo.runs'), '0', '(the views show something)');
is(b('with', 'SELECT count(*) FROM triggerdo.runs'), scalar(grep { /^mine/ } keys %{ $id{with} }), '(its own runs, all of them)');

# Every function and procedure over every kind of id.
my %value = (
	uuid => '{RUN}', 'name' => 'tenant_c', jsonb => '{}', 'jsonb[]' => '{1}', interval => '0',
	'timestamp with time zone' => '2222-02-02', regclass => 'tenant_b.t', integer => '1', bigint => '1',
	numeric => '1', text => 'x', 'text[]' => '{x}', boolean => 'true', 'double precision' => '1');
my %named = (
	task => '{TASK}', id => '{TASK}', privilege => 'read', items => '[{"task":"{TASK}"}]',
	filter => '{"task":"{TASK}"}', timeout => '0', cron => '* * * * *', attempt => '1', level => 'info', policy => '{"randomize":false}');

my $functions = $node{with}->safe_psql('postgres', q{
	SELECT p.proname, p.prokind, i, a.name, a.type, a.i <= p.pronargs - p.pronargdefaults
	  FROM pg_proc p LEFT JOIN LATERAL
		(SELECT row_number() OVER (ORDER BY o) AS i, n AS name, format_type(t, NULL) AS type
		   FROM unnest(coalesce(proallargtypes, proargtypes::oid[]), proargnames, proargmodes) WITH ORDINALITY u(t, n, m, o)
		  WHERE coalesce(m, 'i') IN ('i', 'b', 'v')) a ON true
	 WHERE pronamespace = 'triggerdo'::regnamespace ORDER BY 1, p.oid, 3});
my (%call, %is_procedure, @order);
foreach my $line (split /\n/, $functions)
{
	my ($function, $kind, undef, $name, $type, $required) = split /\|/, $line;
	push @order, $function unless exists $call{$function};
	$call{$function} //= [];
	$is_procedure{$function} = $kind eq 'p';
	next if !$type || ($required ne 't' && $name ne 'timeout');
	my $value = $named{$name} // $value{$type};
	BAIL_OUT("$function: no value for its argument $name of type $type; see %value in $0") unless defined $value;
	push @{ $call{$function} }, "$name => '$value'::$type";
}
cmp_ok(scalar(@order), '>=', 24, 'functions: ' . scalar(@order));
my %subject = (
	(map { ("own, $_" => [ "{mine-$_}", 'b-task' ]) } qw(final failed retried delayed canceled)),
	(map { ("theirs, $_" => [ "{theirs-$_}", 'a-task' ]) } qw(final failed retried delayed)),
	'nobody\'s' => [ "$unknown", 'no-task' ]);
foreach my $function (@order)
{
	my $call = ($is_procedure{$function} ? 'CALL' : 'SELECT * FROM') . " triggerdo.$function(" . join(', ', @{ $call{$function} }) . ')';
	my $of_run = $call =~ /\{RUN\}/;
	my $of_task = $call =~ /\{TASK\}/;
	my @subjects = $of_run ? sort keys %subject : $of_task ? ('own, final', 'theirs, final', 'nobody\'s') : ('own, final');
	foreach my $subject (@subjects)
	{
		my ($run, $task) = @{ $subject{$subject} };
		(my $statement = $call) =~ s/\{RUN\}/$run/g;
		$statement =~ s/\{TASK\}/$task/g;
		same("$function, $subject", $statement, quiet => 1, taken => $of_task && $subject =~ /^theirs/);
	}
}

# ----------------------------------------------- what PostgreSQL shows to everybody

same('sessions but for those of the other role', q{
	SELECT usename, application_name, backend_type, state, query, count(*) FROM pg_stat_activity
	 WHERE usename IS DISTINCT FROM 'tenant_a' AND usename = 'tenant_b' AND pid <> pg_backend_pid() GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5});
is(b('with', q{SELECT DISTINCT application_name, query, backend_type, state, xact_start, query_start FROM pg_stat_activity WHERE usename = 'tenant_a'}),
	'triggerdo executor|<insufficient privilege>||||', "of the other's executors its role's name is seen");
same('objects', q{SELECT n.nspname, c.relname, c.relkind, c.relacl, c.relrowsecurity, c.relnatts, c.reloptions FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE nspname NOT LIKE 'pg\_%' AND nspname NOT IN ('tenant_a', 'information_schema') ORDER BY 1, 2});
same('functions', q{SELECT oid::regprocedure::text, prosrc, proacl FROM pg_proc WHERE pronamespace::regnamespace::text LIKE '%triggerdo%' ORDER BY 1});
same('statistics of values', q{SELECT * FROM pg_stats WHERE schemaname LIKE '%triggerdo'});
is(b('with', q{SELECT count(*) FROM pg_stats WHERE schemaname LIKE '%triggerdo'}), '0', 'which are none');
same('privileges', q{SELECT table_schema, table_name, grantee, privilege_type FROM information_schema.table_privileges WHERE table_schema LIKE '%triggerdo' ORDER BY 1, 2, 3, 4});
same('settings', q{SELECT name, setting FROM pg_settings WHERE name LIKE 'triggerdo%' ORDER BY 1});
same('what it may not read', "SELECT * FROM _triggerdo.$_") foreach qw(task run result attempt live timer role origin admin), '"grant"';

# S07: nothing that tenant_a does is heard, on no channel that one could know
a_works('with', 1);
a('with', "SELECT triggerdo.cancel_run('$id{with}{'theirs-delayed'}')");
foreach my $node (qw(with without))
{
	my $heard = $listener{$node}->query_safe(q{SELECT 'listening'});
	# (on triggerdo without a payload: something has changed)
	$heard =~ s/^Asynchronous notification "triggerdo" received from.*\n//mg;
	is($heard, 'listening', "S07: nothing is heard on the server $node tenant_a");
	$listener{$node}->quit;
}

# and tenant_c, to whom one task was granted, sees it and no other
is(app($node{with}, q{SELECT string_agg(DISTINCT task, ' ') FROM triggerdo.runs}, role => 'tenant_c'), 'a-task b-task', 'what is granted is seen');
is(app($node{with}, q{SELECT string_agg(id, ' ' ORDER BY id) FROM triggerdo.tasks}, role => 'tenant_c'), 'a-task b-task', 'and its definition');

# who administers another database is told no more of this one's than anybody is
$node{with}->safe_psql('postgres', 'CREATE DATABASE elsewhere');
$node{with}->safe_psql('elsewhere', q{CREATE EXTENSION triggerdo; GRANT USAGE ON SCHEMA triggerdo TO tenant_b, tenant_c; SELECT triggerdo.grant_admin('tenant_c')});
my $executors = q{SELECT string_agg(DISTINCT role, ' ' ORDER BY role) FROM triggerdo.workers WHERE kind = 'executor'};
is($node{with}->safe_psql('elsewhere', $executors), 'tenant_a tenant_b', 'a superuser sees the executors of all databases');
is(app($node{with}, $executors, role => 'tenant_b', database => 'elsewhere'), 'tenant_b', 'a role its own');
is(app($node{with}, $executors, role => 'tenant_c', database => 'elsewhere'), '', 'an administrator those of its own database');

# what is documented is what is: the table of docs/ACCESS.md
my ($out, $err) = ('', '');
my $same = IPC::Run::run([ "$FindBin::RealBin/../../scripts/access-doc", '--check' ], '>', \$out, '2>', \$err);
ok($same, 'docs/ACCESS.md is current') or diag($out . $err);

invariants_ok($node{$_}, $_) foreach qw(with without);
done_testing();
