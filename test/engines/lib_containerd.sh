# SPDX-License-Identifier: Apache-2.0
# A containerd of one's own, with torpor's shim in its PATH, for the scenarios: `containerd_setup debian|current`, then `containerd_start`, and
# ctr talks to it. In a network namespace and a mount namespace of its own (test/run, tests); /run/containerd is empty to begin with.

containerd_setup() {
	local release=$1 peers
	ip link set lo up
	peers=$(realpath "${BASH_SOURCE[0]%/*}/../peers")
	require_root
	if [ "$release" = debian ]; then
		require_command containerd ctr containerd-shim-runc-v2
		daemon=$(command -v containerd) client=$(command -v ctr)
	else
		"$peers" has containerd || skip "there is no current containerd: test/peers fetch"
		export PATH=$("$peers" bin):$PATH
		daemon=$("$peers" bin)/containerd client=$("$peers" bin)/ctr
	fi
	new_tmpdir work
	mount -t tmpfs -o mode=755 containerd "$work"
	at_exit umount -l "$work"
	mkdir -p /run/containerd
	mount -t tmpfs -o mode=755 containerd /run/containerd
	at_exit umount -l /run/containerd
	mkdir "$work/bin"
	ln -s "$TORPOR_CR" "$work/bin/criu"
	export PATH=$work/bin:${TORPOR%/*}:$PATH
	cat >"$work/config.toml" <<-END
		version = 2
		root = "$work/root"
		state = "$work/state"
		disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]
		[grpc]
		  address = "$work/sock"
		[ttrpc]
		  address = "$work/sock.ttrpc"
		[plugins."io.containerd.gc.v1.scheduler"]
		  startup_delay = "1s"
	END
	at_exit containerd_stop
	at_exit containerd_end_all
}

# The same with the CRI plugin, images, runtime handlers torpor and (current) torpor-pod, whose pods are the shim's own. CNI's files are in
# $work/cni: $network is one.
containerd_setup_cri() {
	local common image here_cri=${BASH_SOURCE[0]%/*}
	/usr/bin/python3 -c 'import grpc' 2>/dev/null || skip "python3-grpcio is not installed"
	containerd_setup "$1"
	rootfs_busybox "$work/rootfs"
	/usr/bin/python3 "$here_cri/oci_image.py" "$work/rootfs" docker.io/library/busybox:test "$work/image.tar"
	/usr/bin/python3 "$here_cri/oci_image.py" "$work/rootfs" docker.io/library/pause:test "$work/pause.tar" sleep 1000000
	mkdir -p "$work/cni"
	[ -z "${network-}" ] || echo "$network" >"$work/cni/10-network.conflist"   # before containerd looks there
common="root = '$work/root'
state = '$work/state'
[grpc]
  address = '$work/sock'
[ttrpc]
  address = '$work/sock.ttrpc'"
	if [ "$1" = debian ]; then
		cat >"$work/config.toml" <<-END
			version = 2
			disabled_plugins = ["io.containerd.internal.v1.opt"]
			$common
			[plugins."io.containerd.grpc.v1.cri"]
			  sandbox_image = "docker.io/library/pause:test"
			  disable_apparmor = true
			  restrict_oom_score_adj = true
			  [plugins."io.containerd.grpc.v1.cri".cni]
			    conf_dir = "$work/cni"
			    bin_dir = "/usr/lib/cni"
			  [plugins."io.containerd.grpc.v1.cri".containerd]
			    default_runtime_name = "torpor"
			  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.torpor]
			    runtime_type = "io.containerd.torpor.v1"
		END
	else
		cat >"$work/config.toml" <<-END
			version = 3
			disabled_plugins = ["io.containerd.internal.v1.opt", "io.containerd.nri.v1.nri"]
			$common
			[plugins."io.containerd.cri.v1.images".pinned_images]
			  sandbox = "docker.io/library/pause:test"
			[plugins."io.containerd.cri.v1.runtime"]
			  disable_apparmor = true
			  restrict_oom_score_adj = true
			  [plugins."io.containerd.cri.v1.runtime".cni]
			    conf_dir = "$work/cni"
			    bin_dirs = ["/usr/lib/cni"]
			  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.torpor]
			    runtime_type = "io.containerd.torpor.v1"
			  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.torpor-pod]
			    runtime_type = "io.containerd.torpor.v1"
			    sandboxer = "shim"
		END
	fi
	containerd_start
	for image in image pause; do ctr --namespace k8s.io image import "$work/$image.tar" >/dev/null; done
}

containerd_start() {
	"$daemon" -c "$work/config.toml" >>"$work/log" 2>&1 &
	daemon_pid=$!
	wait_until 60 ctr version
}

# containerd_stop [SIGNAL]: the shims live on.
containerd_stop() {
	[ -n "${daemon_pid-}" ] || return 0
	kill "-${1:-TERM}" "$daemon_pid"
	wait "$daemon_pid" || :
	daemon_pid=
	return 0
} 2>/dev/null

ctr() { timeout 60 "$client" --address "$work/sock" "$@"; }

containerd_end_all() {
	local c
	[ -n "${daemon_pid-}" ] || return 0
	for c in $(ctr containers ls -q); do
		ctr task rm --force "$c" || :
		ctr containers rm "$c" || :
	done
} >/dev/null 2>&1

runtime=io.containerd.torpor.v1
# (Shells that begin in the same microsecond may have the same random numbers, but not the same pid.)
run() { ctr run --runtime $runtime --cgroup "$TEST_CGROUP/$BASHPID-$RANDOM$RANDOM" --rootfs "$@"; }
status_of() { ctr task ls | awk -v c="$1" '$1 == c { print $3 }'; }
shims() { grep -las "containerd-shim-[t]orpor-v1.-namespace\|containerd-shim-[r]unc-v2.-namespace" /proc/[0-9]*/cmdline | wc -l; }

# nothing_left [SECONDS to wait]: no shim, socket, state, bundle, mount of a container is left.
nothing_left() {
	wait_until "${1-40}" eval '[ "$(shims)" = 0 ]'
	wait_until 30 eval '[ -z "$(ls "$work/state/io.containerd.runtime.v2.task/default" 2>/dev/null)" ]'   # containerd notices, and cleans up
	equal "$(ls /run/containerd/s 2>/dev/null)" "" "sockets left"
	equal "$(ls /run/containerd/torpor/default 2>/dev/null | grep -v '^seccomp~$')" "" "state left"
	equal "$(grep -c "$work/state" /proc/self/mountinfo)" 0 "mounts left"
	equal "$(find_groups -mindepth 3 -path "*$TEST_CGROUP/*" -type d)" "" "cgroups left"
}
