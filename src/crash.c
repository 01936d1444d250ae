/*-------------------------------------------------------------------------
 *
 * crash.c
 *	  What was in whose hand when the server crashed, and what comes of it.
 *
 * Job: keep, in a small file that every process has mapped, the runs that each
 * executor has in hand; after a crash, tell those that may have caused it from
 * those that were only cut off; let suspects run alone.
 * Called by: executors, schedulers, and the postmaster when it makes shared
 * memory.
 * Locks: the shared LWLock for the suspects.
 * Crash: that is what the file is for.  It is written by memory stores only,
 * so it costs nothing, and is as true after a crash of any process as it was
 * before.  A crash of the operating system makes it worthless, and is no run's
 * fault: the file names the boot that it is of.
 *
 * Who did it: when a process dies of itself, the postmaster ends the others
 * with SIGQUIT, and executors note that in the file.  So what an executor
 * without that note was executing is suspect, and nothing else.  That is not
 * proof (somebody may have sent the process a SIGKILL): suspects run once more,
 * one at a time while nothing else of ours runs, and only a crash then counts.
 * (Not found is a run that spoils shared memory so that another process dies of
 * it.  Where send_abort_for_crash is on, from 16 on, there is no SIGQUIT, and
 * every run in hand is suspect.)
 *
 * A suspect keeps the others waiting for no longer than twice the time after
 * which it crashed, and a little; one whose turn has come and whom nobody runs,
 * for START_US.
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libpq/pqsignal.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/fd.h"
#include "storage/ipc.h"

#include "clock.h"
#include "compat.h"
#include "crash.h"
#include "guc.h"

/* not part of a base backup, and kept over a restart */
#define HAND_FILE		PG_STAT_TMP_DIR "/triggerdo_in_hand"
#define HAND_MAGIC		0x74646f48
#define HAND_VERSION	1

#define START_US		5000000
#define WINDOW_EXTRA_US	10000000

typedef struct Hand
{
	Oid			database;		/* InvalidOid: no executor */
	int			nruns;
	int			first;			/* a crash would be blamed on first..current */
	int			current;		/* -1: no run has begun */
	bool		alone;
	bool		quit;			/* ended by SIGQUIT: it is not to blame */
	TimestampTz started;		/* current */
	int64		begun_us;		/* the same, monotonic */
	int64		seen_us;		/* monotonic: when it was still at it */
	pg_uuid_t	runs[TDO_MAX_BATCH];
} Hand;

typedef struct HandFile
{
	uint32		magic;
	uint32		version;
	int32		nslots;
	char		boot[40];
	TdoSuspect	suspects[TDO_MAX_SUSPECTS];
	Hand		hands[FLEXIBLE_ARRAY_MEMBER];
} HandFile;

static HandFile *file = NULL;	/* mapped in the postmaster, inherited */
static Hand *my_hand = NULL;
static bool have_suspect = false;	/* this executor runs one, alone */
static pg_uuid_t my_suspect;
static shmem_startup_hook_type prev_shmem_startup = NULL;

/* ---------------------------------------------------------------- the file */

static Size
file_size(void)
{
	return offsetof(HandFile, hands) + sizeof(Hand) * tdo_max_executors;
}

/* the operating system was started anew: then what the file says is old */
static void
read_boot(char *boot, int size)
{
	int			fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY, 0);
	ssize_t		n = fd >= 0 ? read(fd, boot, size - 1) : 0;

	boot[Max(n, 0)] = '\0';
	if (fd >= 0)
		close(fd);
}

