# SPDX-License-Identifier: Apache-2.0
# What shell tests share. A test begins with
#
#     #!/bin/bash
#     # SPDX-License-Identifier: Apache-2.0
#     # What is tested.
#     # timeout: 60                      (only if 120 seconds are not right)
#     . "${0%/*}/../lib.sh"
#
# and fails when a command fails (set -e) or fail is called. Run by hand it goes through test/run, for its namespaces and its cleanup.
#
# TORPOR, TORPOR_CR   the programs            TEST_BUILD   the build folder (its test/ has the built test programs)
# TEST_DIR            temporary directory     TEST_STATE   state directory of `torpor`     TEST_CGROUP   parent of all cgroups
if [ -z "${TEST_DIR-}" ]; then
	here=$(realpath "$0") top=$(realpath "${BASH_SOURCE[0]%/*}/..")
	here=${here#"$top"/test/}
	exec "$top/test/run" --verbose "^${here%.sh}\$"
fi
set -eEuo pipefail
# Not to standard output: in $(COMMAND) it would count as what the command says.
trap 'echo "line $LINENO: $BASH_COMMAND: status $?" >&2' ERR

skip() {
	echo "$*"
	exit 77
}
fail() {
	echo "failed: $*"
	exit 1
}
require_root() { [ "$(id -u)" = 0 ] || skip "needs root"; }
require_command() {
	local c
	for c; do command -v "$c" >/dev/null || skip "$c is not installed"; done
}

# at_exit COMMAND ARGUMENT…: run when the test ends, last one first.
exit_commands=()
at_exit() { exit_commands+=("$(printf '%q ' "$@")"); }
run_exit_commands() {
	local status=$? i
	set +e
	trap - ERR
	for ((i = ${#exit_commands[@]} - 1; i >= 0; i--)); do eval "${exit_commands[i]}"; done
	exit $status
}
trap run_exit_commands EXIT

# The rest of the test runs as the child of a program that is the parent of all: what ends is reaped at once, and a restored program has somebody.
below_reaper() { [ -n "${CR_REAPER-}" ] || CR_REAPER=1 exec "$TEST_BUILD/test/cr/reaper" bash "$0"; }

# new_tmpdir VARIABLE: an empty directory; removed with TEST_DIR.
new_tmpdir() { printf -v "$1" %s "$(mktemp -d "$TEST_DIR/XXXXXX")"; }

torpor() { "$TORPOR" --root "$TEST_STATE" "$@"; }
torpor_cr() { "$TORPOR_CR" "$@"; }
# The container and all it has is gone when the test ends.
delete_at_exit() { at_exit "$TORPOR" --root "$TEST_STATE" delete --force "$1"; }

# wait_until SECONDS COMMAND…: tries every 20 ms; fails when it never succeeds. Half a minute at least: the machine may have much else to do.
wait_until() {
	local end=$((${EPOCHREALTIME/./} + ($1 > 30 ? $1 : 30) * ${TEST_PATIENCE:-1} * 1000000))
	shift
	until "$@" >/dev/null 2>&1; do
		[ ${EPOCHREALTIME/./} -lt $end ] || fail "never came true: $*"
		sleep 0.02
	done
}
# refuses TEXT COMMAND…: the command must fail and its output have the text.
refuses() {
	local text=$1 output
	shift
	if output=$("$@" 2>&1); then fail "succeeded: $*"; fi
	[[ $output == *"$text"* ]] || fail "$*: no \"$text\" in: $output"
}
# shows REGEX COMMAND…: the command succeeds and a line of its output matches. (With `COMMAND | grep -q` a grep that has seen enough ends the command,
# which pipefail takes for a failure.)
shows() {
	local output
	output=$("${@:2}") && grep -qE -- "$1" <<<"$output"
}
# listens_at PATH: somebody takes connections at this socket. (Its file may be there a moment before; the kernel knows it by its first name, PATH~.)
listens_at() { [ -S "$1" ] && grep -q " 00010000 .*[ /]${1##*/}~\?$" /proc/net/unix; }
# free_port: a number for a server, of those that are nobody's source port, and that no socket has now.
free_port() {
	local port
	until port=$((20000 + RANDOM % 12000)) && ! grep -qs ":$(printf %04X $port) " /proc/net/tcp /proc/net/tcp6; do :; done
	echo "$port"
}
# find_groups ARGUMENTS OF FIND…: cgroups. Those of others go while it looks, of which it complains.
find_groups() { find /sys/fs/cgroup "$@" 2>/dev/null || :; }
equal() { [ "$1" = "$2" ] || fail "${3-it} is \"$1\", not \"$2\""; }

container_pid() { torpor state "$1" | jq -r .pid; }
container_status() { torpor state "$1" | jq -r .status; }

# -- bundles: root filesystems from what Debian's packages have put on this machine, no network -----------------------------------

# copy_program ROOTFS FILE…: the programs and the shared libraries they name.
copy_program() {
	local rootfs=$1 program library
	shift
	for program; do
		install -D "$program" "$rootfs/$program"
		for library in $(ldd "$program" 2>/dev/null | grep -o '/[^ ]*' || :); do
			[ -e "$rootfs/$library" ] || install -D "$library" "$rootfs/$library"
		done
	done
}

rootfs_busybox() {
	local rootfs=$1 applet busybox
	busybox=$(command -v busybox) || skip "busybox is not installed"
	ldd "$busybox" >/dev/null 2>&1 && skip "busybox is not static (package busybox-static)"
	mkdir -p "$rootfs"/{bin,sbin,etc,proc,sys,dev,tmp,run,root,usr/bin,usr/sbin,var/log,var/tmp,mnt}
	chmod 1777 "$rootfs/tmp" "$rootfs/var/tmp"
	install "$busybox" "$rootfs/bin/busybox"
	for applet in $("$busybox" --list); do
		[ "$applet" = busybox ] || ln -sf busybox "$rootfs/bin/$applet"
	done
	printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'daemon:x:1:1::/:/bin/false' 'www-data:x:33:33::/var/www:/bin/false' \
		'nobody:x:65534:65534::/:/bin/false' >"$rootfs/etc/passwd"
	printf '%s\n' 'root:x:0:' 'daemon:x:1:' 'www-data:x:33:' 'nogroup:x:65534:' >"$rootfs/etc/group"
}

rootfs_redis() {
	command -v redis-server >/dev/null || skip "redis-server is not installed"
	copy_program "$1" /usr/bin/redis-server /usr/bin/redis-cli
	mkdir -p "$1/data"
}

rootfs_nginx() {
	[ -x /usr/sbin/nginx ] || skip "nginx is not installed"
	copy_program "$1" /usr/sbin/nginx
	mkdir -p "$1"/var/{lib,log,www}/nginx "$1/etc/nginx"
	cat >"$1/etc/nginx/nginx.conf" <<-END
		daemon off;
		worker_processes 2;
		pid /run/nginx.pid;
		error_log /var/log/nginx/error.log;
		events { worker_connections 64; }
		http {
			access_log off;
			server { listen 127.0.0.1:8080; location / { root /var/www/nginx; } }
		}
	END
	echo "a page" >"$1/var/www/nginx/index.html"
}

rootfs_python() {
	local python
	python=$(realpath /usr/bin/python3 2>/dev/null) && [ -x "$python" ] || skip "Debian's python3 is not installed"
	copy_program "$1" "$python"
	ln -sf "${python##*/}" "$1/usr/bin/python3"
	mkdir -p "$1/usr/lib"
	cp -r "/usr/lib/${python##*/}" "$1/usr/lib/"
	rm -rf "$1/usr/lib/${python##*/}"/{test,idlelib,tkinter,ensurepip}
	find "$1/usr/lib/${python##*/}/lib-dynload" -name '*.so' | while read -r module; do copy_program "$1" "/${module#"$1/"}"; done
}

# make_bundle busybox|redis|nginx|python DIR [COMMAND ARGUMENT…]: a bundle whose process is the command (without one: a shell, the
# server, or the interpreter). Its cgroup is $TEST_CGROUP/NAME-OF-DIR. Change config.json afterwards with `configure`.
make_bundle() {
	local kind=$1 dir=$2
	shift 2
	require_command jq
	mkdir -p "$dir/rootfs"
	rootfs_busybox "$dir/rootfs"
	case $kind in
	busybox) [ $# -gt 0 ] || set -- sh ;;
	redis) rootfs_redis "$dir/rootfs"; [ $# -gt 0 ] || set -- redis-server --save '' --dir /data ;;
	nginx) rootfs_nginx "$dir/rootfs"; [ $# -gt 0 ] || set -- nginx ;;
	python) rootfs_python "$dir/rootfs"; [ $# -gt 0 ] || set -- python3 ;;
	*) fail "make_bundle: no $kind" ;;
	esac
	torpor spec --bundle "$dir"
	configure "$dir" '.process.terminal = false | .root.readonly = false | .process.args = $ARGS.positional
		| .linux.cgroupsPath = $cgroup' --arg cgroup "${TEST_CGROUP-/torpor-test}/${dir##*/}" --args -- "$@"
	configure "$dir" '.process.env |= map(select(startswith("PATH=") | not))
		+ ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]'
}

# configure DIR JQ-FILTER [JQ-OPTION…]: changes the bundle's config.json.
configure() {
	local dir=$1 filter=$2 new
	shift 2
	new=$(jq "$filter" "$dir/config.json" "$@")
	echo "$new" >"$dir/config.json"
}
