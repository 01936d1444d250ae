# Chroots of Debian, made once and kept in $cache, and what is needed to run something
# in one. Everything there happens in name spaces of its own: mounts and processes end
# with the script, however it ends. For scripts that source lib.sh first, and then
# call chroot_begin.
# shellcheck shell=bash disable=SC2154

log=
child=

# chroot_begin CLEANER: what this machine must be able to do. CLEANER is called at the end.
chroot_begin()
{
	[ "$(id -u)" -eq 0 ] || not_here "making a chroot needs root"
	unshare --mount --pid --fork true 2>/dev/null ||
		not_here "this machine does not let root make name spaces (unshare)"
	command -v apt-get >/dev/null || not_here "this is not Debian"
	mkdir -p "$cache" 2>/dev/null || not_here "$cache cannot be made"
	log=$(mktemp)
	chroot_cleaner=$1
	trap chroot_end EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
}

chroot_end()
{
	local code=$?
	trap '' INT TERM HUP
	if [ -n "$child" ]; then
		# (unshare is deaf to more polite signals; its death is that of the
		# first process of the name space, and that one's of all others)
		kill -KILL "$child" 2>/dev/null || true
		wait "$child" 2>/dev/null || true
	fi
	"$chroot_cleaner"
	rm -f "$log"
	exit "$code"
}

# contained COMMAND...: in a name space of mounts and one of processes, and
# attended, so that a signal to the script is heard at once.
contained()
{
	local status=0
	unshare --mount --propagation private --pid --fork --kill-child "$@" </dev/null &
	child=$!
	wait "$child" || status=$?
	child=
	return $status
}

# The mirror is reached, and believed, as this machine does it.
apt_options()
{
	local line
	apt-config dump Acquire |
		grep -E '^Acquire::(Check-Valid-Until|Check-Date|Max-FutureTime|Retries|ForceIPv[46]|https?::[^ ]*) "[^"]+";$' |
		while IFS= read -r line; do
			printf '%s\n' "$line"
		done || true
}

install_mmdebstrap()
{
	! command -v mmdebstrap >/dev/null || return 0
	echo "$(basename "$0"): installing mmdebstrap"
	apt "$log" install --no-install-recommends mmdebstrap && return
	apt "$log" update && apt "$log" install --no-install-recommends mmdebstrap && return
	not_here "mmdebstrap cannot be installed: $(grep '^E:' "$log" | tail -n 1)"
}

# make_chroot ROOT SUITE WHAT [ARGUMENT OF MMDEBSTRAP...]: unless it is there and made of
# WHAT, any text that changes when it is to be made anew. From this machine's mirror, or
# from the lines in the array "sources". A lock is held on descriptor 9 from then on: two
# at once would take each other's tree away.
sources=()
make_chroot()
{
	local root=$1 suite=$2 what=$3 line options=()
	shift 3
	exec 9>"$root.lock"
	flock 9
	[ "$(cat "$root/.made-of" 2>/dev/null)" != "$what" ] || return 0
	install_mmdebstrap
	[ "${#sources[@]}" -gt 0 ] || sources=("$(mirror)")
	[ -n "${sources[0]}" ] || { apt "$log" update && sources=("$(mirror)"); } || true
	[ -n "${sources[0]}" ] || not_here "apt's sources name no mirror of Debian"
	while IFS= read -r line; do
		options+=("--aptopt=$line")
	done < <(apt_options)

	echo "$(basename "$0"): making a chroot of $suite ($root)"
	rm -rf --one-file-system "$root" "$root.new"
	contained mmdebstrap --mode=root --variant=minbase "${options[@]}" "$@" \
		"$suite" "$root.new" "${sources[@]}" >"$log" 2>&1 || {
		tail -n 30 "$log" | sed 's/^/    /'
		rm -rf --one-file-system "$root.new"
		not_here "the chroot of $suite could not be made"
	}
	printf '%s\n' "$what" >"$root.new/.made-of"
	mv "$root.new" "$root"
}

# For bash -c, before the command of chroot: sees to what a chroot needs, $root, from the host.
# shellcheck disable=SC2016,SC2034
chroot_mounts='
set -e
root=$1
mount -t proc proc "$root/proc"
mkdir -p "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
for link in fd:/proc/self/fd stdin:/proc/self/fd/0 stdout:/proc/self/fd/1 stderr:/proc/self/fd/2; do
	[ -e "$root/dev/${link%%:*}" ] || ln -sf "${link#*:}" "$root/dev/${link%%:*}"
done
'
