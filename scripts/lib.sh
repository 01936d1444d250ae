# Shared by the scripts that run triggerdo on a throw-away server: a scratch
# directory, an unprivileged user, a staged build, and a clean end. At the end of
# the file: what the scripts share that run others and add up their verdicts, and
# those that need something of Debian.
#
# A script sources this, calls "scratch" and "build", and then has
#   $work    the scratch directory; all that is made lies in it
#   $tree    a copy of the checkout, built
#   $stage   what "make install" would have put under /
#   $conf    the server settings that make a server use $stage
#   $bindir  the server's programs
#   as_user  runs a command as the unprivileged user
#   attend   the same, in the background and with a time limit, so that a
#            signal to the script is heard at once
# At the end, however it comes, servers are stopped and $work is removed.
# shellcheck shell=bash disable=SC2034

set -euo pipefail

# (a make above us has its own opinions on what the makes below do)
unset MAKEFLAGS MFLAGS MAKELEVEL

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
work=

# What is made once and kept: chroots, a server built from source.
cache=${TRIGGERDO_CACHE:-/var/cache/triggerdo}

die()
{
	echo "$(basename "$0"): $*" >&2
	exit 1
}

# Finds the PostgreSQL to use; Debian's pg_config may be off the PATH.
find_pg()
{
	if [ -z "${PG_CONFIG:-}" ]; then
		PG_CONFIG=$(command -v pg_config ||
			echo "/usr/lib/postgresql/${PG_MAJOR:-15}/bin/pg_config")
	fi
	export PG_CONFIG
	bindir=$("$PG_CONFIG" --bindir)
	pgxs_dir=$(dirname "$(dirname "$(dirname "$("$PG_CONFIG" --pgxs)")")")
	pg_major=$("$PG_CONFIG" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
}

# The server refuses to run as root, and TAP tests write beside the sources:
# root hands everything to the user "postgres". Nobody's environment comes along.
as_user()
{
	if [ "$(id -u)" -eq 0 ]; then
		setpriv --reuid=postgres --regid=postgres --init-groups --reset-env \
			env -C "$work" "${user_env[@]}" "$@"
	else
		env -i -C "$work" USER="$(id -un)" "${user_env[@]}" "$@"
	fi
}

# attend SECONDS COMMAND...
attend()
{
	local seconds=$1 status=0
	shift
	as_user timeout --kill-after=10 "$seconds" "$@" </dev/null &
	wait $! || status=$?
	return $status
}

scratch()
{
	find_pg
	# Not under TMPDIR: a socket's path may have 107 bytes, and the tests hang
	# directories of their own below this one.
	work=$(mktemp -d /tmp/triggerdo.XXXXXX)
	trap finish EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	tree=$work/tree
	stage=$work/stage
	conf=$work/server.conf
	user_env=(
		"PATH=$bindir:$PATH" LC_ALL=C "TMPDIR=$work/tmp" "HOME=$work"
		"PG_CONFIG=$PG_CONFIG"
	)
	local name
	for name in TDO_LONG_SECONDS TDO_DRIVERS NODE_PATH; do
		[ -z "${!name:-}" ] || user_env+=("$name=${!name}")
	done
	mkdir "$tree" "$stage" "$work/tmp"
	copy_tree
	write_conf
	chmod 755 "$work"
	if [ "$(id -u)" -eq 0 ]; then
		chown -R postgres: "$work"
	fi
}

# Copies what git tracks or would track; all of it where there is no git.
copy_tree()
{
	local list=$work/tmp/files
	cd "$top"
	# (the checkout may belong to another user, which git minds)
	if git -c safe.directory="$top" ls-files -z --cached --others \
		--exclude-standard >"$list" 2>/dev/null && [ -s "$list" ]; then
		# (a file deleted but not yet committed is listed still)
		perl -0 -lne 'print if -e || -l' "$list" |
			tar --null --files-from=- -cf - | tar -xf - -C "$tree"
	else
		tar --exclude-vcs --exclude='*.o' --exclude='*.so' --exclude='*.bc' \
			-cf - . | tar -xf - -C "$tree"
	fi
	rm -f "$list"
}

# Nothing is installed: the server is told to look into the stage. Up to 17
# that is Debian's own setting, from 18 on PostgreSQL's.
write_conf()
{
	{
		cat "$top/test/triggerdo.conf"
		# shellcheck disable=SC2016
		printf "dynamic_library_path = '%s:\$libdir'\n" \
			"$stage$("$PG_CONFIG" --pkglibdir)"
		if [ "$pg_major" -ge 18 ]; then
			# shellcheck disable=SC2016
			printf "extension_control_path = '%s:\$system'\n" \
				"$stage$("$PG_CONFIG" --sharedir)"
		else
			printf "extension_destdir = '%s'\n" "$stage"
		fi
	} >"$conf"
}

# build_extension FOLDER [ARGUMENT OF MAKE...]: builds one into the stage. What
# is compiled for JIT inlining would double the time and is not tested.
build_extension()
{
	local folder=$1
	shift
	attend 600 make -s -j2 -C "$tree/$folder" with_llvm=no "$@" &&
		attend 60 make -s -C "$tree/$folder" with_llvm=no "$@" install \
			DESTDIR="$stage"
}

# build [ARGUMENT OF MAKE...]: triggerdo and the test module.
build()
{
	build_extension . "$@" && build_extension test/modules/triggerdo_test "$@"
}

# Stops the servers whose data lies in the scratch directory, and only those.
stop_servers()
{
	local file pid i
	find "$work" -name postmaster.pid 2>/dev/null | while read -r file; do
		pid=$(head -n 1 "$file" 2>/dev/null) || continue
		# (valgrind is the program that runs, if it does)
		case $(readlink "/proc/$pid/exe" 2>/dev/null) in
		*/postgres | */valgrind/memcheck-*) ;;
		*) continue ;;
		esac
		kill -INT "$pid" 2>/dev/null || continue
		for ((i = 0; i < 100; i++)); do
			kill -0 "$pid" 2>/dev/null || continue 2
			[ "$i" -ne 50 ] || kill -QUIT "$pid" 2>/dev/null || true
			sleep 0.1
		done
		kill -KILL "$pid" 2>/dev/null || true
	done
}

