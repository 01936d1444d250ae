# The figures of a large history, for bench/run history: what it takes to read
# triggerdo.runs over BENCH_HISTORY finished runs in 14 day partitions.
#
# The rows are written by INSERTs of a superuser, into partitions that the
# engine has made: one run is triggered on each of the days, by the test
# module's clock. 100 tasks; task-1 has half of all runs, the others share the
# rest, task-100 has ten runs in all, on the oldest day.
# shellcheck shell=bash disable=SC2154

history_fill()
{
	local day t0=$SECONDS
	executors off
	sql -f "$bench/sql/history.sql" >/dev/null
	for ((day = history_days - 1; day >= 0; day--)); do
		sql >/dev/null <<-SQL
			SELECT triggerdo_test.set_time(now() - interval '$day days');
			SELECT triggerdo.cancel_run(triggerdo.trigger_task('task-1'));
		SQL
		sql -c "CALL bench.fill_day(current_date - $day, $((history_n / history_days)), $day = $((history_days - 1)))"
	done
	sql -c 'SELECT triggerdo_test.reset()' >/dev/null
	echo "filled in $((SECONDS - t0)) s" >&2
	t0=$SECONDS
	sql -c 'VACUUM (ANALYZE)'
	echo "vacuumed and analyzed in $((SECONDS - t0)) s" >&2
}

# history_query FIGURE ROLE PROTOCOL REPETITIONS SQL: milliseconds of each, as a
# client has them (planning, execution, the way there and back)
history_query()
{
	local figure=$1 role=$2 protocol=$3 reps=$4 statement=$5 i
	{
		echo "\\o /dev/null"
		[ "$role" = superuser ] || echo "SET ROLE $role;"
		if [ "$protocol" = prepared ]; then
			echo "PREPARE q AS $statement;"
			statement="EXECUTE q;"
		fi
		# what is read from the disk once, is not counted
		for ((i = 0; i < 7; i++)); do echo "$statement"; done
		echo "\\timing on"
		for ((i = 0; i < reps; i++)); do echo "$statement"; done
	} | psql -XqAt -v ON_ERROR_STOP=1 |
		awk '/^Time:/ { print $2 }' | sort -n |
		awk -v f="$figure" '{ v[NR] = $1 }
			END { if (NR == 0) exit 1
				printf "%-58s %9.2f (%.2f - %.2f) ms\n", f, v[int((NR + 1) / 2)], v[1], v[NR] }' |
		tee -a "$out/history.txt"
}

history_plan()
{
	{
		printf '\n-- %s, as %s\n' "$1" "$2"
		{
			[ "$2" = superuser ] || echo "SET ROLE $2;"
			echo "EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) $3"
		} | psql -XqAt -v ON_ERROR_STOP=1
	} | sed -E '/^ *->  Index Scan .*\(never executed\)/,/Index Cond/d; /^ *->  Seq Scan .*\(never executed\)/d' >>"$out/plans.txt"
}

history_main()
{
	history_n=${BENCH_HISTORY:-10000000}
	history_days=14
	local id newest rare all failed role
	history_fill
	sql -F ' ' -c "SELECT 'finished runs', count(*) FROM _triggerdo.result" \
		-c "SELECT 'tables and indexes of the history', pg_size_pretty(sum(pg_total_relation_size(oid)))
			FROM pg_class WHERE relnamespace = '_triggerdo'::regnamespace AND relispartition AND relkind = 'r'" |
		tee -a "$out/history.txt"
	id=$(sql -c "SELECT run_id FROM _triggerdo.run WHERE task = 'task-7' ORDER BY run_id DESC LIMIT 1 OFFSET $((history_n / 2000))")
	id="SELECT * FROM triggerdo.runs WHERE run_id = '$id';"
	newest="SELECT * FROM triggerdo.runs WHERE task = 'task-7' ORDER BY created_at DESC LIMIT 50;"
	rare=${newest/task-7/task-100}
	all="SELECT * FROM triggerdo.runs ORDER BY run_id DESC LIMIT 50;"
	failed="SELECT * FROM triggerdo.runs WHERE status = 'FAILED' ORDER BY run_id DESC LIMIT 50;"
	for role in superuser app; do
		history_query "runs by id, $role" "$role" simple 101 "$id"
		history_query "newest 50 of a task, $role" "$role" simple 51 "$newest"
		history_query "newest 50 of a task with half of all, $role" "$role" simple 51 "${newest/task-7/task-1}"
		history_query "newest 50 of a task with ten runs, $role" "$role" simple 51 "$rare"
		history_query "newest 50 of all, ORDER BY run_id, $role" "$role" simple 51 "$all"
		history_query "newest 50 FAILED, ORDER BY run_id, $role" "$role" simple 11 "$failed"
		history_query "runs by id, prepared, $role" "$role" prepared 101 "$id"
		history_query "newest 50 of a task, prepared, $role" "$role" prepared 51 "$newest"
		history_plan "runs by id" "$role" "$id"
		history_plan "newest 50 of a task" "$role" "$newest"
		history_plan "newest 50 of a task with ten runs" "$role" "$rare"
		history_plan "newest 50 of all" "$role" "$all"
	done
	if [ -n "${BENCH_HISTORY_SLOW:-}" ]; then
		history_query "newest 50 of all, ORDER BY created_at, superuser" superuser simple 3 "${all/run_id/created_at}"
	fi
	cat "$out/plans.txt"
	echo "figures and plans: $out"
}