/* NULL: it cannot be had; then a crash makes no suspects */
static HandFile *
map_file(void)
{
	int			fd = OpenTransientFile(HAND_FILE, O_RDWR | O_CREAT | PG_BINARY);
	struct stat st;
	void	   *map = MAP_FAILED;

	if (fd >= 0)
	{
		/* one of another size was written under other settings */
		bool		fits = fstat(fd, &st) == 0 &&
		(st.st_size == (off_t) file_size() || ftruncate(fd, 0) == 0);

		/* a store into a hole that the disk has no room for would be a SIGBUS */
		if (fits)
			errno = posix_fallocate(fd, 0, file_size());
		if (fits && errno == 0)
			map = mmap(NULL, file_size(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		CloseTransientFile(fd);
	}
	if (map == MAP_FAILED)
	{
		ereport(LOG,
				(errcode_for_file_access(),
				 errmsg("could not map file \"%s\": %m", HAND_FILE),
				 errdetail("After a crash of the server triggerdo will not know which run to suspect.")));
		map = mmap(NULL, file_size(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	}
	return map == MAP_FAILED ? NULL : map;
}

/* -------------------------------------------------------- after a crash */

static TdoSuspect *
find_suspect(Oid database, const pg_uuid_t *run)
{
	for (int i = 0; i < TDO_MAX_SUSPECTS; i++)
	{
		TdoSuspect *s = &file->suspects[i];

		if (s->state != TDO_SUSPECT_UNUSED && s->database == database &&
			memcmp(&s->run, run, sizeof(*run)) == 0)
			return s;
	}
	return NULL;
}

static void
suspect(const Hand *hand, const pg_uuid_t *run)
{
	TdoSuspect *s = find_suspect(hand->database, run);

	for (int i = 0; s == NULL && i < TDO_MAX_SUSPECTS; i++)
	{
		if (file->suspects[i].state == TDO_SUSPECT_UNUSED)
			s = &file->suspects[i];
	}
	if (s == NULL)
		return;					/* so many: the others run as usual */
	s->state = TDO_SUSPECT_NEW;
	s->database = hand->database;
	s->counts = s->counts || hand->alone;
	s->run = *run;
	s->started = hand->started;
	/* (not the time for which the server was down) */
	s->window_us = 2 * Max(hand->seen_us - hand->begun_us, 0) + WINDOW_EXTRA_US;
}

/* the postmaster, before anybody else has the file */
static void
read_hands(void)
{
	uint32		n = 0;

	for (int i = 0; i < TDO_MAX_SUSPECTS; i++)
	{
		TdoSuspect *s = &file->suspects[i];

		if (s->state == TDO_SUSPECT_UNUSED)
			continue;
		/* counted before, or to be counted still */
		if (s->state != TDO_SUSPECT_NEW)
			s->counts = false;
		s->state = TDO_SUSPECT_NEW;
		s->until_us = 0;
	}
	for (int i = 0; i < file->nslots; i++)
	{
		const Hand *hand = &file->hands[i];

		if (!OidIsValid(hand->database) || hand->quit || hand->current < 0)
			continue;
		for (int k = hand->first; k <= hand->current && k < hand->nruns; k++)
			suspect(hand, &hand->runs[k]);
	}
	memset(file->hands, 0, sizeof(Hand) * file->nslots);
	for (int i = 0; i < TDO_MAX_SUSPECTS; i++)
	{
		if (file->suspects[i].state != TDO_SUSPECT_UNUSED)
			n++;
	}
	pg_atomic_write_u32(&tdo_shared->nsuspects, n);
}

static void
shmem_startup(void)
{
	char		boot[sizeof(file->boot)] = "";

	if (prev_shmem_startup)
		prev_shmem_startup();
	/* (a standalone backend has no executors) */
	if (!IsPostmasterEnvironment || IsUnderPostmaster)
		return;
	if (file == NULL)
		file = map_file();
	if (file == NULL)
		return;
	read_boot(boot, sizeof(boot));
	if (file->magic == HAND_MAGIC && file->version == HAND_VERSION &&
		file->nslots == tdo_max_executors && strcmp(file->boot, boot) == 0)
		read_hands();
	else
	{
		memset(file, 0, file_size());
		file->version = HAND_VERSION;
		file->nslots = tdo_max_executors;
		strlcpy(file->boot, boot, sizeof(file->boot));
		file->magic = HAND_MAGIC;
	}
}

void
tdo_crash_init(void)
{
	prev_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = shmem_startup;
}

/* ------------------------------------------------------------- one hand */

/* the postmaster ends us because of somebody else */
static void
note_quit(SIGNAL_ARGS)
{
	my_hand->quit = true;
	SignalHandlerForCrashExit(postgres_signal_arg);
}

static void
drop_hand(int code, Datum arg)
{
	if (have_suspect)
		tdo_suspect_drop(&my_suspect);
	my_hand->database = InvalidOid;
}

void
tdo_hand_take(int slot)
{
	if (file == NULL)
		return;
	my_hand = &file->hands[slot];
	memset(my_hand, 0, sizeof(Hand));
	my_hand->current = -1;
	my_hand->database = MyDatabaseId;
	on_shmem_exit(drop_hand, (Datum) 0);
	pqsignal(SIGQUIT, note_quit);
}

void
tdo_hand_set(int nruns, const pg_uuid_t *runs)
{
	if (my_hand == NULL)
		return;
	/* in an order that is right at every instant */
	my_hand->current = -1;
	pg_write_barrier();
	if (nruns > 0)
		memcpy(my_hand->runs, runs, nruns * sizeof(pg_uuid_t));
	my_hand->nruns = nruns;
	pg_write_barrier();
}

/* called in a signal handler */
void
tdo_hand_seen(void)
{
	if (my_hand)
		my_hand->seen_us = tdo_monotonic_us();
}

void
tdo_hand_set_current(int first, int current, TimestampTz started)
{
	if (my_hand == NULL)
		return;
	my_hand->first = first;
	if (my_hand->current != current)
	{
		my_hand->started = started;
		my_hand->begun_us = tdo_monotonic_us();
	}
	pg_write_barrier();
	my_hand->current = current;
}

/* -------------------------------------------------------------- suspects */

bool
tdo_suspect_next(Oid database, int n, TdoSuspect *suspect)
{
	bool		found = false;

	if (pg_atomic_read_u32(&tdo_shared->nsuspects) == 0)
		return false;
	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	for (int i = 0; i < TDO_MAX_SUSPECTS && !found; i++)
	{
		TdoSuspect *s = &file->suspects[i];

		found = s->state == TDO_SUSPECT_NEW && s->database == database && n-- == 0;
		if (found)
			*suspect = *s;
	}
	LWLockRelease(tdo_shared->lock);
	return found;
}

void
tdo_suspect_ready(const TdoSuspect *suspect, Oid owner)
{
	TdoSuspect *s;

	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	s = find_suspect(suspect->database, &suspect->run);
	if (s && s->state == TDO_SUSPECT_NEW)
	{
		s->owner = owner;
		s->counts = false;
		s->state = TDO_SUSPECT_READY;
	}
	LWLockRelease(tdo_shared->lock);
}

/* caller holds the lock */
static void
drop_suspect(TdoSuspect *s)
{
	/* whoever runs it is not alone any more */
	for (int i = 0; i < file->nslots; i++)
	{
		Hand	   *hand = &file->hands[i];

		if (hand->alone && hand->database == s->database)
			hand->alone = false;
	}
	memset(s, 0, sizeof(*s));
	pg_atomic_fetch_sub_u32(&tdo_shared->nsuspects, 1);
}

void
tdo_suspect_drop(const pg_uuid_t *run)
{
	TdoSuspect *s;

	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	s = file ? find_suspect(MyDatabaseId, run) : NULL;
	if (s)
		drop_suspect(s);
	LWLockRelease(tdo_shared->lock);
	have_suspect = false;
}

/* caller holds the lock: whose turn it is, those whose time is over being dropped */
static TdoSuspect *
suspect_in_turn(void)
{
	int64		now = tdo_monotonic_us();

	for (int i = 0; i < TDO_MAX_SUSPECTS; i++)
	{
		TdoSuspect *s = &file->suspects[i];

		if (s->state == TDO_SUSPECT_UNUSED)
			continue;
		if (s->until_us == 0)
			s->until_us = now + START_US;
		if (now <= s->until_us)
			return s;
		drop_suspect(s);
	}
	return NULL;
}

/*
 * Those who would only wait must not take the places of those who are waited
 * for.
 */
bool
tdo_suspect_allows(Oid database, Oid owner)
{
	bool		allowed = false;

	if (likely(pg_atomic_read_u32(&tdo_shared->nsuspects) == 0))
		return true;
	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	if (suspect_in_turn() == NULL)
		allowed = true;
	for (int i = 0; i < TDO_MAX_SUSPECTS && !allowed; i++)
	{
		TdoSuspect *s = &file->suspects[i];

		allowed = (s->state == TDO_SUSPECT_READY || s->state == TDO_SUSPECT_RUNNING) &&
			s->database == database && s->owner == owner;
	}
	LWLockRelease(tdo_shared->lock);
	return allowed;
}

TdoTurn
tdo_suspect_turn(Oid database, Oid role, pg_uuid_t *run)
{
	TdoSuspect *s;
	TdoTurn		turn = TDO_TURN_WAIT;

	if (likely(pg_atomic_read_u32(&tdo_shared->nsuspects) == 0))
		return TDO_TURN_FREE;
	LWLockAcquire(tdo_shared->lock, LW_EXCLUSIVE);
	s = suspect_in_turn();
	if (s == NULL)
		turn = TDO_TURN_FREE;
	else if (s->state == TDO_SUSPECT_READY && s->database == database && s->owner == role)
	{
		s->state = TDO_SUSPECT_RUNNING;
		s->until_us = tdo_monotonic_us() + s->window_us;
		my_hand->alone = true;
		my_suspect = *run = s->run;
		have_suspect = true;
		turn = TDO_TURN_MINE;
	}
	LWLockRelease(tdo_shared->lock);
	return turn;
}
