# README.md as a test: its code blocks, what is said to come of them, and a server
# on which they run in their order.
#
#   blocks()               [ { language, text, line, shown, as, skip }... ]
#   run_sql(NODE, BLOCK)   runs one; gives what psql printed
#   same(SHOWN, GOT)       whether the lines shown are among those printed
#
# A block is run as role "app", in a session of its own. A comment before it says otherwise:
# <!-- superuser -->, or <!-- not run: why -->. The block without a language that follows it,
# with nothing between, is the result shown: its lines must come one after the other in
# what is printed. Ids and the widths of columns may differ, empty lines and "(3 rows)" may be missing;
# where <!-- an example --> stands before the result, it is not compared.

package TriggerdoManual;

use strict;
use warnings;

use Exporter qw(import);
use FindBin;
use IPC::Run ();
use PostgreSQL::Test::Utils;

our @EXPORT_OK = qw(blocks run_sql same);

sub blocks
{
	my @lines = split /\n/, slurp_file("$FindBin::Bin/../../README.md"), -1;
	my (@blocks, $block, $note);

	foreach my $n (0 .. $#lines)
	{
		my $line = $lines[$n];
		if ($block)
		{
			if ($line eq '```')
			{
				push @blocks, $block;
				undef $block;
				undef $note;
			}
			else { $block->{text} .= "$line\n" }
		}
		elsif ($line =~ /^```(\w*)$/)
		{
			$block = { language => $1, text => '', line => $n + 1, note => $note // '' };
			# (a result stands below what it comes of)
			$block->{result} = 1 if $1 eq '' && @blocks && !$blocks[-1]{apart};
		}
		elsif ($line =~ /^<!-- (.*) -->$/) { $note = $1 }
		elsif ($line ne '') { $blocks[-1]{apart} = 1 if @blocks; undef $note }
	}
	foreach my $i (reverse 1 .. $#blocks)
	{
		next unless $blocks[$i]{result};
		$blocks[ $i - 1 ]{shown} = $blocks[$i]{text} unless $blocks[$i]{note} eq 'an example';
		splice @blocks, $i, 1;
	}
	return @blocks;
}

sub run_sql
{
	my ($node, $block) = @_;
	my $sql = ($block->{note} eq 'superuser' ? '' : "SET ROLE app;\n") . "\\set QUIET off\n" . $block->{text};
	my $out = '';

	IPC::Run::run([ 'psql', '-X', '-q', '-d', $node->connstr('postgres') ], '<', \$sql, '>&', \$out,
		IPC::Run::timeout(60));
	return $out;
}

sub tidy
{
	my ($text) = @_;
	my @lines;

	foreach my $line (split /\n/, $text)
	{
		next if $line =~ /^\s*$|^\(\d+ rows?\)$/;
		$line =~ s/[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/<id>/g;
		$line =~ s/\s+/ /g;
		$line =~ s/-{2,}/--/g;
		$line =~ s/^ | $//g;
		push @lines, $line;
	}
	return join "\n", '', @lines, '';
}

sub same
{
	my ($shown, $got) = @_;
	return index(tidy($got), tidy($shown)) >= 0;
}

1;
