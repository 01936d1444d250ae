# The figures of payload schemas, for bench/run schema: one check by itself, what it
# adds to an enqueue, and how long what is costly takes until it is given up.
# shellcheck shell=bash disable=SC2154

schema_main()
{
	local task i
	executors off
	sql -c 'CREATE EXTENSION triggerdo_test' -f "$bench/sql/schema.sql" | grep -v '^$' | tee "$out/schema.txt"
	for ((i = 0; i < reps; i++)); do
		for task in plain ten large; do
			sql -c "CHECKPOINT"
			timed app "SELECT count(triggerdo.trigger_task('$task', payload)) FROM bench.ten, generate_series(1, $n)" |
				awk -v t="$task" -v n="$n" '{ print t, 1e6 * $1 / n }' >>"$out/schema.raw"
		done
	done
	for task in plain ten large; do
		awk -v t="$task" '$1 == t { print $2 }' "$out/schema.raw" | sort -n |
			awk -v t="$task" '{ v[NR] = $1 }
				END { printf "enqueue, task \"%s\": %.2f us a run (%.2f - %.2f)\n", t, v[int((NR + 1) / 2)], v[1], v[NR] }' |
			tee -a "$out/schema.txt"
	done
	echo "load before: $load" | tee -a "$out/schema.txt"
}
