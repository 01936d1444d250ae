# What the ledger of kills does to a server: signals to processes picked from
# /proc, stops and starts. Each fault knows whom it hit and waits until the
# server answers again.

package TriggerdoFaults;

use strict;
use warnings;

use Cwd qw(realpath);
use Exporter qw(import);
use List::Util qw(shuffle);
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time usleep);

use TriggerdoPsql;

our @EXPORT_OK = qw(schedule);

# Of 100 kills of executors and of the server so many are of that sort; beside
# them, so many other faults.
my @kills = (
	[ 44, 'executor SIGKILL' ], [ 26, 'executor SIGTERM' ], [ 12, 'server SIGKILL' ],
	[ 8, 'postmaster SIGKILL' ], [ 10, 'immediate stop' ]);
my @others = (
	[ 8, 'scheduler SIGKILL' ], [ 8, 'client SIGKILL' ], [ 16, 'executor cancel' ], [ 10, 'executor SIGSTOP' ],
	[ 6, 'client SIGTERM' ], [ 3, 'scheduler SIGTERM' ], [ 2, 'launcher SIGKILL' ], [ 3, 'fast stop' ]);

# schedule(KILLS): the faults, in an order that the caller's srand() decides;
# their number depends on KILLS alone, and every sort is among them.
sub schedule
{
	my ($kills) = @_;
	my @list;

	foreach my $sort (@kills)
	{
		push @list, ($sort->[1]) x (int($sort->[0] * $kills / 100) || 1);
	}
	push @list, ('executor SIGKILL') x ($kills - @list);
	foreach my $sort (@others)
	{
		push @list, ($sort->[1]) x (int($sort->[0] * $kills / 100) || 1);
	}
	return shuffle(@list);
}

# ------------------------------------------------------------------- processes

sub new
{
	my ($class, $node, %opts) = @_;

	return bless {
		executors => $opts{executors},
		node => $node, folder => realpath($node->data_dir),
		session => TriggerdoPsql->new($node, name => 'ledger leader', setup => "SET statement_timeout = '30s';"),
		done => {}, crashes => 0, busy => 0, targets => 0, problems => [], recovery => []
	}, $class;
}

sub problem
{
	my ($self, $text) = @_;

	push @{ $self->{problems} }, $text;
	return;
}

# processes(): pid => title, of this server, be it the postmaster or an orphan
sub processes
{
	my ($self) = @_;
	my %list;

	foreach my $entry (glob '/proc/[0-9]*')
	{
		next unless (readlink("$entry/cwd") // '') eq $self->{folder};
		open my $file, '<', "$entry/cmdline" or next;
		local $/;
		my $title = <$file> // '';
		close $file;
		$title =~ tr/\0/ /;
		$entry =~ s/\D//g;
		# (a zombie has no command line, and holds nothing)
		$list{$entry} = $title if $title =~ /postgres/;
	}
	return %list;
}

# of those also the last trace: a postmaster does not start while the number of
# the one before is somebody's, be it a zombie's
sub wait_until_gone
{
	my ($self, $seconds, @pids) = @_;
	my $begin = time;

	while ($self->processes || grep { -e "/proc/$_" } @pids)
	{
		return 0 if time - $begin > $seconds;
		usleep(5_000);
	}
	return 1;
}

# One process of that kind, or undef after a while. One with a run in hand is
# preferred, and counted: its kill is in the middle of something.
sub pick
{
	my ($self, $kind) = @_;
	my $deadline = time + 10;
	my $patience = 15;

	while (time < $deadline)
	{
		my %list = $self->processes;
		my @pids;
		if ($kind eq 'client')
		{
			@pids = grep { $list{$_} =~ /: (?:\S+ )?app postgres / && $list{$_} !~ / idle$| idle /  } sort keys %list;
			@pids = grep { $list{$_} =~ /: (?:\S+ )?app postgres / } sort keys %list unless @pids;
		}
		else
		{
			@pids = grep { $list{$_} =~ /triggerdo $kind/ } sort keys %list;
		}
		if ($kind eq 'executor' && @pids)
		{
			my $answer = $self->{session}->ask('SELECT pid FROM triggerdo.workers WHERE run_id IS NOT NULL;');
			my %busy = map { $_ => 1 } @{ $answer->{lines} };
			my @busy = grep { $busy{$_} } @pids;
			# (for a moment, one that is idle is not good enough)
			usleep(10_000), next if !@busy && --$patience > 0;
			$self->{targets}++;
			$self->{busy}++ if @busy;
			@pids = @busy if @busy;
		}
		return $pids[ int rand @pids ] if @pids;
		usleep(10_000);
	}
	$self->problem("no $kind for 10 s, though there is work");
	return undef;
}

# ---------------------------------------------------------------------- faults

sub start_again
{
	my ($self, @old) = @_;

	$self->problem('processes of the old server live 10 s after its postmaster') unless $self->wait_until_gone(10, @old);
	$self->{node}->{_pid} = undef;
	$self->{node}->start;
	return;
}

# the postmaster cannot start others while it is stopped, nor clean up
sub kill_server
{
	my ($self, $everyone) = @_;
	my $postmaster = (split /\n/, slurp_file("$self->{folder}/postmaster.pid"))[0];

	kill 'STOP', $postmaster if $everyone;
	my @children = $everyone ? grep { $_ != $postmaster } keys %{ { $self->processes } } : ();
	kill 'KILL', $postmaster, @children;
	$self->start_again($postmaster);
	return;
}

my %signal = ('SIGKILL' => 'KILL', 'SIGTERM' => 'TERM', 'cancel' => 'INT');

sub commit_fault
{
	my ($self, $fault) = @_;
	my ($whom, $what) = split / /, $fault;

	if ($whom eq 'server' || $whom eq 'postmaster')
	{
		$self->kill_server($whom eq 'server');
		return 1;
	}
	if ($what eq 'stop')
	{
		$self->{node}->stop($whom);
		$self->{node}->start;
		return 1;
	}
	my $pid = $self->pick($whom) // return 0;
	if ($what eq 'SIGSTOP')
	{
		kill 'STOP', $pid;
		usleep(50_000 + int rand 500_000);
		kill 'CONT', $pid;
		return 0;
	}
	kill $signal{$what}, $pid;
	return 0 unless $what eq 'SIGKILL';
	# Until the postmaster has buried it, sessions go on as if nothing were. And
	# it may not be told to stop before recovery is over: PostgreSQL 15 waits for
	# ever then, for a checkpointer that nobody ends.
	my $deadline = time + 10;
	usleep(1_000) while -e "/proc/$pid" && time < $deadline;
	return 1;
}

# so many runs may have been in hand when their executors died
sub lost_at_most
{
	my ($self) = @_;

	return $self->{executors} * ($self->{crashes} + ($self->{done}{'fast stop'} // 0)) + ($self->{done}{'executor SIGTERM'} // 0);
}

# strike(FAULT): and wait until there is a server again
sub strike
{
	my ($self, $fault) = @_;
	my $crash = $self->commit_fault($fault);

	$self->{done}{$fault}++;
	$self->{crashes}++ if $crash;
	# (a new connection is not had before recovery is over)
	$self->{session}->disconnect if $crash;
	my $took = $self->{session}->wait_for_server(60);
	die "no server 60 s after: $fault" unless defined $took;
	push @{ $self->{recovery} }, $took if $crash;
	return;
}

1;
