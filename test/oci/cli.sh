#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The command line as engines use it, as far as it needs no container.
. "${0%/*}/../lib.sh"
require_command jq

# --version
mapfile -t version < <("$TORPOR" --version)
[[ ${version[0]} =~ ^torpor\ version\ [0-9] ]] || fail "version: ${version[0]}"
[[ ${version[1]} =~ ^commit:\ . ]] || fail "commit: ${version[1]}"
equal "${version[2]}" "spec: 1.3.0"
mapfile -t short < <("$TORPOR" -v)
equal "${short[0]}" "${version[0]}"

# help, and what podman asks of restore
shows '^  checkpoint ' "$TORPOR" --help
for verb in checkpoint create delete exec features kill list pause ps restore resume run spec start state; do
	shows "^Usage: torpor $verb" "$TORPOR" $verb --help || fail "$verb --help"
done
"$TORPOR" restore -no-subreaper --help >/dev/null
refuses "flag needs an argument" "$TORPOR" restore --lsm-mount-context
status=0
"$TORPOR" >/dev/null 2>&1 || status=$?
equal $status 1 "status without a command"
refuses "--root: the name of the state directory is empty" "$TORPOR" --root "" list
for verb in features list --help; do refuses "standard output" sh -c "'$TORPOR' --root '$TEST_STATE' $verb >/dev/full"; done
refuses 'unknown command "frobnicate"' "$TORPOR" frobnicate
refuses "missing arguments; it takes CONTAINER" "$TORPOR" start
refuses "too many arguments; it takes CONTAINER" torpor start a b
refuses "--memory 1x: expected an amount" torpor update --memory 1x nobody
refuses "--blkio-weight 70000: expected" torpor update --blkio-weight 70000 nobody
refuses "memory.limit: expected an integer" torpor update --resources - nobody <<<'{"memory":{"limit":"1"}}'
refuses "container does not exist" torpor update --memory 1.5GiB nobody
refuses "--interval 5: expected a duration" torpor events --interval 5 nobody
refuses "--interval 0s: expected a duration" torpor events --interval 0s nobody
refuses "container does not exist" torpor events --stats nobody

# options that are known and not done say so
refuses "option --systemd-cgroup is not supported" "$TORPOR" --systemd-cgroup list
refuses "--cgroup-manager systemd: not supported" "$TORPOR" --cgroup-manager=systemd list
refuses "expected ADDRESS:PORT" torpor checkpoint --page-server nowhere x

# no containers
equal "$(torpor list -q)" ""
equal "$(torpor list --format json)" null
[[ $(torpor list) =~ ^ID\ +PID\ +STATUS\ +BUNDLE\ +CREATED\ +OWNER$ ]] || fail "list: $(torpor list)"
for verb in state start "kill" pause resume ps checkpoint delete; do
	refuses "container does not exist" torpor $verb nobody
done
torpor delete --force nobody
mkdir -p "$TEST_STATE/damaged"
echo '{"id": "dam' >"$TEST_STATE/damaged/state.json"
refuses "delete --force damaged" torpor delete damaged
torpor delete --force damaged
[ ! -e "$TEST_STATE/damaged" ] || fail "a state file that is cut off stays"
for size in 0x10 1e3 1.2.3 64q; do refuses "an amount of memory" torpor update --memory $size nobody; done
refuses "invalid container ID" torpor state ../etc
refuses "invalid container ID" torpor delete --force ../etc
refuses "unknown signal" torpor kill nobody NOSUCH
refuses "other than /" "$TORPOR" --root / list

# spec
torpor spec --bundle "$TEST_DIR"
jq -e '.process.args == ["sh"] and .process.terminal == false and .root.readonly and (.linux.namespaces | length) == 6' \
	"$TEST_DIR/config.json" >/dev/null
refuses "exists already" torpor spec --bundle "$TEST_DIR"
torpor spec --rootless --bundle "$TEST_DIR" --file rootless.json
jq -e '([.linux.namespaces[].type] | index("user") and (index("network") | not)) and .linux.resources == null
	and (.linux | .uidMappings == [{containerID: 0, hostID: ($uid | tonumber), size: 1}] and (.gidMappings | length) == 1)
	and ([.mounts[].options[]] | map(select(startswith("gid="))) == [])
	and ([.mounts[] | select(.destination | startswith("/sys"))] == [{destination: "/sys", type: "none", source: "/sys",
		options: ["rbind", "nosuid", "noexec", "nodev", "ro"]}])' --arg uid "$(id -u)" "$TEST_DIR/rootless.json" >/dev/null
torpor spec --bundle "$TEST_DIR" --file other.json
cmp "$TEST_DIR/config.json" "$TEST_DIR/other.json"

# features
torpor features >"$TEST_DIR/features"
jq -e '.ociVersionMin == "1.0.0" and .ociVersionMax == "1.3.0" and (.hooks | length == 6)
	and (.mountOptions | index("rbind")) and (.linux.namespaces | length) == 8 and .linux.cgroup.v2 and .linux.cgroup.rdma and .linux.cgroup.systemdUser == false
	and .linux.intelRdt.enabled and .linux.intelRdt.schemata and .linux.intelRdt.monitoring and .linux.netDevices.enabled
	and (.linux.memoryPolicy.modes | index("MPOL_BIND")) and (.linux.memoryPolicy.flags | index("MPOL_F_STATIC_NODES"))
	and (.linux.capabilities | index("CAP_CHECKPOINT_RESTORE")) and .linux.cgroup.v1 and .linux.cgroup.systemd == false
	and (.linux.seccomp.actions | index("SCMP_ACT_ERRNO")) and (.linux.seccomp.actions | index("SCMP_ACT_NOTIFY"))
	and (.linux.seccomp.archs | index("SCMP_ARCH_X86_64")) and .linux.seccomp.enabled and (.linux.seccomp.operators | length) == 7
	and (.linux.seccomp.knownFlags | length) == 4 and (.linux.seccomp.supportedFlags | index("SECCOMP_FILTER_FLAG_LOG"))
	and .linux.apparmor.enabled and .linux.selinux.enabled == false and .linux.mountExtensions.idmap.enabled
	and .potentiallyUnsafeConfigAnnotations == ["org.torpor."]
	and .annotations["org.opencontainers.runc.checkpoint.enabled"] == "true"' "$TEST_DIR/features" >/dev/null

# the log that engines read: one object, and the same on stderr
log=$TEST_DIR/log.json
status=0
error=$("$TORPOR" --root "$TEST_STATE" --log-format=json --log "$log" state nobody 2>&1 >/dev/null) || status=$?
equal $status 1 status
equal "$error" "container does not exist: nobody"
equal "$(jq -r '.level + ":" + .msg' "$log")" "error:container does not exist: nobody"
rm "$log"
refuses "--systemd-cgroup is not supported" "$TORPOR" --log-format=json --log "$log" --systemd-cgroup list
equal "$(jq -r '.level + ":" + .msg' "$log" | cut -c -46)" "error:option --systemd-cgroup is not supported"
rm "$log"
refuses "unknown command" "$TORPOR" --log-format=json --log "$log" nosuch
grep -q "unknown command" "$log"
jq -e '.time | test("^[0-9]{4}-[0-9]{2}-[0-9]{2}T.*Z$")' "$log" >/dev/null
