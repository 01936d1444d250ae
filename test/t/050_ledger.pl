# The ledger of kills, in its short form (make chaos is the long one): runs of
# every kind while executors, schedulers, clients and the whole server are
# killed; nothing is lost, nothing is doubled. F01, F02, F03, F04, F05, F07, F08.
#
# Red without: effects and result in one transaction (batch_transaction(),
# complete_procedure()); the lock of a claim (claim_from() in ready.c), "state ==
# TDO_LIVE_QUEUED" in tdo_ready_claim_one(); tdo_claim_is_void(); tdo_live_delete()
# in tdo_finish(), tdo_live_update() in tdo_fail(), tdo_wake_timer() there and in
# tdo_enqueue(); mark_prepared(). test/chaos/mutants takes them out one by one.

use strict;
use warnings;

use Test::More;

use TriggerdoLedger qw(ledger_of_kills);

ledger_of_kills(
	kills => $ENV{CHAOS_KILLS} // 30,
	runs => $ENV{CHAOS_RUNS} // 3000,
	seed => $ENV{CHAOS_SEED} // 20261123,
	clients => $ENV{CHAOS_CLIENTS} // 3,
	quiet => $ENV{CHAOS_QUIET} // 1);
done_testing();
