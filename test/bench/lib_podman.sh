# SPDX-License-Identifier: Apache-2.0
# test/bench/run's case podman: a container with an idle redis-server is checkpointed and restored by podman, with torpor, and with runc and
# criu. What is measured is podman's own word (--print-stats): the whole command, and the runtime's share of it. crun is left out: on
# cgroup v1 its restore kills every process of a root cgroup.

podman_bench() { # RUNTIME ARGUMENT…
	local name=$1
	shift
	PATH=$work/podman/bin-$name:$PATH CONTAINERS_CONF=$work/podman/$name.conf HOME=$work/podman XDG_RUNTIME_DIR=$work/podman/xdg \
		PODMAN_IGNORE_CGROUPSV1_WARNING=1 "$bin/podman" --root "$work/podman/storage-$name" --runroot "$work/podman/run-$name" \
		--tmpdir "$work/podman/tmp-$name" --storage-driver vfs "$@"
}

podman_prepare() { # RUNTIME
	local engine=criu library
	[ "$1" != torpor ] || engine=torpor
	mkdir -p "$work/podman/"{bin-"$1",xdg,rootfs/data}
	ln -sf "${program[$engine]}" "$work/podman/bin-$1/criu"
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
		$1 = ["${runtime[$1]}"]
	END
	for library in /usr/bin/redis-server $(ldd /usr/bin/redis-server | grep -o '/[^ ]*'); do install -D "$library" "$work/podman/rootfs/$library"; done
	mkdir -p "$work/podman/rootfs/"{proc,sys,dev,tmp,etc,run}
	tar -C "$work/podman/rootfs" -c . | podman_bench "$1" import --quiet - redis >/dev/null
}

podman_round() { # RUNTIME WHERE
	local out
	podman_bench "$1" run --detach --name r --network none --cgroup-parent /torpor-bench redis /usr/bin/redis-server --save '' >/dev/null || return 1
	sleep 0.5
	out=$(podman_bench "$1" container checkpoint --print-stats r) || return 1
	jq '.podman_checkpoint_duration * 1000' <<<"$out" >"$2.checkpoint"
	jq '.container_statistics[0].runtime_checkpoint_duration * 1000' <<<"$out" >"$2.its-part"
	out=$(podman_bench "$1" container restore --print-stats r) || return 1
	jq '.podman_restore_duration * 1000' <<<"$out" >"$2.restore"
	jq '.container_statistics[0].runtime_restore_duration * 1000' <<<"$out" >"$2.its-restore"
	podman_bench "$1" rm --force --time 0 r >/dev/null
}

measure_podman() {
	local name here=()
	"$top/test/peers" has podman || { note "no podman: test/peers fetch"; return; }
	[ -x /usr/bin/redis-server ] || { note "no redis-server"; return; }
	for name in torpor runc; do [ -x "${runtime[$name]}" ] && podman_prepare "$name" && here+=("$name"); done
	for ((round = 0; round <= ${rounds:-5}; round++)); do
		for name in "${here[@]}"; do
			podman_round "$name" "$work/one" >"$work/output" 2>&1 || { note "podman with $name: $(tail -n 2 "$work/output")"; podman_bench "$name" rm --force --all --time 0 >/dev/null 2>&1; continue; }
			[ "$round" = 0 ] && continue
			for q in checkpoint its-part restore its-restore; do cat "$work/one.$q" >>"$(result podman $q "$name")"; done
		done
	done
	table podman "podman, redis" "checkpoint its-part restore its-restore" "${here[*]}"
}
