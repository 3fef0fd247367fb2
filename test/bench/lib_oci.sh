# SPDX-License-Identifier: Apache-2.0
# The runtime's cases of test/bench/run, torpor beside runc and crun. Each function measures one round of one runtime into files WHERE.QUANTITY.

# A bundle of this runtime's own whose cgroup is /torpor-bench/NAME: bundle RUNTIME NAME COMMAND ARGUMENT…; prints its folder.
bundle() {
	local dir=$work/bundles/$1-$2 group=/torpor-bench/$1-$2
	shift 2
	mkdir -p "$dir"
	jq --arg root $work/bundle/rootfs --arg group "$group" '.root.path = $root | .linux.cgroupsPath = $group | .process.args = $ARGS.positional' \
		$work/bundle/config.json --args -- "$@" >"$dir/config.json" && echo "$dir"
}
make_container() {
	local dir=$work/bundle applet
	mkdir -p $dir/rootfs/{bin,proc,sys,dev,etc,tmp}
	install "$(command -v busybox)" $dir/rootfs/bin/busybox || return 1
	for applet in true sleep sh; do ln -sf busybox $dir/rootfs/bin/$applet; done
	(cd $dir && rm -f config.json && "${runtime[torpor]}" spec) || return 1
	jq '.process.terminal = false | .hooks = {}' $dir/config.json >$dir/new && mv $dir/new $dir/config.json
}
oci() { # RUNTIME ARGUMENT…
	local name=$1
	shift
	"${runtime[$name]}" --root $work/state-"$name" "$@" </dev/null >$work/output 2>&1
}
timed() { # FILE RUNTIME ARGUMENT…
	local file=$1 name=$2
	shift 2
	"$heartbeat" elapsed "$file" "${runtime[$name]}" --root $work/state-"$name" "$@" </dev/null >$work/output 2>&1
}
since() { echo $(((${EPOCHREALTIME/./} - $1) * 1000)); } # MICROSECONDS

run_round() { # RUNTIME WHERE
	timed "$2.run" "$1" run --bundle "$(bundle "$1" run /bin/true)" bench
}
peak_round() { # the most memory that the runtime, and what it made, had at once: KiB
	"$heartbeat" peak "$2.peak" "${runtime[$1]}" --root $work/state-"$1" run --bundle "$(bundle "$1" run /bin/true)" bench </dev/null >$work/output 2>&1
}
life_round() {
	local dir began
	dir=$(bundle "$1" life /bin/sleep 1000)
	began=${EPOCHREALTIME/./}
	oci "$1" create --bundle "$dir" life && oci "$1" start life && oci "$1" kill life KILL && oci "$1" delete --force life || return 1
	since "$began" >"$2.life"
}
exec_round() {
	local r
	oci "$1" run --detach --bundle "$(bundle "$1" exec /bin/sleep 1000)" exec || return 1
	timed "$2.exec" "$1" exec exec /bin/true && timed "$2.state" "$1" state exec
	r=$?
	oci "$1" delete --force exec
	return $r
}
hundred_round() {
	local i began
	for ((i = 1; i <= 100; i++)); do bundle "$1" "$i" /bin/sleep 1000 >/dev/null; done
	began=${EPOCHREALTIME/./}
	for ((i = 1; i <= 100; i++)); do oci "$1" run --detach --bundle "$work/bundles/$1-$i" "h$i" || return 1; done
	since "$began" >"$2.start"
	began=${EPOCHREALTIME/./}
	for ((i = 1; i <= 100; i++)); do oci "$1" delete --force "h$i" || return 1; done
	since "$began" >"$2.delete"
}

measure_oci() { # CASE LABEL ROUNDS FUNCTION QUANTITIES
	local round name q where=$work/one
	local -A broken=()
	command -v busybox jq >/dev/null && [ -x "${runtime[torpor]}" ] && make_container || { note "$1: no torpor, no busybox or no jq"; return; }
	for ((round = 0; round <= ${rounds:-$3}; round++)); do
		for name in "${runtimes[@]}"; do
			[ -n "${broken[$name]-}" ] && continue
			rm -f $where.*
			$4 "$name" $where || { note "$1: $name: $(head -n 2 $work/output)"; broken[$name]=1; continue; }
			[ $round = 0 ] && continue
			for q in $5; do cat $where.$q >>"$(result "$1" "$q" "$name")"; done
		done
	done
	table "$1" "$2" "$5" "${runtimes[*]}"
	find /sys/fs/cgroup -depth -type d -path '*/torpor-bench*' -exec rmdir {} + 2>/dev/null
}
# The same where cgroup2 is all there is, without controllers: the host's unified hierarchy in the place of the others.
measure_cgroup2() {
	[ -e $work/cgroup2/cgroup.procs ] || { note "run2: no cgroup2"; return; }
	mount --bind $work/cgroup2 /sys/fs/cgroup || return
	measure_oci "$@"
	umount /sys/fs/cgroup
}
