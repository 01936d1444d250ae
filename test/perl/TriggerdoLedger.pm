# The ledger of kills: clients trigger runs of every kind, a leader kills what
# runs them, and the books must balance. No key is on the ledger: a run whose
# effects came twice has too many lines, one that was lost too few.
#
#   ledger_of_kills(kills => 30, runs => 3000, seed => 1, clients => 3, quiet => 2)
#
# plans no tests, makes many; one seed decides all choices, though not the
# moments at which processes get their turn.

package TriggerdoLedger;

use strict;
use warnings;

use Exporter qw(import);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time usleep);

use TriggerdoFaults qw(schedule);
use TriggerdoLoad qw(kinds kind_named define_kinds read_log);
use TriggerdoTest qw(node setup_app invariants_ok);

our @EXPORT_OK = qw(ledger_of_kills);

# a run that an idle server is given ends within so many seconds
my $PROMPT = 5;

# what the server may say in its log though it is not of every day; all else
# that looks like a fault of the server is one
my $alarming = qr/\bPANIC:|TRAP:|\bcould not\b|was terminated by signal (?!9\b)|tuple concurrently|invalid|corrupt|unexpected|orphan/;
my @expected = (
	qr/could not (?:receive data from|send data to) client/,
	qr/invalid record length|invalid magic number|unexpected pageaddr|invalid contrecord|record with incorrect prev-link/,
	qr/incorrect resource manager data checksum|invalid resource manager ID|missing contrecord/,
	qr/unexpected EOF on client connection|unexpected postmaster exit/,
	# (a commit failed, and when that was to be recorded another executor had the run)
	qr/could not serialize access|could not run a batch: (?:deadlock|could not serialize|insert or update on table "child")/,
);

# ------------------------------------------------------------------ the balance

# the rows, by run
sub read_tables
{
	my ($node) = @_;
	my (%run, %line);

	foreach my $row (split /\n/, $node->safe_psql('postgres', q{
			SELECT v.run_id, v.task, v.status, v.attempt, v.payload ->> 'key', v.parent_run_id,
				   extract(epoch FROM v.finished_at), r.xmin
			  FROM triggerdo.runs v LEFT JOIN _triggerdo.result r USING (run_id)}))
	{
		my @c = split /\|/, $row, -1;
		$run{ $c[0] } = { id => $c[0], task => $c[1], status => $c[2], attempt => $c[3], key => $c[4],
			parent => $c[5], finished => $c[6], xmin => $c[7], attempts => [] };
	}
	foreach my $row (split /\n/, $node->safe_psql('postgres', 'SELECT run, step, attempt, xid FROM app.ledger'))
	{
		my @c = split /\|/, $row;
		push @{ $line{ $c[0] } }, { step => $c[1], attempt => $c[2], xid => $c[3] };
	}
	foreach my $row (split /\n/, $node->safe_psql('postgres', q{
			SELECT run_id, attempt, error ->> 'sqlstate', extract(epoch FROM started_at)
			  FROM triggerdo.attempts WHERE error IS NOT NULL ORDER BY 1, 2}))
	{
		my @c = split /\|/, $row;
		push @{ $run{ $c[0] }{attempts} }, { attempt => $c[1], state => $c[2], started => $c[3] };
	}
	return (\%run, \%line);
}

# every enqueue that was answered is there, once; no other is
sub check_enqueues
{
	my ($log, $run, $bad) = @_;
	my %keys;

	push @{ $keys{ $_->{key} } }, $_ foreach grep { $_->{key} ne '' } values %$run;
	foreach my $id (keys %{ $log->{acked} })
	{
		my $found = $run->{$id};
		push @{ $bad->{'lost: committed, and not there'} }, $id unless $found;
		push @{ $bad->{'the run is the one that was triggered'} }, $id
		  if $found && ($found->{key} ne $log->{acked}{$id} || $found->{task} ne $log->{key}{ $found->{key} }{kind});
	}
	foreach my $tx (values %{ $log->{tx} })
	{
		my @there = grep { $keys{$_} } @{ $tx->{keys} };
		push @{ $bad->{'rolled back, and there'} }, @there if $tx->{end} eq 'never';
		push @{ $bad->{'half of a transaction'} }, "@{ $tx->{keys} }: @there" if @there && @there < @{ $tx->{keys} };
	}
	foreach my $key (keys %keys)
	{
		push @{ $bad->{'doubled: triggered once, there twice'} }, $key if @{ $keys{$key} } > 1;
		push @{ $bad->{'nobody triggered it'} }, $key unless $log->{key}{$key};
	}
	return;
}

