# Shared by the examples that run on a throw-away server of their own: that
# server, progress, the kills, and the verdict. An example sources scripts/lib.sh
# and this, and has a table app.ledger, without a key, into which each run that
# succeeds writes one row. For it there are
#   $limit     how many packages are wanted, 0 for all (DEMO_LIMIT)
#   $here      after start_demo: its own folder
# shellcheck shell=bash disable=SC2034,SC2154

# So many seconds without a run's end mean that something is wrong.
patience=120

limit=${DEMO_LIMIT:-0}
case $limit in *[!0-9]* | "") die "DEMO_LIMIT must be a number, not \"$limit\"" ;; esac

# psql as ROLE, quiet; the other arguments are psql's
sql()
{
	local role=$1
	shift
	as_user "$bindir/psql" -X -q -v ON_ERROR_STOP=1 -h "$work/socket" \
		-U "$role" -d postgres "$@"
}

ask()
{
	sql app -A -t -c "$1"
}

# microseconds since 1970
now()
{
	echo "${EPOCHREALTIME/[.,]/}"
}

# seconds MICROSECONDS: "12.3"
seconds()
{
	printf '%d.%d' $(($1 / 1000000)) $(($1 % 1000000 / 100000))
}

# rate COUNT MICROSECONDS: so many a second
rate()
{
	echo $(($1 * 1000000 / ($2 > 0 ? $2 : 1)))
}

# ---------------------------------------------------------------------------
# The server

# start_demo FOLDER: builds triggerdo into the scratch folder; $here is FOLDER's
# copy, readable to the user whom the server belongs to
start_demo()
{
	"$top/scripts/setup"
	scratch
	here=$tree/examples/$1
	echo "building"
	if ! build_extension . >"$work/build.log" 2>&1; then
		cat "$work/build.log" >&2
		die "the build failed"
	fi
}

start_server()
{
	as_user mkdir -m 700 "$work/socket"
	as_user "$bindir/initdb" -D "$work/data" -U postgres -A trust -E UTF8 \
		--no-locale --no-sync >/dev/null
	# The socket's folder is the lock on the door, and there is no other door.
	{
		cat "$conf"
		echo "shared_preload_libraries = 'triggerdo'"
		echo "listen_addresses = ''"
		echo "unix_socket_directories = '$work/socket'"
		echo "max_worker_processes = 16"
		echo "fsync = on"
	} | as_user tee -a "$work/data/postgresql.conf" >/dev/null
	start_postmaster || give_up "the server does not start"
}

start_postmaster()
{
	as_user "$bindir/pg_ctl" -D "$work/data" -l "$work/server.log" -w start \
		>/dev/null 2>&1
}

# ---------------------------------------------------------------------------
# Progress

# Says what can be seen from outside, and ends.
give_up()
{
	local why=$1
	echo >&2
	sql app -c "SELECT task, status, count(*), max(attempt) AS attempt,
			left(min(error->>'message'), 200) AS \"an error\"
		FROM triggerdo.runs GROUP BY 1, 2 ORDER BY 1, 2" >&2 2>/dev/null || true
	tail -n 20 "$work/server.log" >&2 2>/dev/null || true
	die "$why"
}

unfinished()
{
	ask "SELECT count(*) FROM triggerdo.runs WHERE status NOT IN ('COMPLETED',
		'CANCELED', 'FAILED', 'CRASHED', 'SYSTEM_FAILURE', 'EXPIRED', 'TIMED_OUT')" 2>/dev/null
}

