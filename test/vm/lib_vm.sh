# SPDX-License-Identifier: Apache-2.0
# What the tests of this folder share: vm PATTERN… runs tests in a virtual machine (test/vm/boot), and says of each what the runner says there.
. "${BASH_SOURCE[0]%/*}/../lib.sh"
export TORPOR_VM_SECONDS=${TORPOR_VM_SECONDS-$((480 * ${TEST_PATIENCE:-1}))}
vm() {
	local reason name=${0%.sh}
	name=vm/${name##*/}
	if ! reason=$("$TEST_TOP/test/vm/boot" check); then
		echo "skipped $name: $reason"
		exit 0
	fi
	"$TEST_TOP/test/vm/boot" run "$@" |
		sed -E "s,^(ok|FAILED|skipped) ,\1 $name:," || exit 1
}