# the lines of one run against its end
sub check_effects
{
	my ($run, $kind, $lines, $bad) = @_;
	my %count;

	$count{"$_->{step} $_->{attempt}"}++ foreach @$lines;
	if ($kind->{promise} eq 'least')
	{
		$bad->{repeated} += $_ - 1 foreach values %count;
	}
	elsif (grep { $_ > 1 } values %count)
	{
		push @{ $bad->{'doubled: a line twice'} }, "$run->{task} $run->{id}";
	}
	if ($run->{status} ne 'COMPLETED')
	{
		push @{ $bad->{'an effect without success'} }, "$run->{task} $run->{id} $run->{status}"
		  if @$lines && $kind->{promise} eq 'once';
		return;
	}
	my %step = map { $_->{step} => 1 } @$lines;
	push @{ $bad->{'lost: success without its effect'} }, "$run->{task} $run->{id}"
	  if grep { !$step{$_} } @{ $kind->{steps} };
	return unless $kind->{promise} eq 'once';
	push @{ $bad->{'doubled: more lines than steps'} }, "$run->{task} $run->{id}" if @$lines > @{ $kind->{steps} };
	push @{ $bad->{'an effect of another attempt'} }, "$run->{task} $run->{id}"
	  if grep { $_->{attempt} != $run->{attempt} } @$lines;
	# (result and effects in one transaction: that is what makes it once)
	push @{ $bad->{'effect and result of two transactions'} }, "$run->{task} $run->{id}"
	  if grep { $_->{xid} % 2**32 != $run->{xmin} } @$lines;
	return;
}

sub check_end
{
	my ($run, $kind, $log, $bad) = @_;
	my $what = "$run->{task} $run->{id} $run->{status} attempt $run->{attempt}";
	my ($number, $started) = (0, 0);

	push @{ $bad->{'lost: not final'} }, $what if $run->{finished} eq '';
	push @{ $bad->{'ended otherwise than it should'} }, $what
	  if $run->{finished} ne '' && $run->{status} ne $kind->{end} && $run->{status} ne 'CANCELED';
	push @{ $bad->{'cancelled, and did not end so'} }, $what
	  if $log->{cancelled}{ $run->{id} } && $run->{status} ne 'CANCELED';
	push @{ $bad->{'run_now committed, and not completed'} }, $what
	  if $log->{run_now}{ $run->{id} } && $run->{status} ne 'COMPLETED';
	push @{ $bad->{'fewer attempts than it needs'} }, $what
	  if $run->{status} eq 'COMPLETED' && $run->{attempt} < $kind->{attempt};
	foreach my $attempt (@{ $run->{attempts} })
	{
		push @{ $bad->{'attempts rise'} }, $what
		  if $attempt->{attempt} != ++$number || $attempt->{started} < $started || $number > $run->{attempt};
		$started = $attempt->{started};
		push @{ $bad->{'an attempt failed of something else'} }, "$what: $attempt->{state}"
		  if $run->{status} ne 'CANCELED' && !grep { $_ eq $attempt->{state} } '57014', @{ $kind->{errors} };
	}
	push @{ $bad->{'an attempt was burnt'} }, $what
	  if $run->{status} eq 'COMPLETED' && $run->{attempt} != $number + 1;
	return;
}

