# The load of the ledger of kills: the kinds of tasks, and clients that trigger
# runs of them and write down what they were told.
#
# A client is a process with a session and a file. Before it sends a transaction
# it writes which runs it is about to trigger (by a key in the payload, because
# the id of a run whose COMMIT was not answered may be unknown); after the answer
# what came of it. Each line is flushed to disk before the client goes on:
#
#   T tx key:kind ...        is about to be sent
#   A tx id ...              is committed, for these were answered
#   N tx                     is rolled back, or failed: none of its runs may exist
#   C id                     cancel_run() said true, and that is committed
#   R id                     run_now() is committed
#   F id status attempt at   was seen final, as that
#
# What has a T and neither A nor N is unknown: all of its runs exist, or none.

package TriggerdoLoad;

use strict;
use warnings;

use Exporter qw(import);
use IO::Handle;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time usleep);

use TriggerdoPsql;

our @EXPORT_OK = qw(kinds kind_named define_kinds read_log);

my $line = q{INSERT INTO app.ledger SELECT run_id, '%s', attempt, pg_current_xact_id() FROM triggerdo.current_run();};
my $retry = q{retry => triggerdo.retry_policy(1000, 'fixed', min_delay => '5 ms', max_delay => '50 ms')};
my $backoff = q{retry => triggerdo.retry_policy(1000, 'exponential', min_delay => '20 ms', max_delay => '200 ms')};
my $early = q{IF (SELECT attempt FROM triggerdo.current_run()) < 3};

my $late = q{LINE(done)
	INSERT INTO app.child VALUES ((SELECT CASE WHEN attempt < 3 THEN 2 ELSE 1 END FROM triggerdo.current_run()));};

# One line for each kind of task. What is not said is as for "short".
#
#   id, weight   its name; its share of the load
#   body         what it does; LINE(step) stands for a line in the ledger
#   language     plpgsql
#   form         function, procedure, or command: that is its body then
#   promise      once: its lines are there once and all of one attempt, or not at
#                all; least: they are there, and again where an executor died
#   steps        the lines of a run that has completed
#   end          how it ends when nobody cancels it
#   attempt      the attempt with which that is, at the earliest
#   errors       SQLSTATEs that its attempts may fail with
#   payload      more of it: a function that gives text
#   children     how many runs of "child" each completed one has made
#   define       more arguments of define_task
#
# Every kind may also fail with 57014, because executors are cancelled.
my @kinds = (
	{ id => 'short', weight => 40 },
	{ id => 'child', weight => 0 },
	{ id => 'sql', weight => 8, language => 'sql', body => 'LINE(done)' },
	{ id => 'isolated', weight => 5, define => qq{$retry, options => '{"isolate": true}'} },
	{ id => 'slow', weight => 8, steps => [ 'begin', 'end' ],
		body => 'LINE(begin) PERFORM pg_sleep(0.02 + random() * 0.1); LINE(end)' },
	{ id => 'flaky', weight => 8, attempt => 3, errors => ['P0001'], define => $backoff,
		body => "LINE(done) $early THEN RAISE 'not yet'; END IF;" },
	{ id => 'postponed', weight => 4, attempt => 3, errors => ['TD002'],
		body => "LINE(done) $early THEN PERFORM triggerdo.retry_run_at(clock_timestamp() + '30 ms', 'later'); END IF;" },
	{ id => 'wrong', weight => 3, end => 'FAILED', steps => [], attempt => 1, errors => ['P0001'],
		define => q{retry => triggerdo.retry_policy(2, 'none')}, body => q{LINE(done) RAISE 'never';} },
	{ id => 'aborted', weight => 2, end => 'FAILED', steps => [], errors => ['TD001'],
		body => q{LINE(done) PERFORM triggerdo.abort_run('enough');} },
	{ id => 'late', weight => 6, attempt => 3, errors => ['23503'],
		body => $late },
	{ id => 'serial', weight => 5, errors => ['40001'],
		body => q{LINE(done) IF nextval('app.dice') % 3 = 0 THEN RAISE 'again' USING ERRCODE = 'serialization_failure'; END IF;} },
	{ id => 'transfer', weight => 5, errors => [ '40001', '40P01' ],
		payload => sub { my $from = 1 + int rand 2; return sprintf '"from": %d, "to": %d', $from, 3 - $from },
		body => q{LINE(done) UPDATE app.account SET n = n + 1 WHERE id = (payload ->> 'from')::int;
			PERFORM pg_sleep(0.002);
			UPDATE app.account SET n = n - 1 WHERE id = (payload ->> 'to')::int;} },
	{ id => 'fork', weight => 4, attempt => 2, errors => ['P0001'], children => 2,
		body => q{LINE(done) PERFORM triggerdo.trigger_task('child');
			PERFORM triggerdo.trigger_task('child', delay => '20 ms');
			IF (SELECT attempt FROM triggerdo.current_run()) < 2 THEN RAISE 'after the fork'; END IF;} },
	{ id => 'suicide', weight => 0.3,
		body => q{LINE(done) IF nextval('app.dice') % 4 = 0 THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;} },
	{ id => 'timed', weight => 1, end => 'TIMED_OUT', steps => [], errors => ['TD004'],
		body => 'LINE(begin) PERFORM pg_sleep(10);', define => qq{$retry, max_duration => '100 ms'} },
	{ id => 'procedure', weight => 4, form => 'procedure' },
	{ id => 'long-procedure', weight => 4, form => 'procedure', steps => [ 'begin', 'end' ],
		body => 'LINE(begin) PERFORM pg_sleep(random() * 0.1); LINE(end)' },
	{ id => 'flaky-procedure', weight => 3, form => 'procedure', attempt => 3, errors => ['P0001'], define => $backoff,
		body => "LINE(done) $early THEN RAISE 'not yet'; END IF;" },
	{ id => 'late-procedure', weight => 2, form => 'procedure', attempt => 3, errors => ['23503'], body => $late },
	{ id => 'committing', weight => 3, form => 'procedure', promise => 'least', steps => [ 'begin', 'end' ],
		body => 'LINE(begin) COMMIT; PERFORM pg_sleep(random() * 0.02); LINE(end)',
		define => qq{$retry, options => '{"ownCommits": true}'} },
	{ id => 'command', weight => 3, form => 'command', promise => 'least', body => 'LINE(done)' },
	{ id => 'long-command', weight => 2, form => 'command', promise => 'least', steps => [ 'begin', 'end' ],
		body => 'LINE(begin) SELECT pg_sleep(random() * 0.1); LINE(end)' },
	{ id => 'vacuum', weight => 1, form => 'command', promise => 'least', steps => [], body => 'VACUUM app.account' },
);

