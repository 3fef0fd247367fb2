#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Configurations that are none: a clear error that names the file, and nothing made.
. "${0%/*}/../lib.sh"
. "${0%/*}/lib_inside.sh"
require_root
make_bundle busybox "$b" true
cp "$b/config.json" "$TEST_DIR/good.json"
mounts=$(wc -l </proc/self/mountinfo)
# bad TEXT: with what is in config.json now
bad() {
	local out status=0
	out=$(torpor create --bundle "$b" c </dev/null 2>&1) || status=$?
	equal $status 1 "status for $1"
	[[ $out == *config.json* && $out == *"$1"* ]] || fail "no \"$1\" in: ${out:0:600}"
	[ "$(wc -c <<<"$out")" -lt 2000 ] || fail "$1: the message has $(wc -c <<<"$out") bytes"
	[ ! -e "$TEST_STATE/c" ] || fail "$1: a state directory"
	[ -z "$(find_groups -maxdepth 3 -path "*$TEST_CGROUP/b")" ] || fail "$1: cgroups"
}
edit() { jq "$1" "$TEST_DIR/good.json" >"$b/config.json"; }

# truncated: at every 97th byte
size=$(wc -c <"$TEST_DIR/good.json")
for ((n = 1; n < size - 2; n += 97)); do
	head -c $n "$TEST_DIR/good.json" >"$b/config.json"
	bad "line"
done
: >"$b/config.json" && bad "config.json"
rm "$b/config.json" && bad "No such file"
mkdir "$b/config.json" && bad "Is a directory" && rmdir "$b/config.json"

# wrong types, each where something else belongs
while IFS='|' read -r filter text; do
	edit "$filter"
	bad "$text"
done <<'END'
.process.args = "sh"|process.args: expected an array, found a string
.process.args = [1]|process.args[0]: expected a string, found a number
.process.user.uid = "0"|process.user.uid: expected an integer, found a string
.process.user.uid = -1|process.user.uid: -1 is out of range
.process.user.uid = 1.5|process.user.uid: expected an integer, found 1.5
.process.user.uid = 4294967296|process.user.uid: 4294967296 is out of range
.root = []|root: expected an object, found an array
.root.readonly = "yes"|root.readonly: expected
.mounts = {}|mounts: expected an array, found an object
.mounts[0].options = "ro"|mounts[0].options: expected an array
.hooks = []|hooks: expected an object
.hooks = {"prestart": [{"path": true}]}|hooks.prestart[0].path: expected a string
.linux.namespaces[0].type = "moon"|linux.namespaces[0].type: unknown value "moon"
.linux.resources.devices = 1|linux.resources.devices: expected an array
.annotations = {"a": 1}|annotations.a: expected a string
.process.env = ["A=\u0000"]|config.json
del(.ociVersion)|ociVersion: required, but absent
.ociVersion = "2.0.0"|ociVersion: 2.0.0 is not supported
END
echo '[]' >"$b/config.json" && bad "expected an object"
echo 'null' >"$b/config.json" && bad "expected an object"

# what JSON parsers disagree about
raw() { printf "$1" >"$b/config.json"; bad "$2"; }
sed 's/"ociVersion"/"ociVersion": "1.0.2", "ociVersion"/' "$TEST_DIR/good.json" >"$b/config.json" && bad "a key occurs twice"
sed 's/"process": *{/"process": {"cwd": "\/tmp",/' "$TEST_DIR/good.json" >"$b/config.json" && bad "a key occurs twice"
{ cat "$TEST_DIR/good.json"; echo '{}'; } >"$b/config.json" && bad "line"
raw '{"ociVersion": "1.0.2\xff"}' UTF
raw '{"ociVersion": "\xed\xa0\x80"}' UTF
raw '{"ociVersion": "\xc0\xaf"}' UTF
raw '{"ociVersion": "\\ud800"}' surrogate
raw '{"a\\u0000b": 1}' NUL
raw '{"a": 1e999999}' config.json
raw '{"a": nul}' config.json
raw '\xef\xbb\xbf{}' config.json
raw '{"a": 1,}' config.json

# deep, and huge
{ printf '{"x":'; head -c 200000 /dev/zero | tr '\0' '['; } >"$b/config.json" && bad "nested too deeply"
{ printf '{"x":"'; head -c 17000000 /dev/zero | tr '\0' x; printf '"}'; } >"$b/config.json" && bad "larger than 16 MiB"
{ printf '{"'; head -c 1000000 /dev/zero | tr '\0' x; printf '":1,"process":{"args":"x"}}'; } >"$b/config.json" && bad "process.args"
{ printf '{"ociVersion":"'; head -c 100000 /dev/zero | tr '\0' 9; printf '","process":{"args":["x"],"cwd":"/"},"root":{"path":"x"}}'; } >"$b/config.json" && bad "ociVersion"
ln -s /dev/zero "$b/config.json.new" && mv "$b/config.json.new" "$b/config.json" && bad "larger than 16 MiB"
rm "$b/config.json"
equal "$(ls -A "$TEST_STATE" 2>/dev/null | grep -vc '^seccomp~$' || :)" 0 "state"
equal "$(wc -l </proc/self/mountinfo)" "$mounts" mounts
