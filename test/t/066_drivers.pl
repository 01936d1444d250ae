# README.md's chapter on drivers, run: each program of it with the driver it is for, and
# what it says of PgBouncer, through one in transaction mode. Only where TDO_DRIVERS
# says that they are there: scripts/check-drivers installs them.
#
# Red with: a line of these chapters that is not so.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

use TriggerdoManual qw(blocks run_sql same);
use TriggerdoTest qw(node invariants_ok all_final);

plan skip_all => 'drivers are not asked for' unless $ENV{TDO_DRIVERS};

my $dir = PostgreSQL::Test::Utils::tempdir();
# (JDBC knows no sockets of files)
my $node = node('drivers', fast => 1, start => 0, conf => "listen_addresses = '127.0.0.1'");
append_to_file($node->data_dir . '/pg_hba.conf', "host all all 127.0.0.1/32 trust\n");
$node->start;

# as the manual goes, up to the first chapter that triggers
foreach my $block (grep { $_->{language} eq 'sql' } blocks())
{
	next if $block->{note} =~ /^not run: /;
	run_sql($node, $block);
	last if $block->{text} =~ /trigger_task/;
}

my %command = (
	python => [ '/usr/bin/python3', 'py' ],
	js => [ 'node', 'js' ],
	java => [ 'java', '-cp', '/usr/share/java/*', 'java' ]);

# program(LANGUAGE, TEXT, PORT): what it prints
sub program
{
	my ($language, $text, $port) = @_;
	my @command = @{ $command{$language} };
	my $file = "$dir/Hello." . pop @command;
	my $out = '';

	$text =~ s{//localhost/}{//127.0.0.1:$port/};
	unlink $file;
	append_to_file($file, $text);
	local $ENV{PGHOST} = '127.0.0.1';
	local $ENV{PGPORT} = $port;
	IPC::Run::run([ @command, $file ], '<', '/dev/null', '>&', \$out, IPC::Run::timeout(120));
	return $out;
}

my %seen;
my @programs = grep { exists $command{ $_->{language} } } blocks();
foreach my $block (@programs)
{
	my $got = program($block->{language}, $block->{text}, $node->port);
	my $shown = $block->{shown} // '';
	ok($shown ne '' && $got =~ /\S/ && same($shown, $got), "README.md:$block->{line}: $block->{language}")
	  or diag("shown:\n$shown\ngot:\n$got");
	$seen{ $block->{language} }++;
}
is(join(' ', sort keys %seen), 'java js python', 'there is a program for each driver');
all_final($node);

# -------------------------------------------------------------------------- PgBouncer

my $bouncer_port = PostgreSQL::Test::Cluster::get_free_port();
append_to_file("$dir/pgbouncer.ini", <<"INI");
[databases]
* = host=127.0.0.1 port=@{[ $node->port ]}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = $bouncer_port
unix_socket_dir =
auth_type = trust
auth_file = $dir/users
pool_mode = transaction
default_pool_size = 2
ignore_startup_parameters = extra_float_digits
INI
append_to_file("$dir/users", qq{"app" ""\n});
my $bouncer = IPC::Run::start([ '/usr/sbin/pgbouncer', "$dir/pgbouncer.ini" ], '<', '/dev/null', '>&', "$dir/pgbouncer.log");

# bounced(SQL, [FLAG...]): through PgBouncer, as app; rows, and what went wrong
sub bounced
{
	my ($sql, @flags) = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run([ 'psql', '-XAtq', @flags, '-d', "host=127.0.0.1 port=$bouncer_port dbname=postgres user=app" ],
		'<', \$sql, '>', \$out, '2>', \$err, IPC::Run::timeout(60));
	chomp $out;
	return $out . $err;
}
for (1 .. 300)
{
	last if bounced('SELECT 1') eq '1';
	usleep(100_000);
}
like(bounced('SELECT version()'), qr/^PostgreSQL/, 'PgBouncer is there');

my $ok = '"ok": true';
like(bounced(q{SELECT triggerdo.trigger_task('hello', '{"name": "Ada"}') AS run \gset
	SELECT triggerdo.wait_for_run(:'run')}), qr/\Q$ok\E/, 'triggered and waited for, statement by statement');
like(bounced(q{BEGIN; SELECT triggerdo.trigger_task('hello') AS run \gset
	COMMIT; SELECT triggerdo.wait_for_run(:'run')}), qr/\Q$ok\E/, 'in a transaction');
is(bounced(q{BEGIN; SELECT triggerdo.trigger_task('hello') AS run \gset
	ROLLBACK; SELECT count(*) FROM triggerdo.runs WHERE run_id = :'run'}), '0', 'rolled back');
like(bounced(q{BEGIN; SELECT triggerdo.trigger_task('hello') AS run \gset
	SELECT triggerdo.run_now(:'run'); ROLLBACK}), qr/\Q$ok\E/, 'run_now');
like(bounced(q{CALL triggerdo.trigger_and_wait('hello', '{}', NULL)}), qr/\Q$ok\E/, 'CALL');
is(bounced(q{SELECT triggerdo.trigger_task('hello', delay => '1 h') AS run \gset
	SELECT triggerdo.cancel_run(:'run')}), 't', 'cancelled');
is(bounced(q{SELECT triggerdo.define_task('bounced', run => 'app.hello'); SELECT owner FROM triggerdo.tasks WHERE id = 'bounced'}),
	"bounced\napp", 'defined');

# (a role for one transaction)
like(bounced(q{BEGIN; SET LOCAL ROLE app; SELECT triggerdo.trigger_task('hello') AS run \gset
	COMMIT; SELECT triggerdo.wait_for_run(:'run')}), qr/\Q$ok\E/, 'SET LOCAL ROLE');

foreach my $block (@programs)
{
	my $text = $block->{text};

	next if $seen{"bounced $block->{language}"}++;
	# as the manual says: nothing prepared
	$text =~ s/user=app"/user=app&prepareThreshold=0"/ if $block->{language} eq 'java';
	$text =~ s/(connect\("[^"]*")/$1, prepare_threshold=None/g if $block->{language} eq 'python';
	my $got = program($block->{language}, $text, $bouncer_port);
	ok(same($block->{shown} // '', $got), "$block->{language}, through PgBouncer") or diag($got);
}
$bouncer->signal('INT');
$bouncer->finish;
all_final($node);
invariants_ok($node, 'at the end');

$node->stop;
done_testing();
