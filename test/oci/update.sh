#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# update: every limit by option, by a JSON object from a file and standard input, of a running and of a paused container.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_inside.sh"
require_root
[ -d /sys/fs/cgroup ] || skip "no cgroups are mounted"
make_bundle busybox "$b" sh -c 'sleep 1000 & exec sleep 1000'
delete_at_exit c
v2=
[ "$(stat -f -c %T /sys/fs/cgroup)" = cgroup2fs ] && v2=1
group() { echo "/sys/fs/cgroup/$([ "$v2" ] || echo "$1")$TEST_CGROUP/b"; }
# has CONTROLLER V1-FILE V1-VALUE V2-FILE V2-VALUE: "-" is nothing to look at in that layout
has() {
	local file=$2 value=$3
	[ "$v2" ] && file=$4 value=$5
	[ "$file" = - ] || equal "$(cat "$(group "$1")/$file")" "$value" "$file"
}
there() { [ -e "/sys/fs/cgroup/$([ "$v2" ] || echo "$1")" ] && { [ -z "$v2" ] || grep -qw "$1" /sys/fs/cgroup/cgroup.controllers; }; }

with '.linux.resources = {devices: [{allow: false, access: "rwm"}]}'
torpor run --detach --bundle "$b" c </dev/null
wait_until 5 eval '[ "$(torpor ps --format json c | jq length)" = 2 ]'   # its shell has made the other one
pids=$(torpor ps --format json c | jq -c 'sort')

torpor update --memory 64m --memory-reservation 32MiB --pids-limit 30 c
has memory memory.limit_in_bytes 67108864 memory.max 67108864
has memory memory.soft_limit_in_bytes 33554432 memory.low 33554432
has pids pids.max 30 pids.max 30
if there memory && [ -e "$(group memory)/$([ "$v2" ] && echo memory.swap.max || echo memory.memsw.limit_in_bytes)" ]; then
	torpor update --memory 128m --memory-swap 192m c
	has memory memory.memsw.limit_in_bytes 201326592 memory.swap.max 67108864
	torpor update --memory -1 c
	has memory memory.limit_in_bytes "$(cat "$(group memory)/../memory.limit_in_bytes" 2>/dev/null)" memory.max max
	has memory - - memory.swap.max max
fi
torpor update --pids-limit -1 c
has pids pids.max max pids.max max

# controllers that the container was not in: its processes come along
torpor update --cpu-share 512 --cpu-period 50000 --cpu-quota 20000 --cpuset-cpus 0 --cpuset-mems 0 c
has cpu cpu.shares 512 cpu.weight 59
has cpu cpu.cfs_quota_us 20000 cpu.max "20000 50000"
has cpuset cpuset.cpus 0 cpuset.cpus 0
equal "$(sort -n "$(group cpu)/cgroup.procs" | jq -cs .)" "$pids" "processes of the cpu group"
equal "$(sort -n "$(group cpuset)/cgroup.procs" | jq -cs .)" "$pids" "processes of the cpuset group"
torpor update --cpu-quota 30000 c
has cpu cpu.cfs_period_us 50000 cpu.max "30000 50000"
torpor update --cpu-period 100000 c
has cpu cpu.cfs_quota_us 30000 cpu.max "30000 100000"
torpor update --cpu-burst 10000 c
has cpu cpu.cfs_burst_us 10000 cpu.max.burst 10000
torpor update --cpu-idle 1 c
has cpu cpu.idle 1 cpu.idle 1
torpor exec c true
if [ -z "$v2" ] && [ -e "$(group cpu)/cpu.rt_period_us" ]; then
	torpor update --cpu-rt-period 2000000 c
	has cpu cpu.rt_period_us 2000000
