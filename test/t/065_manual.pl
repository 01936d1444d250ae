# README.md, run: each SQL block of it in its order, on a server as it describes; what it
# shows comes of it, and there is no error that it does not show. Its reference has
# every public object as it is, its table every setting. All of them have comments.
#
# Red with: a line of README.md that is not so; a function, view or type without COMMENT ON, or not
# in the reference; a setting that is not in the table, or has another default.

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;

use TriggerdoManual qw(blocks run_sql same);
use TriggerdoTest qw(node invariants_ok poll);

my $node = node('manual', fast => 1);
# (what examples of rights and of tables take as given)
my $given = q{
	CREATE ROLE web LOGIN; CREATE ROLE ops LOGIN;
	CREATE TABLE app.documents (id int PRIMARY KEY, title text, body text);
	CREATE FUNCTION app.index_document(payload jsonb) RETURNS jsonb LANGUAGE sql AS 'SELECT payload';
	ALTER TABLE app.documents OWNER TO app;
	ALTER FUNCTION app.index_document OWNER TO app;
	SET ROLE app;
	SELECT triggerdo.define_task('index-document', run => 'app.index_document')};
my @sql = grep { $_->{language} eq 'sql' } blocks();
cmp_ok(scalar @sql, '>', 10, 'there are blocks to run');

foreach my $block (@sql)
{
	if ($given && $block != $sql[0])
	{
		$node->safe_psql('postgres', $given);
		undef $given;
	}
	my ($first) = split /\n/, $block->{text};
	my $name = "README.md:$block->{line}: $first";

	next if $block->{note} =~ /^not run: /;
	my $got = run_sql($node, $block);
	my $shown = $block->{shown} // '';
	unless (ok(same($shown, $got), $name))
	{
		diag("shown:\n$shown\ngot:\n$got");
	}
	my @errors = grep { /^(?:ERROR|FATAL|PANIC|psql:)/ && !same($_, $shown) } split /\n/, $got;
	is("@errors", '', "$name: no other error");
	# what it set going is done before the next block is read
	poll($node, q{SELECT NOT EXISTS (SELECT FROM triggerdo.stats WHERE queued + executing > 0)}) or diag('runs do not end');
}
invariants_ok($node, 'at the end of the manual');

# ------------------------------------------------------------------------ complete?

is($node->safe_psql('postgres', q{
	SELECT o FROM (
		SELECT p.oid::regprocedure::text, obj_description(p.oid, 'pg_proc') FROM pg_proc p WHERE pronamespace = 'triggerdo'::regnamespace
		UNION ALL SELECT c.oid::regclass::text, obj_description(c.oid, 'pg_class') FROM pg_class c
		 WHERE relnamespace = 'triggerdo'::regnamespace AND relkind <> 'i'
		UNION ALL SELECT t.oid::regtype::text, obj_description(t.oid, 'pg_type') FROM pg_type t
		 WHERE typnamespace = 'triggerdo'::regnamespace AND typtype <> 'c' AND typcategory <> 'A'
		UNION ALL SELECT nspname, obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname IN ('triggerdo', '_triggerdo')) x(o, c)
	 WHERE coalesce(c, '') = '' ORDER BY 1}),
	'', 'every public object has a comment');

# differ_in_nothing(WRITTEN, THERE, NAME): one test, of two lists
sub differ_in_nothing
{
	my ($written, $there, $name) = @_;
	my %written = map { $_ => 1 } @$written;
	my %there = map { $_ => 1 } @$there;

	local $Test::Builder::Level = $Test::Builder::Level + 1;
	return is(
		join("\n", (map { "not written: $_" } grep { !$written{$_} } @$there), map { "not so: $_" } grep { !$there{$_} } @$written),
		'', $name);
}

# name(arg type, ...), types by their short names, without defaults and DEFAULT
sub signature
{
	my ($name, $arguments) = @_;
	$arguments =~ s/ DEFAULT (?:'[^']*'|[^,'])*(?:::[\w \[\]]+)?//g;
	$arguments =~ s/\btimestamp with time zone\b/timestamptz/g;
	$arguments =~ s/\bdouble precision\b/float8/g;
	$arguments =~ s/\binteger\b/int/g;
	$arguments =~ s/\bboolean\b/bool/g;
	$arguments =~ s/\bIN (?=\w)//g;
	return "$name($arguments)";
}
my $readme = slurp_file("$FindBin::Bin/../../README.md");
my ($reference) = $readme =~ /^## Reference$(.*)^## License$/ms;
my @written = map { signature($_->[0], $_->[1]) } map { [ /^(\w+)\((.*?)\)(?: →.*)?$/ ] } $reference =~ /\*\*`(?:CALL )?(\w+\([^`]*)`\*\*/g;
my @there = map { signature(split /\|/) } split /\n/,
  $node->safe_psql('postgres', q{SELECT proname, pg_get_function_arguments(oid) FROM pg_proc WHERE pronamespace = 'triggerdo'::regnamespace});
differ_in_nothing(\@written, \@there, 'the reference has every function as it is');
foreach my $view (split /\n/, $node->safe_psql('postgres', q{SELECT relname FROM pg_class WHERE relnamespace = 'triggerdo'::regnamespace AND relkind = 'v'}))
{
	ok($readme =~ /`(?:triggerdo\.)?$view`|triggerdo\.$view\b/, "the manual has the view $view");
}

my %anchor = map { (lc($_) =~ s/[^\w -]//gr) =~ s/ /-/gr => 1 } $readme =~ /^#+ (.*)$/mg;
is(join(' ', grep { !$anchor{$_} } $readme =~ /\]\(#([^)]*)\)/g), '', 'every link of it leads somewhere');

my ($table) = $readme =~ /^## Settings$(.*?)^## /ms;
my @settings = map { "$_->[0] = " . ($_->[1] eq 'empty' ? '' : $_->[1]) } map { [ /^\| `(triggerdo\.\w+)` \| `?([^`|]*?)`? \|/ ] }
  grep { /^\| `triggerdo\./ } split /\n/, $table;
differ_in_nothing(\@settings,
	[ split /\n/, $node->safe_psql('postgres', q{SELECT name || ' = ' || current_setting(name) FROM pg_settings WHERE name LIKE 'triggerdo.%'}) ],
	'the table has every setting with its default');
is("@settings", join(' ', sort @settings), 'in their order');

$node->stop;
done_testing();
