# A psql in a pipe that is told what became of each command, also when the
# server goes away in the middle of it. One object is one client: it connects
# when it has something to ask, and again after it has lost its server.
#
#   my $session = TriggerdoPsql->new($node, user => 'app', name => 'client 1');
#   my $answer = $session->ask('COMMIT');
#   $answer->{lost}    the connection ended before the answer came
#   $answer->{state}   SQLSTATE of the first error, or ''
#   $answer->{lines}   rows (columns separated by |) and command tags

package TriggerdoPsql;

use strict;
use warnings;

use IO::Handle;
use IO::Select;
use IPC::Open2;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(time usleep);

# an answer that takes so long is a server that hangs
my $PATIENCE = 60;

sub new
{
	my ($class, $node, %opts) = @_;

	return bless {
		connection => sprintf('host=%s port=%s dbname=%s user=%s application_name=%s',
			map { (my $v = $_) =~ s/([\\'])/\\$1/g; "'$v'" } $node->host,
			$node->port, $opts{database} // 'postgres', $opts{user} // 'postgres', $opts{name} // 'test'),
		setup => $opts{setup} // '',
		asked => 0
	}, $class;
}

sub connect
{
	my ($self) = @_;

	return 1 if $self->{pid};
	$self->{buffer} = '';
	local $SIG{PIPE} = 'IGNORE';
	# errors come in their place among the answers
	$self->{pid} = open2($self->{out}, $self->{in}, 'sh', '-c',
		'exec psql -X -A -t -v VERBOSITY=sqlstate -d "$1" 2>&1', 'sh', $self->{connection});
	$self->{in}->autoflush(1);
	my $answer = $self->exchange($self->{setup});
	return !$answer->{lost} && $answer->{state} eq '';
}

sub disconnect
{
	my ($self) = @_;

	return unless $self->{pid};
	local $SIG{PIPE} = 'IGNORE';
	close $self->{in};
	close $self->{out};
	local $?;
	waitpid $self->{pid}, 0;
	delete $self->{pid};
	return;
}

# one piece of SQL, and what came of it
sub exchange
{
	my ($self, $sql) = @_;
	my $mark = '@@' . ++$self->{asked};
	my %answer = (lost => 0, state => '', lines => []);
	my $select = IO::Select->new($self->{out});
	my $deadline = time + $PATIENCE;

	$self->{said} = "$sql\n";
	local $SIG{PIPE} = 'IGNORE';
	syswrite $self->{in}, "$sql\n\\echo $mark\n";
	while (1)
	{
		while ($self->{buffer} =~ s/^([^\n]*)\n//)
		{
			my $line = $1;
			if ($line eq $mark)
			{
				$self->disconnect if $answer{lost};
				return \%answer;
			}
			# (psql may notice only at the next command that this was the end; and a
			# session that is told to go may have committed a moment before)
			$answer{lost} = 1 if $line =~ /^(?:FATAL:|PANIC:|WARNING: +57P|server closed the connection|no connection to the server|could not (?:send|receive) data)/;
			# (with VERBOSITY=sqlstate that is all it says)
			if ($line =~ /^(?:psql:.*?)?(?:ERROR|FATAL|PANIC): +([0-9A-Z]{5})/)
			{
				$answer{state} ||= $1;
			}
			push @{ $answer{lines} }, $line;
			$self->{said} .= "$line\n";
		}
		my $left = $deadline - time;
		if ($left <= 0)
		{
			kill 'KILL', $self->{pid};
			$answer{hung} = 1;
			last;
		}
		last if $select->can_read($left) && !sysread $self->{out}, $self->{buffer}, 65536, length $self->{buffer};
	}
	$answer{lost} = 1;
	$self->disconnect;
	return \%answer;
}

sub ask
{
	my ($self, $sql) = @_;

	return { lost => 1, state => '', lines => [], unsent => 1 } unless $self->connect;
	return $self->exchange($sql);
}

# tries until there is a server, for so many seconds; gives the seconds it took
sub wait_for_server
{
	my ($self, $seconds) = @_;
	my $begin = time;

	until ($self->connect && !$self->exchange('SELECT 1;')->{lost})
	{
		return undef if time - $begin > $seconds;
		usleep(10_000);
	}
	return time - $begin;
}

# the first column of the first row, or undef
sub value
{
	my ($self, $sql) = @_;
	my $answer = $self->ask($sql);

	return undef if $answer->{lost} || $answer->{state};
	return $answer->{lines}[0];
}

1;
