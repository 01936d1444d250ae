# JSON Schema as its own test suite has it: every required test, where Debian's packages
# of the suite are installed (scripts/setup does): json-schema-test-suite, which ends at
# draft-07, and libtest-json-schema-acceptance-perl, whose copy has 2020-12.
#
# Each test of the suite is one here. docs/PAYLOAD-SCHEMA.md lists those that
# fail, and why; one more, or one less, is a failure.
#
# Red without: any of the rules in src/schema_rules.c and src/schema_check.c; merge_seen(),
# the "own" of check_node(), target()'s walk.

use strict;
use warnings;

use File::Basename;
use PostgreSQL::Test::Utils;
use Test::More;

use TriggerdoTest qw(node setup_app);

my $node = node('schema', fast => 1, init => { extra => [ '--encoding=UTF8', '--locale=C' ] });
setup_app($node);

# (json, not jsonb, until the last moment, and \u0000 hidden until then: a test that
# jsonb cannot hold must not take its file with it)
$node->safe_psql('postgres', q{
	CREATE FUNCTION verdict(schema json, data json, dialect jsonb) RETURNS text LANGUAGE plpgsql AS $$
	DECLARE s jsonb;
	BEGIN
		s := replace(schema::text, '<NUL>', '\u0000')::jsonb;
		IF jsonb_typeof(s) = 'object' AND NOT s ? '$schema' THEN s := s || dialect; END IF;
		RETURN CASE WHEN triggerdo_test.schema_try(s, replace(data::text, '<NUL>', '\u0000')::jsonb) IS NULL THEN 'true' ELSE 'false' END;
	EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE || ' ' || SQLERRM;
	END $$;
	CREATE FUNCTION run_suite(suite json, dialect jsonb) RETURNS TABLE (line text) LANGUAGE sql AS $$
		SELECT concat_ws(E'\t', g ->> 'description', t ->> 'description', t ->> 'valid',
		                 verdict(g -> 'schema', t -> 'data', dialect))
		  FROM json_array_elements(suite) WITH ORDINALITY AS a(g, i),
		       json_array_elements(g -> 'tests') WITH ORDINALITY AS b(t, j)
		 ORDER BY i, j
	$$});

# docs/PAYLOAD-SCHEMA.md lists what fails, and with which SQLSTATE
my $top = dirname(dirname(dirname($0)));
my %known;
my $doc = slurp_file("$top/docs/PAYLOAD-SCHEMA.md");
while ($doc =~ /^```(\S+) (\w{5})\n(.*?)^```/msg)
{
	my ($dialect, $code, $titles) = ($1, $2, $3);
	$known{$dialect}{$_} = $code for split /\n/, $titles;
}

# the files of a dialect
sub suite
{
	my ($name, $dialect, @files) = @_;
	my ($all, $good, $remote) = (0, 0, 0);
	my %left = %{ $known{$name} };
	for my $file (@files)
	{
		my $base = basename($file, '.json');
		my $text = slurp_file($file) =~ s/\\u0000/<NUL>/gr;
		my $lines = $node->safe_psql('postgres', "SELECT line FROM run_suite(\$suite\$$text\$suite\$::json, '$dialect')");
		for my $line (split /\n/, $lines)
		{
			my ($group, $test, $valid, $got) = split /\t/, $line;
			my $title = "$base: $group: $test";
			if (exists $left{$title})
			{
				is(substr($got, 0, 5), delete $left{$title}, "$name: $title (known to fail)");
			}
			else
			{
				is($got, $valid, "$name: $title");
			}
			$all++;
			$good++ if $got eq $valid;
			$remote++ if $got =~ /^0A000|names a dialect/;
		}
	}
	is(join(', ', sort keys %left), '', "$name: the known failures are all there");
	note sprintf('%s: %d of %d tests (%.1f %%), %d of %d without those that refer to other documents (%.1f %%)',
		$name, $good, $all, 100 * $good / $all, $good, $all - $remote, 100 * $good / ($all - $remote));
	cmp_ok($good, '>=', 0.95 * ($all - $remote), "$name: 95 % of the tests");
	return;
}

for my $dialect (
	[ '2020-12', '{}', '/usr/share/perl5/auto/share/dist/Test-JSON-Schema-Acceptance/tests/draft2020-12' ],
	[ 'draft-07', '{"$schema": "http://json-schema.org/draft-07/schema#"}', '/usr/share/json-schema-test-suite/tests/draft7' ])
{
	my ($name, $added, $folder) = @$dialect;
  SKIP:
	{
		skip "the test suite of JSON Schema for $name is not installed", 1 unless -d $folder;
		suite($name, $added, sort glob("$folder/*.json"));
	}
}

# In other encodings patterns see characters all the same. SQL_ASCII has bytes, and
# what is no UTF-8 matches nothing.
# Red without: pg_server_to_any() in src/pattern.c, its PCRE2_ERROR_UTF8_ERR1.
for my $case ([ 'LATIN1', '^ä.$', q{U&'"\00e4\00fc"'}, 't' ], [ 'LATIN1', '^\\\\S$', q{U&'"\00e4\00fc"'}, 'f' ],
	[ 'SQL_ASCII', '^ä.$', q{'"äü"'}, 't' ], [ 'SQL_ASCII', '^.*$', q{convert_from('\x22ff22', 'SQL_ASCII')}, 'f' ])
{
	my ($encoding, $pattern, $value, $fits) = @$case;
	my $database = lc $encoding;
	if ($node->safe_psql('postgres', "SELECT count(*) FROM pg_database WHERE datname = '$database'") == 0)
	{
		$node->safe_psql('postgres', "CREATE DATABASE $database ENCODING '$encoding' TEMPLATE template0");
		setup_app($node, $database);
	}
	is($node->safe_psql($database, qq{SET client_encoding = '@{[ $encoding eq 'LATIN1' ? 'UTF8' : $encoding ]}';
		SELECT triggerdo_test.schema_try('{"pattern": "$pattern"}', ($value)::jsonb) IS NULL}),
		$fits, "$encoding: $pattern");
}

$node->stop;
done_testing();
