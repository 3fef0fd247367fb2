# SPDX-License-Identifier: Apache-2.0
# test/bench/run's case podman: a container with an idle redis-server is checkpointed and restored by podman, with torpor, with crun and criu, with
# runc and criu.
#   checkpoint, restore   the whole command
#   share                 of it: what the runtime's processes took that podman and conmon started for it, its engine within them, and the engine
#                         that podman asks for its version. A wrapper around each notes begin and end.
#
# On cgroup v1 crun's restore ends every process that it sees in a root group. So the rounds are in a pid namespace of their own, whose processes
# are all in groups of ours.

podman_bench() { # RUNTIME ARGUMENT…
	local name=$1
	shift
	PATH=$work/podman/bin-$name:$PATH CONTAINERS_CONF=$work/podman/$name.conf HOME=$work/podman XDG_RUNTIME_DIR=$work/podman/xdg \
		PODMAN_IGNORE_CGROUPSV1_WARNING=1 $timed "$bin/podman" --root "$work/podman/storage-$name" --runroot "$work/podman/run-$name" \
		--tmpdir "$work/podman/tmp-$name" --storage-driver vfs "$@"
}

# A program of that name which is measured, unless a measured one calls it.
podman_wrapper() { # FILE PROGRAM
	cat >"$1" <<-END
		#!/bin/sh
		[ -z "\$BENCH_MEASURED" ] || exec $2 "\$@"
		export BENCH_MEASURED=1
		exec $heartbeat elapsed $work/podman/calls $2 "\$@"
	END
	chmod 755 "$1"
}

podman_prepare() { # RUNTIME
	local engine=criu library
	[ "$1" != torpor ] || engine=torpor
	mkdir -p "$work/podman/"{bin-"$1",xdg,rootfs/data}
	podman_wrapper "$work/podman/bin-$1/criu" "${program[$engine]}"
	podman_wrapper "$work/podman/bin-$1/$1" "${runtime[$1]}"
	cat >"$work/podman/$1.conf" <<-END
		[containers]
		default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
		apparmor_profile = ""
		[engine]
		cgroup_manager = "cgroupfs"
		events_logger = "none"
		runtime = "$1"
		conmon_path = ["$bin/conmon"]
		helper_binaries_dir = ["$bin"]
		[engine.runtimes]
		$1 = ["$work/podman/bin-$1/$1"]
	END
	for library in /usr/bin/redis-server $(ldd /usr/bin/redis-server | grep -o '/[^ ]*'); do install -D "$library" "$work/podman/rootfs/$library"; done
	mkdir -p "$work/podman/rootfs/"{proc,sys,dev,tmp,etc,run}
	tar -C "$work/podman/rootfs" -c . | podman_bench "$1" import --quiet - redis >/dev/null
}

# podman_measured QUANTITY RUNTIME ARGUMENT…: $one.QUANTITY and, of it, $one.QUANTITY-share
podman_measured() {
	local quantity=$1
	shift
	rm -f "$work/podman/calls"
	timed="$heartbeat elapsed $work/one.$quantity" podman_bench "$@" >/dev/null || return 1
	awk '{ n += $1 } END { print n }' "$work/podman/calls" >"$work/one.$quantity-share"
}

podman_round() { # RUNTIME
	local share
	rm -f "$work"/one.*
	podman_bench "$1" run --detach --name r --network none --cgroup-parent /torpor-bench/c redis /usr/bin/redis-server --save '' >/dev/null || return 1
	sleep 0.5
	podman_measured checkpoint "$1" container checkpoint r && podman_measured restore "$1" container restore r || return 1
	sleep 0.2
	[ "$(podman_bench "$1" inspect --format '{{.State.Status}}' r)" = running ] || { echo "not running after its restore"; return 1; }
	podman_bench "$1" rm --force --time 0 r >/dev/null
}

# Out of every root group, in the pid namespace: cgroup2's too, else criu saves all groups that there are as the container's own.
podman_leave_root() {
	local procs group file
	for procs in /sys/fs/cgroup/*/cgroup.procs "$work"/cgroup2/cgroup.procs; do
		[ -e "$procs" ] || continue
		group=${procs%/*}/torpor-bench
		mkdir -p "$group/test"
		for file in cpuset.mems cpuset.cpus; do
			[ -e "${procs%/*}/$file" ] && cat "${procs%/*}/$file" >"$group/$file" && cat "$group/$file" >"$group/test/$file"
		done
		echo $$ >"$group/test/cgroup.procs"
	done
}

podman_rounds() { # ROUNDS RUNTIME…
	local rounds=$1 round name q
	shift
	podman_leave_root
	for ((round = 0; round <= rounds; round++)); do
		for name; do
			podman_round "$name" >"$work/output" 2>&1 ||
				{ note "podman with $name: $(tail -n 2 "$work/output") $(grep -hs Error "$work/podman/storage-$name"/*/*/userdata/{dump,restore}.log | tail -n 2)"; podman_bench "$name" rm --force --all --time 0 >/dev/null 2>&1; continue; }
			[ "$round" = 0 ] && continue
			for q in $podman_quantities; do cat "$work/one.$q" >>"$(result podman "$q" "$name")"; done
		done
	done
}
podman_quantities="checkpoint checkpoint-share restore restore-share"
timed=

measure_podman() {
	local name here=() group
	"$top/test/peers" has podman || { note "no podman: test/peers fetch"; return; }
	[ -x /usr/bin/redis-server ] || { note "no redis-server"; return; }
	for name in torpor crun runc; do [ -x "${runtime[$name]}" ] && podman_prepare "$name" && here+=("$name"); done
	cat >"$work/podman/rounds" <<-END
		$(declare -f podman_bench podman_measured podman_round podman_leave_root podman_rounds note result)
		work=$work bin=$bin heartbeat=$heartbeat podman_quantities="$podman_quantities" timed=
		podman_rounds ${rounds:-5} ${here[*]}
	END
	unshare --pid --fork --kill-child --mount --mount-proc "$build/test/cr/reaper" setsid -w bash "$work/podman/rounds"
	for _ in {1..50}; do
		for group in /sys/fs/cgroup/*/torpor-bench "$work/cgroup2/torpor-bench"; do find "$group" -depth -type d -exec rmdir {} + 2>/dev/null; done
		compgen -G '/sys/fs/cgroup/*/torpor-bench' >/dev/null || [ -e "$work/cgroup2/torpor-bench" ] || break
		sleep 0.1
	done
	table podman "podman, redis" "$podman_quantities" "${here[*]}"
}