foreach my $kind (@kinds)
{
	my %defaults = (
		body => 'LINE(done)', language => 'plpgsql', form => 'function', promise => 'once',
		steps => ['done'], end => 'COMPLETED', attempt => 1, errors => [], children => 0, define => $retry);

	$kind->{$_} //= $defaults{$_} foreach keys %defaults;
	$kind->{body} =~ s/LINE\((\w+)\)/sprintf $line, $1/ge;
}
my %named = map { $_->{id} => $_ } @kinds;

sub kinds { return grep { !$_->{absent} } @kinds }
sub kind_named { return $named{ $_[0] } }

# The tables and the tasks, all of role "app". A kind that this version cannot
# define (0A000) is left out; gives the names of those.
sub define_kinds
{
	my ($node) = @_;
	my $session = TriggerdoPsql->new($node, user => 'app');
	my @absent;

	$session->ask(q{
		CREATE TABLE app.ledger (run uuid, step text, attempt int, xid xid8);
		CREATE TABLE app.account (id int PRIMARY KEY, n bigint NOT NULL DEFAULT 0);
		INSERT INTO app.account SELECT generate_series(1, 2);
		CREATE TABLE app.parent (id int PRIMARY KEY);
		INSERT INTO app.parent VALUES (1);
		CREATE TABLE app.child (id int REFERENCES app.parent DEFERRABLE INITIALLY DEFERRED);
		CREATE SEQUENCE app.dice;});
	foreach my $kind (@kinds)
	{
		my $id = $kind->{id};
		(my $name = "app.task_$id") =~ tr/-/_/;
		my $what = "run => '$name'";

		if ($kind->{form} eq 'command')
		{
			$what = "command => \$command\$$kind->{body}\$command\$";
		}
		elsif ($kind->{form} eq 'procedure')
		{
			$session->ask("CREATE PROCEDURE $name(payload jsonb, INOUT result jsonb) LANGUAGE plpgsql
				AS \$body\$ BEGIN $kind->{body} result := payload; END \$body\$;");
		}
		elsif ($kind->{language} eq 'sql')
		{
			$session->ask("CREATE FUNCTION $name(payload jsonb) RETURNS jsonb LANGUAGE sql
				AS \$body\$ $kind->{body} SELECT payload \$body\$;");
		}
		else
		{
			$session->ask("CREATE FUNCTION $name(payload jsonb) RETURNS jsonb LANGUAGE plpgsql
				AS \$body\$ BEGIN $kind->{body} RETURN payload; END \$body\$;");
		}
		my $answer = $session->ask("SELECT triggerdo.define_task('$id', $what, $kind->{define});");
		if ($answer->{state} eq '0A000' || ($kind->{form} eq 'procedure' && $answer->{state} eq '42809'))
		{
			$kind->{absent} = 1;
			push @absent, $id;
		}
		elsif ($answer->{lost} || $answer->{state})
		{
			die "task $id: @{ $answer->{lines} }";
		}
	}
	$session->disconnect;
	return @absent;
}

# ------------------------------------------------------------------ one client

# new(NODE, number => N, folder => DIR)
sub new
{
	my ($class, $node, %opts) = @_;
	my $file = "$opts{folder}/client.$opts{number}";

	open my $log, '>', $file or die "$file: $!";
	return bless {
		leader => $opts{leader} // getppid, number => $opts{number}, folder => $opts{folder}, log => $log, tx => 0, acked => 0, known => [], final => {},
		session => TriggerdoPsql->new($node, user => 'app', name => "ledger client $opts{number}",
			setup => "SET statement_timeout = '20s';")
	}, $class;
}

sub note
{
	my ($self, @words) = @_;

	print { $self->{log} } "@words\n";
	$self->{log}->flush;
	$self->{log}->sync;
	return;
}

sub pick
{
	my @list = kinds();
	my $sum = 0;
	$sum += $_->{weight} foreach @list;
	my $at = rand $sum;
	foreach my $kind (@list)
	{
		return $kind if ($at -= $kind->{weight}) < 0;
	}
	return $list[0];
}

# N runs to be triggered, of any kind or that one
sub plan
{
	my ($self, $n, $id) = @_;
	my $tx = "$self->{number}." . ++$self->{tx};
	my @runs;

	foreach my $i (1 .. $n)
	{
		my $kind = $id ? $named{$id} : pick();
		my $more = $kind->{payload} ? ', ' . $kind->{payload}->() : '';
		push @runs, { key => "$tx.$i", kind => $kind->{id}, payload => qq{{"key": "$tx.$i"$more}} };
	}
	return { tx => $tx, runs => \@runs };
}

sub announce
{
	my ($self, $plan) = @_;

	$self->note('T', $plan->{tx}, map { "$_->{key}:$_->{kind}" } @{ $plan->{runs} });
	return;
}

sub ids
{
	return grep { /^[0-9a-f]{8}-[0-9a-f]{4}-7/ } @{ $_[0]->{lines} };
}

sub committed
{
	my ($self, $plan, @ids) = @_;

	die "$plan->{tx}: " . @ids . ' ids for ' . @{ $plan->{runs} } . " runs: $self->{session}{said}" if @ids != @{ $plan->{runs} };
	$self->note('A', $plan->{tx}, @ids);
	$self->{acked} += @ids;
	push @{ $self->{known} }, @ids;
	splice @{ $self->{known} }, 0, @{ $self->{known} } - 200 if @{ $self->{known} } > 200;
	return @ids;
}

sub trigger
{
	my ($run, $delay) = @_;
	my $how = defined $delay ? ", delay => '$delay ms'" : '';

	return "SELECT triggerdo.trigger_task('$run->{kind}', '$run->{payload}'$how);";
}

sub maybe_delay { return rand() < 0.15 ? 1 + int rand 800 : undef }

# One statement that commits by itself; $how makes it out of a plan.
sub at_once
{
	my ($self, $plan, $sql) = @_;

	$self->announce($plan);
	my $answer = $self->{session}->ask($sql);
	if ($answer->{unsent} || $answer->{state} && !$answer->{lost})
	{
		$self->note('N', $plan->{tx});
	}
	elsif (!$answer->{lost})
	{
		return $self->committed($plan, ids($answer));
	}
	return;
}

# A transaction that stays open for a while, then ends with that word.
sub in_transaction
{
	my ($self, $plan, $body, $end) = @_;

	$self->announce($plan);
	my $first = $self->{session}->ask("BEGIN;\n$body");
	return $self->note('N', $plan->{tx}) if $first->{lost};
	if ($first->{state})
	{
		$self->{session}->ask('ROLLBACK;');
		return $self->note('N', $plan->{tx});
	}
	my $last = $self->{session}->ask("$end;");
	# nothing was sent, or all but the word that would have made it last
	return $self->note('N', $plan->{tx}) if $last->{unsent} || $end eq 'ROLLBACK';
	return if $last->{lost};
	if ($last->{state} || grep { $_ eq 'ROLLBACK' } @{ $last->{lines} })
	{
		return $self->note('N', $plan->{tx});
	}
	return $self->committed($plan, ids($first));
}

sub single
{
	my ($self, $id, $delay) = @_;
	my $plan = $self->plan(1, $id);

	return $self->at_once($plan, trigger($plan->{runs}[0], $delay // maybe_delay()));
}

sub open_transaction
{
	my ($self) = @_;
	my $plan = $self->plan(2 + int rand 30);
	my $sql = join "\n", map { trigger($_, maybe_delay()) . (rand() < 0.1 ? 'SELECT pg_sleep(0.01);' : '') } @{ $plan->{runs} };

	return $self->in_transaction($plan, $sql, rand() < 0.85 ? 'COMMIT' : 'ROLLBACK');
}

sub savepoint
{
	my ($self) = @_;
	my ($kept, $undone) = ($self->plan(3), $self->plan(2));
	my @kept = map { trigger($_) } @{ $kept->{runs} };
	my @undone = map { trigger($_) . "\n" } @{ $undone->{runs} };

	$self->announce($undone);
	$self->note('N', $undone->{tx});
	# (what it answers is of no use, so it is thrown away)
	return $self->in_transaction($kept,
		"$kept[0]\nSAVEPOINT s;\n\\o /dev/null\n@undone\n\\o\nROLLBACK TO s;\n$kept[1]\n$kept[2]", 'COMMIT');
}

sub batch
{
	my ($self) = @_;
	my $plan = $self->plan(5 + int rand 30, 'short');
	my $list = join ', ', map { "'$_->{payload}'" } @{ $plan->{runs} };

	return $self->at_once($plan, "SELECT unnest(triggerdo.batch_trigger_task('short', ARRAY[$list]::jsonb[]));");
}

sub mixed_batch
{
	my ($self) = @_;
	my $plan = $self->plan(5 + int rand 20);
	my $items = join ', ', map { qq({"task": "$_->{kind}", "payload": $_->{payload}}) } @{ $plan->{runs} };

	return $self->at_once($plan, "SELECT run_id FROM triggerdo.trigger_batch('[$items]') ORDER BY index;");
}

# What is prepared outlives every crash: it is asked for until it is known.
sub prepared
{
	my ($self, $end) = @_;
	my $plan = $self->plan(1 + int rand 5);
	my $session = $self->{session};
	my $name = "ledger-$plan->{tx}";

	$end //= rand() < 0.8 ? 'COMMIT' : 'ROLLBACK';
	$self->announce($plan);
	my $answer = $session->ask(join "\n", 'BEGIN;', (map { trigger($_, maybe_delay()) } @{ $plan->{runs} }));
	return $self->note('N', $plan->{tx}) if $answer->{lost};
	my @ids = ids($answer);
	my $prepared = $session->ask("PREPARE TRANSACTION '$name';");
	if ($answer->{state} || $prepared->{state})
	{
		$session->ask('ROLLBACK;');
		return $self->note('N', $plan->{tx}) unless $prepared->{lost};
	}
	my $sure = !$prepared->{lost};
	usleep(int rand 200_000);
	while (1)
	{
		if (!defined $session->wait_for_server(120))
		{
			die "no server for transaction $name";
		}
		my $last = $session->ask("$end PREPARED '$name';");
		next if $last->{lost};
		# it is not there: it never was, or an answer was lost after this very word
		if ($last->{state} eq '42704' && !$sure && !$self->{tried}{$name} || $end eq 'ROLLBACK')
		{
			return $self->note('N', $plan->{tx});
		}
		return if $last->{state} eq '42704' && !$sure;
		die "$name: @{ $last->{lines} }" if $last->{state} && $last->{state} ne '42704';
		return $self->committed($plan, @ids);
	}
	continue
	{
		$self->{tried}{$name} = 1;
	}
}

sub some_run
{
	my ($self, $newest) = @_;
	my $known = $self->{known};

	return undef unless @$known;
	return $known->[ @$known - 1 - int rand($newest < @$known ? $newest : @$known) ];
}

sub cancel
{
	my ($self) = @_;
	my $id = rand() < 0.5 ? ($self->single(undef, 300 + int rand 500))[0] : $self->some_run(20);

	return unless defined $id && $id =~ /-/;
	usleep(int rand 100_000) if rand() < 0.5;
	my $answer = $self->{session}->ask("SELECT triggerdo.cancel_run('$id');");
	$self->note('C', $id) if !$answer->{lost} && !$answer->{state} && ($answer->{lines}[0] // '') eq 't';
	return;
}

# of its own transaction, and of one that executors race for
sub run_now
{
	my ($self) = @_;
	my $plan = $self->plan(1, 'short');

	if (rand() < 0.5)
	{
		(my $first = trigger($plan->{runs}[0])) =~ s/;$/ AS id \\gset/;
		my @ids = $self->in_transaction($plan,
			"$first\n\\echo :id\n\\o /dev/null\nSELECT triggerdo.run_now(:'id');\n\\o", rand() < 0.8 ? 'COMMIT' : 'ROLLBACK');
		$self->note('R', $ids[0]) if @ids && $ids[0] =~ /-/;
		return;
	}
	my @ids = $self->at_once($plan, trigger($plan->{runs}[0]));
	return unless @ids && $ids[0] =~ /-/;
	my $answer = $self->{session}->ask("SELECT triggerdo.run_now('$ids[0]');");
	$self->note('R', $ids[0]) unless $answer->{lost} || $answer->{state};
	return;
}

# what is seen final must stay so
sub observe
{
	my ($self, $newest) = @_;
	my @list = grep { defined && !$self->{final}{$_} } map { $self->some_run($newest // 200) } 1 .. 10;

	return unless @list;
	my $answer = $self->{session}->ask(sprintf q{
		SELECT run_id, status, attempt, extract(epoch FROM finished_at) FROM triggerdo.runs
		 WHERE run_id IN (%s) AND finished_at IS NOT NULL;}, join ', ', map { "'$_'" } @list);
	return if $answer->{state};
	foreach my $seen (@{ $answer->{lines} })
	{
		my @columns = split /\|/, $seen;
		next unless @columns == 4 && !$self->{final}{ $columns[0] }++;
		$self->note('F', @columns);
	}
	return;
}

my @operations = ([ 30, \&single ], [ 14, \&open_transaction ], [ 8, \&batch ], [ 8, \&mixed_batch ], [ 5, \&savepoint ],
	[ 5, \&prepared ], [ 8, \&cancel ], [ 6, \&run_now ], [ 16, \&observe ]);

sub operate
{
	my ($self) = @_;
	my $at = rand 100;

	foreach my $operation (@operations)
	{
		next if ($at -= $operation->[0]) >= 0;
		# (no server: not a loop that does nothing but write)
		usleep(20_000), return unless $self->{session}->connect;
		$operation->[1]->($self);
		return;
	}
	return;
}

# What the one who leads says, in the file "go": "run N" (so many runs in all,
# then rest), "pause M" (say so in a file, and rest), "stop".
sub obey
{
	my ($self) = @_;

	while (1)
	{
		my ($word, $n) = split ' ', eval { slurp_file("$self->{folder}/go") } // '';
		# (or the one who leads is gone)
		last if ($word // '') eq 'stop' || getppid != $self->{leader};
		if (($word // '') eq 'run' && $self->{acked} < $n)
		{
			$self->operate;
			next;
		}
		# (while all others are silent: a COMMIT of somebody else's would flush what
		# is seen, whether or not it was flushed before it was shown)
		$self->observe(30) if ($word // '') eq 'run' && $self->{session}->connect;
		if (($word // '') eq 'pause' && ($self->{paused} // '') ne $n)
		{
			$self->{paused} = $n;
			append_to_file("$self->{folder}/paused.$n", "$self->{number}\n");
		}
		usleep(5_000);
	}
	$self->{session}->disconnect;
	return;
}

# --------------------------------------------------------- what was written down

# read_log(FOLDER): what all clients wrote, as one
sub read_log
{
	my ($folder) = @_;
	my %log = (tx => {}, key => {}, acked => {}, cancelled => {}, run_now => {}, final => []);

	foreach my $file (glob "$folder/client.*")
	{
		foreach my $entry (split /\n/, slurp_file($file))
		{
			my ($type, $first, @rest) = split ' ', $entry;
			if ($type eq 'T')
			{
				my $tx = $log{tx}{$first} = { keys => [], end => 'unknown' };
				foreach my $run (@rest)
				{
					my ($key, $kind) = split /:/, $run;
					push @{ $tx->{keys} }, $key;
					$log{key}{$key} = { tx => $tx, kind => $kind };
				}
			}
			elsif ($type eq 'A')
			{
				my $tx = $log{tx}{$first};
				$tx->{end} = 'acked';
				$log{acked}{ $rest[$_] } = $tx->{keys}[$_] foreach 0 .. $#rest;
			}
			elsif ($type eq 'N') { $log{tx}{$first}{end} = 'never' }
			elsif ($type eq 'C') { $log{cancelled}{$first} = 1 }
			elsif ($type eq 'R') { $log{run_now}{$first} = 1 }
			elsif ($type eq 'F') { push @{ $log{final} }, [ $first, @rest ] }
		}
	}
	return \%log;
}

1;