sub check_children
{
	my ($run, $bad) = @_;
	my %children;

	foreach my $child (values %$run)
	{
		next if $child->{parent} eq '';
		my $parent = $run->{ $child->{parent} };
		$children{ $child->{parent} }++;
		push @{ $bad->{'a child without success of its parent'} }, $child->{id}
		  unless $parent && $parent->{status} eq 'COMPLETED' && kind_named($parent->{task})->{children};
	}
	foreach my $parent (values %$run)
	{
		next unless $parent->{status} eq 'COMPLETED';
		push @{ $bad->{'children are as many as there should be'} }, $parent->{id}
		  if ($children{ $parent->{id} } // 0) != kind_named($parent->{task})->{children};
	}
	return;
}

# every question the books must answer; the tests bear these names
my @questions = (
	'lost: committed, and not there', 'lost: not final', 'lost: success without its effect',
	'doubled: triggered once, there twice', 'doubled: a line twice', 'doubled: more lines than steps',
	'the run is the one that was triggered', 'rolled back, and there', 'half of a transaction', 'nobody triggered it',
	'an effect without success', 'an effect of another attempt', 'effect and result of two transactions',
	'an effect of no run', 'ended otherwise than it should', 'cancelled, and did not end so',
	'run_now committed, and not completed', 'fewer attempts than it needs', 'attempts rise',
	'an attempt failed of something else', 'an attempt was burnt', 'a final run has changed',
	'a child without success of its parent', 'children are as many as there should be');

# balance(COURSE, NAME): a test for each question; true when all is well
sub balance
{
	my ($course, $name) = @_;
	my $log = read_log($course->{folder});
	my ($run, $line) = read_tables($course->{node});
	my %bad = (repeated => 0);
	my $well = 1;

	check_enqueues($log, $run, \%bad);
	foreach my $id (keys %$run)
	{
		my $kind = kind_named($run->{$id}{task});
		check_effects($run->{$id}, $kind, $line->{$id} // [], \%bad);
		check_end($run->{$id}, $kind, $log, \%bad);
	}
	check_children($run, \%bad);
	push @{ $bad{'an effect of no run'} }, grep { !$run->{$_} } keys %$line;
	foreach my $seen (@{ $log->{final} })
	{
		my ($id, $status, $attempt, $at) = @$seen;
		my $now = $run->{$id};
		push @{ $bad{'a final run has changed'} }, "@$seen"
		  unless $now && $now->{status} eq $status && $now->{attempt} == $attempt && $now->{finished} eq $at;
	}
	# (all that were final when the books were closed before)
	foreach my $id (keys %{ $course->{ends} })
	{
		push @{ $bad{'a final run has changed'} }, "$id $course->{ends}{$id}"
		  if !$run->{$id} || join(' ', @{ $run->{$id} }{qw(status attempt finished xmin)}) ne $course->{ends}{$id};
	}
	$course->{ends} = { map { $_->{id} => join ' ', @$_{qw(status attempt finished xmin)} } grep { $_->{finished} ne '' } values %$run };
	foreach my $question (@questions)
	{
		my @list = @{ $bad{$question} // [] };
		is(scalar @list, 0, "$name: $question") and next;
		$well = 0;
		diag(join "\n", grep { defined } @list[ 0 .. 9 ]);
	}
	# (what is done at least once: again only where an executor died over it)
	cmp_ok($bad{repeated}, '<=', $course->{faults}->lost_at_most, "$name: no more is repeated than was cut off") or $well = 0;
	note(sprintf '%s: %d runs, %d lines, %d transactions (%d unknown), %d ends seen', $name, scalar keys %$run,
		scalar(map { @$_ } values %$line), scalar keys %{ $log->{tx} },
		scalar(grep { $_->{end} eq 'unknown' } values %{ $log->{tx} }), scalar @{ $log->{final} });
	return ($well, $log, $run);
}

# -------------------------------------------------------------------- the course

sub say_to_clients
{
	my ($course, $what) = @_;
	my $file = "$course->{folder}/go";

	# (in one piece: somebody may be reading)
	open my $new, '>', "$file.new" or die "$file.new: $!";
	print $new "$what\n";
	close $new;
	rename "$file.new", $file or die "$file: $!";
	return;
}

sub start_client
{
	my ($course, $number) = @_;
	my $leader = $$;
	my $pid = fork // die "fork: $!";

	return $pid if $pid;
	# Leaves without the ends of Test::More and of the server's module.
	srand($course->{seed} * 1000 + $number);
	my $ok = eval {
		TriggerdoLoad->new($course->{node}, number => $number, folder => $course->{folder}, leader => $leader)->obey;
		1;
	};
	append_to_file("$course->{folder}/died", "client $number: $@\n") unless $ok;
	require POSIX;
	POSIX::_exit($ok ? 0 : 1);
}

sub waits_for
{
	my ($seconds, $code) = @_;
	my $deadline = time + $seconds;

	until ($code->())
	{
		return 0 if time > $deadline;
		usleep(10_000);
	}
	return 1;
}

# What an idle server is given is done promptly: no fault hides a lost wake-up
# here, and no other run mends one.
sub prompt_ok
{
	my ($course, $name) = @_;
	my $client = $course->{client};
	my %probe = (
		'a run' => sub { $client->single('short', 0) },
		'a delayed run' => sub { $client->single('short', 300) },
		'a run that is tried again' => sub { $client->single('flaky', 0) },
		'a prepared run' => sub { $client->prepared('COMMIT') });

	foreach my $what (sort keys %probe)
	{
		# everybody has gone to sleep
		usleep(700_000);
		# (the session may be of a server long gone)
		$client->{session}->wait_for_server(30);
		my @ids = $probe{$what}->();
		my $begin = time;
		my $done = @ids && waits_for($PROMPT, sub {
			my $left = $course->{faults}{session}->value('SELECT count(*) FROM _triggerdo.live;');
			return defined $left && $left eq '0' });
		ok($done, "$name: $what is done within $PROMPT s") or return 0;
		push @{ $course->{prompt}{$what} }, time - $begin;
	}
	return 1;
}

# Nobody triggers, nothing is left: the books must balance. True when they do.
sub quiet_point
{
	my ($course, $name) = @_;
	my $session = $course->{faults}{session};
	my $paused = "$course->{folder}/paused." . ++$course->{pauses};
	my $begin = time;

	say_to_clients($course, "pause $course->{pauses}");
	my $rests = waits_for(90, sub {
		return 1 if -e "$course->{folder}/died";
		return -e $paused && split(/\n/, slurp_file($paused)) == $course->{clients} });
	is(-e "$course->{folder}/died" ? slurp_file("$course->{folder}/died") : $rests ? '' : 'not at rest', '', "$name: the clients rest")
	  or return 0;
	my $drained = waits_for($course->{drain}, sub { return ($session->value('SELECT count(*) FROM _triggerdo.live;') // 1) eq '0' });
	ok($drained, "$name: the queue drains")
	  or diag($course->{node}->safe_psql('postgres', q{
			SELECT l.*, r.task, t.due, now() FROM _triggerdo.live l LEFT JOIN triggerdo.runs r USING (run_id)
			  LEFT JOIN _triggerdo.timer t USING (run_id) LIMIT 10; SELECT * FROM triggerdo.workers}));
	$course->{drains} .= sprintf ' %.1f', time - $begin;
	is($course->{node}->safe_psql('postgres', 'SELECT count(*) FROM pg_prepared_xacts'), '0', "$name: nothing is left prepared");
	my $well = invariants_ok($course->{node}, $name);
	is($course->{node}->safe_psql('postgres', 'SELECT sum(n) FROM app.account'), '0', "$name: no transfer is half done");
	my ($balanced) = balance($course, $name);
	return $drained && $well && $balanced && prompt_ok($course, $name);
}

# A claim that outlives its transaction has an owner, but for the moments in
# which that one's end is noticed.
sub watch_claims
{
	my ($course) = @_;
	my $answer = $course->{faults}{session}->ask(q{
		SELECT l.run_id FROM _triggerdo.live l WHERE l.claim IS NOT NULL
		   AND NOT EXISTS (SELECT FROM triggerdo.workers w JOIN pg_stat_activity a USING (pid) WHERE w.run_id = l.run_id);});
	my $now = time;

	return if $answer->{lost} || $answer->{state};
	my %now = map { $_ => $course->{unowned}{$_} // $now } @{ $answer->{lines} };
	$course->{unowned} = \%now;
	foreach my $id (keys %now)
	{
		$course->{orphaned}{$id} = 1 if $now - $now{$id} > 5;
	}
	return;
}

sub check_log
{
	my ($node) = @_;
	my %seen;

	open my $file, '<', $node->logfile or die $node->logfile . ": $!";
	while (my $text = <$file>)
	{
		next unless $text =~ $alarming;
		# (what tasks and clients are told is theirs)
		next if $text =~ /\b(?:STATEMENT|CONTEXT|DETAIL|HINT|QUERY):/ || grep { $text =~ $_ } @expected;
		$text =~ s/^\S+ \S+ \S+ \[\d+\] //;
		$text =~ s/\d+/N/g;
		$seen{$text}++;
	}
	is(join('', map { "$seen{$_} x $_" } sort keys %seen), '', 'the server log has nothing unexpected');
	return;
}

sub summary
{
	my ($course, $log, $run) = @_;
	my $faults = $course->{faults};
	my (%ends, $attempts);

	foreach my $one (values %$run)
	{
		$ends{ $one->{task} }{ $one->{status} }++;
		$attempts += @{ $one->{attempts} };
	}
	my @recovery = sort { $a <=> $b } @{ $faults->{recovery} };
	diag(join "\n", '',
		sprintf('seed %d: %d runs (%d acknowledged), %d kills among %d faults, in %.0f s',
			$course->{seed}, scalar keys %$run, scalar keys %{ $log->{acked} }, $course->{kills}, $course->{struck}, time - $course->{begin}),
		(map { sprintf '  %4d  %s', $faults->{done}{$_}, $_ } sort keys %{ $faults->{done} }),
		sprintf('  %d times the server went down; connections again after %.2f s (median), %.2f s (most)',
			$faults->{crashes}, $recovery[ @recovery / 2 ] // 0, $recovery[-1] // 0),
		sprintf('  %d of %d faults for executors met a run in hand; %d transactions of unknown end',
			$faults->{busy}, $faults->{targets}, scalar(grep { $_->{end} eq 'unknown' } values %{ $log->{tx} })),
		sprintf('  %d attempts failed, %d cancels and %d run_now committed, %d ends seen before the end; drained in%s s',
			$attempts, scalar keys %{ $log->{cancelled} }, scalar keys %{ $log->{run_now} }, scalar @{ $log->{final} }, $course->{drains}),
		(map { my $task = $_; '  ' . join ' ', $task, map { "$_ $ends{$task}{$_}" } sort keys %{ $ends{$task} } } sort keys %ends),
		(map { sprintf '  %s on an idle server: %s s', $_, join ' ', map { sprintf '%.2f', $_ } @{ $course->{prompt}{$_} } }
			sort keys %{ $course->{prompt} }));
	return;
}

# the faults, one after the other; true when every quiet point was well
sub run_course
{
	my ($course) = @_;
	my @faults = schedule($course->{kills});
	my $every = int(@faults / ($course->{quiet} + 1)) + 1;
	my $share = $course->{runs} / $course->{clients} / @faults;

	foreach my $i (0 .. $#faults)
	{
		say_to_clients($course, 'run ' . int($share * ($i + 1)));
		usleep(20_000 + int rand 250_000);
		$course->{faults}->strike($faults[$i]);
		$course->{struck}++;
		watch_claims($course);
		last if -e "$course->{folder}/died";
		next if ($i + 1) % $every || $i == $#faults;
		quiet_point($course, sprintf 'after %d faults', $i + 1) or return 0;
	}
	# what the clients still owe, in peace
	say_to_clients($course, 'run ' . int($course->{runs} / $course->{clients}));
	usleep(500_000);
	return quiet_point($course, 'at the end');
}

sub ledger_of_kills
{
	my (%course) = @_;
	my $course = { quiet => 1, clients => 3, drain => 60, drains => '', pauses => 0, struck => 0, begin => time, unowned => {}, ends => {}, %course };
	my $node = $course->{node} = node('ledger', fast => 1, conf => "deadlock_timeout = '50ms'
		triggerdo.executors = 4
		triggerdo.max_executors_per_role = 8
		log_min_messages = warning
		log_min_error_statement = panic
		log_checkpoints = off
		log_statement = none
		max_prepared_transactions = 20");
	my @pids;

	note("seed $course->{seed}");
	srand($course->{seed});
	setup_app($node);
	# crashes here are not the tasks' own doing
	$node->safe_psql('postgres', 'ALTER SYSTEM SET triggerdo.max_crashes = 0')
	  if $node->safe_psql('postgres', q{SELECT count(*) FROM pg_settings WHERE name = 'triggerdo.max_crashes'});
	$node->reload;
	my @absent = define_kinds($node);
	note('not in this version: ' . join ' ', @absent) if @absent;

	$course->{folder} = PostgreSQL::Test::Utils::tempdir();
	$course->{faults} = TriggerdoFaults->new($node, executors => 8);
	$course->{client} = TriggerdoLoad->new($node, number => 0, folder => $course->{folder});
	say_to_clients($course, 'run 0');
	push @pids, start_client($course, $_) foreach 1 .. $course->{clients};

	my $well = eval { run_course($course) };
	my $error = $@;
	say_to_clients($course, 'stop');
	waitpid $_, 0 foreach @pids;
	$? = 0;
	is($error, '', 'the course came to its end');
	is(join(', ', @{ $course->{faults}{problems} }), '', 'no fault met what it should not');
	is(join(' ', sort keys %{ $course->{orphaned} // {} }), '', 'no claim was without an owner for 5 s');
	if ($well)
	{
		my ($balanced, $log, $run) = balance($course, 'and again');
		summary($course, $log, $run);
		# (each client may leave a part of its last transaction undone)
		cmp_ok(scalar keys %$run, '>=', $course->{runs}, "$course->{runs} runs or more");
	}
	$_->disconnect foreach $course->{faults}{session}, $course->{client}{session};
	$node->stop;
	is(join(' ', values %{ { $course->{faults}->processes } }), '', 'no process is left when the server has stopped');
	check_log($node);
	return;
}

1;