# watch SINCE TOTAL WHAT QUERY [BASE]: shows progress until every run is final.
# QUERY gives how many are done, BASE of them before this began, and what else is
# to be said. It should be cheap, as a count of the ledger is (what is committed
# there is done) and a look at all runs is not while they are many.
watch()
{
	local began=$1 total=$2 what=$3 query=$4 base=${5:-0} done=0 more='' seen=-1 moved printed=0 t row line
	moved=$began
	while :; do
		# (unknown for a moment is no failure: the next look says)
		if row=$(ask "$query" 2>/dev/null); then
			done=$((${row%%|*} - base)) more=${row#*|}
		fi
		t=$(now)
		if [ "$done" -ne "$seen" ]; then
			seen=$done moved=$t
		fi
		line="  $done of $total $what, $(rate "$done" $((t - began)))/s$more"
		if [ -t 1 ]; then
			printf '\r%s \033[K' "$line"
		elif [ $((t - printed)) -ge 2000000 ]; then
			printf '%s\n' "$line"
			printed=$t
		fi
		if [ "$done" -ge "$total" ] && [ "$(unfinished || echo 1)" -eq 0 ]; then
			break
		fi
		# A run that ended otherwise than it should writes no row, ever.
		if [ $((t - moved)) -ge 5000000 ] && [ "$(unfinished || echo 1)" -eq 0 ]; then
			break
		fi
		[ $((t - moved)) -lt $((patience * 1000000)) ] ||
			give_up "no run ended for $patience s"
		sleep 0.5
	done
	[ ! -t 1 ] || printf '\r\033[K'
}

# ---------------------------------------------------------------------------
# KILL=1

# when_done PERCENT SQL: waits for that share of what $target says, in the server,
# which notices within milliseconds, and then asks
when_done()
{
	sql postgres -A -t -F ' ' -c "DO \$\$ BEGIN
			WHILE (SELECT count(*) FROM app.ledger) < $base + $target * $1 / 100.0 LOOP
				PERFORM pg_sleep(0.002);
			END LOOP; END \$\$" -c "$2"
}

wait_for_server()
{
	local i
	for ((i = 0; i < 1000; i++)); do
		! ask "SELECT 1" >/dev/null 2>&1 || return 0
		sleep 0.02
	done
	return 1
}

# told COUNT WHAT SINCE: what was done, and how long nobody could connect
told()
{
	local count=$(($1 - base))
	printf '  killed     %s, with %d of %d packages indexed (%d %%); connections again after %s s\n' \
		"$2" "$count" "$target" $((count * 100 / target)) "$(seconds $(($(now) - $3)))" >>"$work/killed"
}

# The process is one that has a run in hand, if any has. PostgreSQL ends all
# others when one was killed, and begins anew by itself.
kill_executor()
{
	local count pid t
	read -r count pid < <(when_done 25 "
		SELECT (SELECT count(*) FROM app.ledger), a.pid
		FROM pg_stat_activity AS a LEFT JOIN triggerdo.workers AS w ON w.pid = a.pid
		WHERE a.backend_type = 'triggerdo executor'
		ORDER BY w.run_id IS NULL, a.pid LIMIT 1")
	t=$(now)
	kill -KILL "$pid"
	sleep 0.01
	wait_for_server
	told "$count" "executor $pid" "$t"
}

# A stopped postmaster starts no process that would be missed here. It is not
# started again before each of them is gone, and with them what they shared.
kill_server()
{
	local count postmaster pids t i pid
	count=$(when_done 60 "SELECT count(*) FROM app.ledger")
	t=$(now)
	postmaster=$(head -n 1 "$work/data/postmaster.pid")
	kill -STOP "$postmaster"
	mapfile -t pids < <(grep -ls "^PPid:[[:space:]]*$postmaster\$" /proc/[0-9]*/status |
		cut -d / -f 3)
	kill -KILL "$postmaster" "${pids[@]}" 2>/dev/null || true
	for pid in "$postmaster" "${pids[@]}"; do
		for ((i = 0; i < 500; i++)); do
			[ -e "/proc/$pid" ] || break
			sleep 0.01
		done
	done
	start_postmaster || start_postmaster
	wait_for_server
	told "$count" "the server, $((${#pids[@]} + 1)) processes" "$t"
}

# start_killer TARGET [BASE]: both, in the background, where they are wanted, when
# their shares of TARGET rows have come to the ledger's BASE
start_killer()
{
	local target=$1 base=${2:-0}
	killer=
	if [ -n "${KILL:-}" ]; then
		{ kill_executor; kill_server; } 2>"$work/kill.log" &
		killer=$!
	fi
}

# Waits for both, and tells.
join_killer()
{
	[ -n "$killer" ] || return 0
	wait "$killer" || {
		cat "$work/kill.log" >&2
		give_up "what was to be killed was not, or did not come back"
	}
	wait_for_server
	cat "$work/killed"
}

# What check.sql finds is broken.
check_demo()
{
	sql postgres -A -t -F ': ' -f "$here/check.sql" >"$work/broken" ||
		give_up "the checks could not be made"
	if [ -s "$work/broken" ]; then
		cat "$work/broken" >&2
		echo "demo: what must hold does not" >&2
		return 1
	fi
}