fi
device=$({ cat /sys/block/*/dev || :; } 2>/dev/null | sed -n 1p)   # one may go meanwhile
if [ -n "$device" ] && { there blkio || there io; } && there "$([ "$v2" ] && echo io || echo blkio)"; then
	torpor update --resources - c <<<"{\"blockIO\": {\"throttleReadBpsDevice\": [{\"major\": ${device%:*}, \"minor\": ${device#*:}, \"rate\": 1048576}]}}"
	has blkio blkio.throttle.read_bps_device "$device 1048576" io.max "$device rbps=1048576 wbps=max riops=max wiops=max"
fi

# JSON, with zeroes that ask for nothing and options on top; device rules are replaced
torpor pause c
torpor update --resources - --pids-limit 44 c <<<'{"memory": {"limit": 33554432, "swap": 0}, "cpu": {"shares": 0, "quota": 0}, "pids": {"limit": 3}}'
has memory memory.limit_in_bytes 33554432 memory.max 33554432
has cpu cpu.cfs_quota_us 30000 cpu.max "30000 100000"
has pids pids.max 44 pids.max 44
equal "$(container_status c)" paused status
torpor resume c
echo '{"devices": [{"allow": false, "access": "rwm"}]}' >"$TEST_DIR/resources"
torpor update -r "$TEST_DIR/resources" c
torpor exec c sh -c 'echo >/dev/null'
torpor exec c sh -c 'for i in $(seq 2000); do : </dev/zero || exit 1; done' &   # denied at no moment
reader=$!
[ "$v2" ] || mkdir "$(group devices)/below"
for _ in 1 2 3 4 5; do
	torpor update -r - c <<<'{"devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "rw"}]}'
	[ "$v2" ] || equal "$(grep ' 1:11 ' "$(group devices)/devices.list")" "c 1:11 rw" "the new device"
	torpor update -r - c <<<'{"devices": [{"allow": false}, {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "r"}]}'
	[ "$v2" ] || equal "$(grep ' 1:11 ' "$(group devices)/devices.list")" "c 1:11 r" "the device with less"
	torpor update -r "$TEST_DIR/resources" c
	[ "$v2" ] || equal "$(grep -c ' 1:11 ' "$(group devices)/devices.list" || :)" 0 "the device"
done
wait $reader || fail "/dev/zero was denied meanwhile"
[ "$v2" ] || rmdir "$(group devices)/below"

# an error in the middle: what was set before it is as it was
torpor update --memory 96m --pids-limit 60 --cpu-idle 0 --cpu-share 300 c
now() { cat "$(group memory)/$([ "$v2" ] && echo memory.max || echo memory.limit_in_bytes)" "$(group pids)/pids.max" "$(group cpu)"/cpu.{weight,shares,idle,max,cfs_quota_us} 2>/dev/null || :; }
before=$(now)
refuses "linux.resources.hugepageLimits[0]" torpor update -r - --memory 97m --pids-limit 61 --cpu-idle 1 --cpu-quota 40000 c \
	<<<'{"hugepageLimits": [{"pageSize": "3KB", "limit": 1}], "devices": [{"allow": false}]}'
equal "$(now)" "$before" "the limits after an error"
refuses "Intel RDT" torpor update --memory 97m --pids-limit 61 --cpu-share 400 --l3-cache-schema L3:0=f c
equal "$(now)" "$before" "the limits after an error of Intel RDT"
torpor exec c sh -c 'echo >/dev/null'

# refusals leave it as it is
refuses "linux.resources.cpu.quota" torpor update --cpu-quota 1 c
refuses "linux.resources.cpu.cpus" torpor update --cpuset-cpus 4000 c
refuses "linux.resources.hugepageLimits" torpor update -r - c <<<'{"hugepageLimits": [{"pageSize": "3KB", "limit": 1}]}'
there rdma || refuses 'linux.resources.rdma' torpor update -r - c <<<'{"rdma": {"mlx": {"hcaObjects": 1}}}'
there net_cls || refuses 'linux.resources.network.classID' torpor update -r - c <<<'{"network": {"classID": 5}}'
[ -z "$v2" ] || refuses "linux.resources.memory.swappiness: cgroup v2 has no such limit" torpor update -r - c <<<'{"memory": {"swappiness": 5}}'
refuses "Intel RDT" torpor update --l3-cache-schema L3:0=f c
refuses "Intel RDT" torpor update --mem-bw-schema MB:0=50 c
equal "$(container_status c)" running status
torpor kill c KILL
wait_until 5 eval '[ "$(container_status c)" = stopped ]'
refuses "container not running" torpor update --pids-limit 5 c
torpor delete c
