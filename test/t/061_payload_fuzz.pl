# Payload schemas and payloads made at random (SEED=n for other ones, PAIRS=n for
# more): no answer but fits, does not fit, or an error with one of our SQLSTATEs; and
# what must hold of any schema s and payload p holds:
#   {"not": s} says the opposite of s; {"allOf": [s]}, {"anyOf": [false, s]},
#   {"oneOf": [s, false]}, {"$ref": "#/$defs/s"} and {"if": s, "else": false} say the
#   same; {"const": p} and {"enum": [0.5, p]} fit p.
#
# Red without: any "fits" or "!" in src/schema_check.c turned around.

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;

use TriggerdoTest qw(node setup_app);

my $seed = $ENV{SEED} // 20;
my $pairs = $ENV{PAIRS} // 3000;
srand($seed);

my $node = node('fuzz', fast => 1, init => { extra => [ '--encoding=UTF8', '--locale=C' ] });
setup_app($node);

sub pick { return $_[ int rand @_ ] }
sub some { my ($max, $sub) = @_; return map { $sub->() } 1 .. int rand($max + 1) }
sub quoted { return '"' . $_[0] . '"' }

my @names = ('a', 'b', 'aa', 'x1', 'a/b', '~', 'ä', '');
my @strings = (@names, 'abc', 'aaaaaaaaaaaaaaaaaaaaaaaaaab', '2026-01-01', 'a@b', '\n', '\ud83d\ude00');
my @numbers = (0, 1, -1, '1.0', 1.5, 2, 3, 10, '1e2', '1e400', '1e-300', '0.1', '123456789012345678901234567890');
my @patterns = ('^a', 'b$', '^[a-z]*$', '^(a+)+$', '.', '\\\\d', '^\\\\S+$', '(', 'a{2}', '\\\\p{L}', '^(a|aa)+$', '[^]', '(a)\\\\1', '(?=a)', 'a++');

sub value
{
	my ($depth) = @_;
	my $kind = int rand($depth > 0 ? 8 : 5);
	return pick(qw(null true false)) if $kind == 0;
	return pick(@numbers) if $kind <= 2;
	return quoted(pick(@strings)) if $kind <= 4;
	return '[' . join(',', some(4, sub { value($depth - 1) })) . ']' if $kind <= 5;
	return '{' . join(',', some(4, sub { quoted(pick(@names)) . ':' . value($depth - 1) })) . '}';
}

sub schema
{
	my ($depth) = @_;
	return pick(qw(true false)) if rand() < 0.08;
	my %k;
	my $sub = sub { schema($depth - 1) };
	my $list = sub { '[' . join(',', $sub->(), some(2, $sub)) . ']' };
	my $map = sub { '{' . join(',', some(3, sub { quoted(pick(@names)) . ':' . $sub->() })) . '}' };
	my $names = sub { '[' . join(',', some(3, sub { quoted(pick(@names)) })) . ']' };
	my @leaf = (
		sub { $k{type} = quoted(pick(qw(null boolean number integer string array object))) },
		sub { $k{type} = '["' . pick(qw(null number string)) . '","' . pick(qw(array object)) . '"]' },
		sub { $k{ pick(qw(minimum maximum exclusiveMinimum exclusiveMaximum)) } = pick(@numbers) },
		sub { $k{multipleOf} = pick(1, 2, '0.1', '1e-300', 0, '1e400') },
		sub { $k{ pick(qw(minLength maxLength minItems maxItems minProperties maxProperties)) } = pick(0, 1, 2, 3, '2.0', -1) },
		sub { $k{pattern} = quoted(pick(@patterns)) },
		sub { $k{enum} = '[' . join(',', some(4, sub { value(2) })) . ']' },
		sub { $k{const} = value(2) },
		sub { $k{required} = $names->() },
		sub { $k{dependentRequired} = '{"a":' . $names->() . '}' },
		sub { $k{uniqueItems} = pick(qw(true false)) },
		sub { $k{'$ref'} = quoted(pick('#', '#/properties/a', '#/$defs/b', '#here', 'other.json')) },
		sub { $k{'$anchor'} = '"here"' },
		sub { $k{'$dynamicRef'} = '"#here"' },
		sub { $k{ pick(qw(format title unknown)) } = '"x"' });
	my @inner = (
		sub { $k{properties} = $map->() }, sub { $k{properties} = $map->() },
		sub { $k{patternProperties} = '{' . quoted(pick(@patterns)) . ':' . $sub->() . '}' },
		sub { $k{ pick(qw(additionalProperties propertyNames unevaluatedProperties unevaluatedItems items contains not)) } = $sub->() },
		sub { $k{ pick(qw(allOf anyOf oneOf prefixItems)) } = $list->() },
		sub { $k{ pick(qw(minContains maxContains)) } = pick(0, 1, 2) },
		sub { $k{ pick(qw($defs dependentSchemas)) } = $map->() },
		sub { @k{qw(if then else)} = ($sub->(), $sub->(), $sub->()) });
	pick(@leaf, $depth > 0 ? (@inner) x 2 : ())->() for 1 .. 1 + rand 3;
	return '{' . join(',', map { quoted($_) . ':' . $k{$_} } sort keys %k) . '}';
}

