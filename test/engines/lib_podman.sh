# SPDX-License-Identifier: Apache-2.0
# podman on torpor, in state folders of its own: podman_start debian|current, then `podman …` works. An image "busybox" is there.
. "${BASH_SOURCE[0]%/*}/../lib.sh"

set +E   # the trap on ERR would write into the output that is compared
peers=$(realpath "${BASH_SOURCE[0]%/*}/../peers")

podman_program() { # debian | current
	if [ "$1" = debian ]; then
		require_command podman conmon
		program=$(command -v podman) helpers=/usr/lib/podman conmon=$(command -v conmon) network=cni
	else
		"$peers" has podman || skip "there is no current podman: test/peers fetch"
		helpers=$("$peers" bin)
		program=$helpers/podman conmon=$helpers/conmon network=netavark
	fi
}

podman_configure() {
	cat >"$podman_dir/containers.conf" <<-END
		[containers]
		default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
		apparmor_profile = ""
		[engine]
		cgroup_manager = "cgroupfs"
		events_logger = "file"
		runtime = "torpor"
		runtime_supports_json = ["torpor"]
		runtime_supports_nocgroup = ["torpor"]
		conmon_path = ["$conmon"]
		helper_binaries_dir = ["$helpers"]
		[engine.runtimes]
		torpor = ["$TORPOR"]
		[network]
		network_backend = "$network"
		network_config_dir = "$podman_dir/networks"
	END
	export CONTAINERS_CONF=$podman_dir/containers.conf XDG_RUNTIME_DIR=$podman_dir/xdg HOME=$podman_dir PODMAN_IGNORE_CGROUPSV1_WARNING=1
}

podman_start() { # debian | current
	require_root
	podman_program "$1"
	new_tmpdir podman_dir
	mount -t tmpfs -o mode=755 podman "$podman_dir"
	at_exit umount -l "$podman_dir"
	mkdir -p "$podman_dir"/{bin,storage,run,xdg,networks}
	# podman asks a program called criu for its version and for what the kernel can do.
	ln -s "$TORPOR_CR" "$podman_dir/bin/criu"
	export PATH=$podman_dir/bin:$PATH
	cd "$TEST_DIR" || exit   # conmon writes a file "oom" where it was started
	podman_configure
	at_exit podman_end
	rootfs_busybox "$podman_dir/rootfs"
	tar -C "$podman_dir/rootfs" -c . | podman import --quiet - busybox >/dev/null || fail "podman import"
}

podman() {
	command "$program" --root "$podman_dir/storage" --runroot "$podman_dir/run" --tmpdir "$podman_dir/tmp" --storage-driver vfs "$@"
}

podman_run() { podman run --cgroup-parent "$TEST_CGROUP" "$@"; }

# conmon moves into a group beside its container's, which nobody removes.
podman_end() {
	podman rm --force --all --time 0 >/dev/null 2>&1
	podman pod rm --force --all --time 0 >/dev/null 2>&1
	for _ in {1..200}; do
		find /sys/fs/cgroup -mindepth 2 -depth -type d -path "*$TEST_CGROUP/*" -exec rmdir {} + 2>/dev/null
		[ -n "$(find_groups -mindepth 2 -type d -path "*$TEST_CGROUP/*")" ] || return 0
		sleep 0.1
	done
}

status_of() { podman inspect --format '{{.State.Status}}' "$1"; }

# The last number that a counting container has printed.
count_of() {
	local n
	n=$(podman logs "$1" 2>/dev/null | tail -n 1 | tr -d '\r')
	echo "${n:-0}"
}
above() { [ "$(count_of "$1")" -gt "$2" ]; }
counts_on() { wait_until 40 above "$1" "${2-$(count_of "$1")}"; } # CONTAINER [MORE THAN]
counter='i=0; while :; do i=$((i + 1)); echo $i; sleep 0.05; done'