finish()
{
	local status=$? job
	trap '' INT TERM HUP
	for job in $(jobs -p); do
		kill "$job" 2>/dev/null || true
	done
	wait
	stop_servers
	cd /
	# (a server on its way out may still write for an instant)
	rm -rf "$work" 2>/dev/null || { sleep 1; rm -rf "$work"; }
	exit "$status"
}

# ---------------------------------------------------------------------------
# Verdicts. A part of the tests ends with a line "N passed, N failed"; so does
# what runs several parts, with one such line, of the sums.

# not_here REASON: this machine cannot run a part. The build machine must be able
# to; elsewhere it is enough to say so.
not_here()
{
	if [ -n "${CI:-}" ]; then
		printf '%s: cannot be run: %s\n\n0 passed, 1 failed\n' "$(basename "$0")" "$*"
		exit 1
	fi
	printf '%s: skipped: %s\n\n0 passed, 0 failed\n' "$(basename "$0")" "$*"
	exit 0
}

sum_passed=0
sum_failed=0
stages=()
stage_child=

# stage NAME COMMAND...: runs a part, shows all of it but its last line, and adds
# that up. A part without one has failed; so has one that ends with an error and
# tells of none.
stage()
{
	local name=$1 log to filter start=$SECONDS code=0 verdict good=0 bad=0
	shift
	trap stop_stage EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	log=$(mktemp)
	printf '\n==== %s\n\n' "$name"
	exec {to}> >(exec tee "$log" | sed -u -E \
		'/^[0-9]+ passed, [0-9]+ failed$/d; /^make: \*\*\* /d')
	filter=$!
	# (waited for, so that a signal to us is heard at once)
	"$@" </dev/null >&"$to" 2>&1 {to}>&- &
	stage_child=$!
	wait "$stage_child" || code=$?
	stage_child=
	exec {to}>&-
	wait "$filter" || true
	verdict=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$log" | tail -n 1) || true
	rm -f "$log"
	if [ -n "$verdict" ]; then
		good=${verdict%% *}
		bad=${verdict#*, }
		bad=${bad%% *}
	else
		echo "$name: ended without a verdict (status $code)"
	fi
	[ "$bad" -gt 0 ] || { [ -n "$verdict" ] && [ "$code" -eq 0 ]; } || bad=1
	sum_passed=$((sum_passed + good))
	sum_failed=$((sum_failed + bad))
	stages+=("$(printf '%-28s %5d passed %4d failed %6d s' "$name" "$good" "$bad" \
		$((SECONDS - start)))")
	[ $((good + bad)) -gt 0 ] || stages[-1]+='  (skipped)'
}

stop_stage()
{
	local code=$?
	trap '' INT TERM HUP
	if [ -n "$stage_child" ]; then
		kill -TERM "$stage_child" 2>/dev/null || true
		wait "$stage_child" 2>/dev/null || true
	fi
	exit "$code"
}

# The end of a script of stages.
add_up()
{
	echo
	printf '%s\n' "${stages[@]}"
	printf '\n%d passed, %d failed\n' "$sum_passed" "$sum_failed"
	[ "$sum_failed" -eq 0 ]
	exit
}

# ---------------------------------------------------------------------------
# Debian

# apt LOG ARGUMENT...: apt-get without questions; what it says is in the log
apt()
{
	local log=$1
	shift
	DEBIAN_FRONTEND=noninteractive apt-get -y -q \
		-o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confold \
		"$@" >"$log" 2>&1
}

# The mirror is the one this machine has its own Debian from.
mirror()
{
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
		'Origin: Debian' 'Label: Debian' | head -n 1
}