# null: an error that may be; its SQLSTATE is counted
$node->safe_psql('postgres', q{
	CREATE TABLE pair (n int, s jsonb, p jsonb, says text);
	CREATE FUNCTION says(s jsonb, p jsonb) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		RETURN (triggerdo_test.schema_try(s, p) IS NULL)::text;
	EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE;
	END $$});

my $rows = join ",\n", map { "($_, \$x\$" . schema(3) . "\$x\$, \$x\$" . value(3) . "\$x\$)" } 1 .. $pairs;
my ($rc, $out, $err) = $node->psql('postgres', "INSERT INTO pair VALUES $rows; UPDATE pair SET says = says(s, p);");
is($rc, 0, "seed $seed: $pairs pairs, and the server lives") or diag(substr $err, 0, 500);
my $counts = $node->safe_psql('postgres', 'SELECT says, count(*) FROM pair GROUP BY 1 ORDER BY 1');
note $counts =~ s/\n/, /gr;
is($node->safe_psql('postgres', q{SELECT says, s, p FROM pair WHERE says NOT IN ('true', 'false', '22023', '0A000', '54000', '54001')}),
	'', 'no other error');
cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM pair WHERE says = '$_'"), '>', $pairs / 20, "not one answer only: $_")
  for qw(true false);

# (a copy of s elsewhere would move its references)
my $self_contained = q{says IN ('true', 'false') AND s::text !~ '"\$(ref|dynamicRef|anchor)"'};
my %same = (
	'allOf' => q{jsonb_build_object('allOf', jsonb_build_array(s))},
	'anyOf' => q{jsonb_build_object('anyOf', jsonb_build_array(false, s))},
	'oneOf' => q{jsonb_build_object('oneOf', jsonb_build_array(s, false))},
	'$ref' => q{jsonb_build_object('$ref', '#/$defs/s', '$defs', jsonb_build_object('s', s))},
	'if' => q{jsonb_build_object('if', s, 'else', false)},
	'not not' => q{jsonb_build_object('not', jsonb_build_object('not', s))},
	'dependentSchemas' => q{jsonb_build_object('allOf', jsonb_build_array(s), 'dependentSchemas', jsonb_build_object('no such', false))});
for my $name (sort keys %same)
{
	is($node->safe_psql('postgres', "SELECT s, p FROM pair WHERE $self_contained AND says(${\ $same{$name}}, p) <> says LIMIT 3"),
		'', "the same through $name");
}
is($node->safe_psql('postgres', "SELECT s, p FROM pair WHERE $self_contained AND says(jsonb_build_object('not', s), p) = says LIMIT 3"),
	'', 'the opposite through not');
is($node->safe_psql('postgres', q{SELECT p FROM pair WHERE says(jsonb_build_object('const', p), p) <> 'true'
	OR says(jsonb_build_object('enum', jsonb_build_array(0.5, p)), p) <> 'true' LIMIT 3}), '', 'a value is itself');
is($node->safe_psql('postgres', q{SELECT s, p FROM pair WHERE says IN ('true', 'false')
	AND says(jsonb_build_object('prefixItems', jsonb_build_array(true, s)), jsonb_build_array(0, p)) NOT IN (says, '22023', '0A000') AND s::text !~ '"\$(ref|dynamicRef)"' LIMIT 3}),
	'', 'the same as an item');

$node->stop;
done_testing();
