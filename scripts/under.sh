# For scripts/check --under TOOL: servers whose every access to memory is looked
# at. What the tool reports is a failed test, and so is a tool that is blind.
#
#   asan      AddressSanitizer and UndefinedBehaviorSanitizer: triggerdo and the
#             test module are built with them, the server is not. So what malloc
#             gave, the stack and globals are watched. From Debian's PostgreSQL 17
#             on: 15 hangs in the loader when libasan comes first.
#   valgrind  memcheck, of the whole server; some 20 times slower. Of a server
#             built with USE_VALGRIND (scripts/check-cassert) it sees what palloc
#             gave, too, of Debian's only what malloc gave.
#
# The server is started by pg_regress and by pg_ctl, and each takes the "postgres"
# that lies beside it. So they get a folder of programs in which that one is a
# script. initdb is a link there, looks where that leads to, and is not watched.
# shellcheck shell=bash disable=SC2034,SC2154

reports=$out/reports
planted=()

tool_setup()
{
	local bin=$work/bin program real=$bindir
	as_user mkdir "$reports"
	mkdir "$bin"
	for program in "$real"/*; do
		ln -s "$program" "$bin/"
	done
	rm "$bin/postgres" "$bin/pg_ctl"
	cp "$real/pg_ctl" "$bin/"
	case $tool in
	asan) tool_asan "$real/postgres" ;;
	valgrind) tool_valgrind "$real/postgres" ;;
	*) die "--under: \"$tool\" is neither asan nor valgrind" ;;
	esac >"$bin/postgres"
	chmod 755 "$bin/postgres"
	bindir=$bin
	user_env+=("PATH=$bin:$PATH")
}

# These two print the script that starts the server.
tool_asan()
{
	[ "$pg_major" -ge 17 ] ||
		die "--under asan needs PostgreSQL 17 or later; this is $pg_major"
	patience=2
	planted=(shift malloc)
	build_options=(COPT='-fsanitize=address,undefined -fno-omit-frame-pointer -O1 -g')
	cat <<-EOF
		#!/bin/sh
		export LD_PRELOAD=$(readlink -f "$(gcc -print-file-name=libasan.so)")
		export ASAN_OPTIONS=detect_leaks=0:abort_on_error=1:handle_segv=0:log_path=$reports/report
		export UBSAN_OPTIONS=print_stacktrace=1:log_path=$reports/report
		exec "$1" "\$@"
	EOF
}

tool_valgrind()
{
	command -v valgrind >/dev/null || die "valgrind is not installed"
	patience=6
	planted=(malloc)
	build_options=()
	# (LLVM's library alone would fill the report)
	echo 'jit = off' >>"$conf"
	case $("$PG_CONFIG" --cppflags) in
	*USE_VALGRIND*) planted+=(palloc) ;;
	esac
	# (pg_ctl asks for the version)
	cat <<-EOF
		#!/bin/sh
		[ "\$1" != -V ] || exec "$1" -V
		exec valgrind --quiet --leak-check=no --trace-children=yes --num-callers=25 \\
			--gen-suppressions=all --suppressions="$tree/test/valgrind.supp" \\
			--log-file="$reports/report.%p" "$1" "\$@"
	EOF
}

# Lists the files in which something is reported.
reported()
{
	find "$reports" -type f -size +0
	# (what came before log_path was read)
	find "$out" -name '*.log' -exec grep -l 'runtime error: ' {} + || true
}

# Errors made on purpose, each in a session of its own, must be reported.
tool_selftest()
{
	local dir=$out/selftest how before
	local sql=(psql -X -h "$dir" -U postgres -d postgres -c)
	echo "$tool"
	as_user mkdir "$dir"
	{
		attend 60 initdb -D "$dir/data" -A trust -U postgres --no-sync &&
			attend 10 sh -c "cat '$conf' >>'$dir/data/postgresql.conf'" &&
			attend 120 pg_ctl -D "$dir/data" -w -t 100 -l "$dir/server.log" \
				-o "-k $dir -c listen_addresses=" start &&
			attend 60 "${sql[@]}" "CREATE EXTENSION triggerdo_test"
	} >"$dir/out" 2>&1 || true
	for how in "${planted[@]}"; do
		before=$(reported | wc -l)
		attend 60 "${sql[@]}" "SELECT triggerdo_test.misbehave('$how')" >>"$dir/out" 2>&1 || true
		if [ "$(reported | wc -l)" -gt "$before" ]; then
			pass "$tool: a planted error is reported ($how)"
		else
			fail "$tool: a planted error is reported ($how)"
			show "$tool" "$dir/out"
			show "server log" "$dir/server.log" 40
		fi
	done
	attend 60 pg_ctl -D "$dir/data" -w -m immediate stop >>"$dir/out" 2>&1 || true
	stop_servers
	rm -rf "${dir:?}/data" "$dir/server.log" "${reports:?}"/*
}

# One test: that nothing is reported; each process that did is a failed one.
tool_reports()
{
	local file n=0
	while IFS= read -r file; do
		n=$((n + 1))
		fail "$tool: a report in ${file#"$out/"}"
		[ "$n" -gt 5 ] || { show "$tool" "$file" 80; }
	done < <(reported)
	[ "$n" -gt 0 ] || pass "$tool: nothing to report"
}
