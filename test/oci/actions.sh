#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Action scripts of containers: the administrator's, the annotation's, the command line's; the methods of the network lock by annotation and option.
. "${0%/*}/../lib.sh"
require_root

# /etc of this test's own.
new_tmpdir etc
mkdir "$etc/up" "$etc/work"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$etc/up,workdir=$etc/work" /etc 2>/dev/null || skip "no overlay file system can be mounted here"
at_exit umount /etc
rm -rf /etc/torpor
mkdir -p /etc/torpor/actions.d /etc/torpor/actions
export ACTIONS_LOG=$TEST_DIR/log
script() { # FILE NAME
	printf '#!/bin/sh\necho "%s $CRTOOLS_SCRIPT_ACTION $TORPOR_ID" >>"$ACTIONS_LOG"\n%s\n' "$2" "${3-}" >"$1"
	chmod 755 "$1"
}
script /etc/torpor/actions.d/10-first first
script /etc/torpor/actions.d/20-second second
script /etc/torpor/actions.d/.hidden hidden
script /etc/torpor/actions.d/old~ old
echo "what this is for" >/etc/torpor/actions.d/README
script /etc/torpor/actions/chosen chosen
script /etc/torpor/actions/other other
script "$TEST_DIR/given" given

make_bundle busybox "$TEST_DIR/c1" sleep 1000
configure "$TEST_DIR/c1" '.annotations["org.torpor.action-script"] = "chosen"'
delete_at_exit c1
torpor run --detach --bundle "$TEST_DIR/c1" c1 </dev/null
torpor checkpoint --leave-running --image-path "$TEST_DIR/images" --action-script "$TEST_DIR/given" c1
expected=
for point in pre-dump network-lock post-dump network-unlock; do
	for name in first second chosen given; do expected+="$name $point c1"$'\n'; done
done
equal "$(cat "$ACTIONS_LOG")"$'\n' "$expected" "what was run"
rm "$ACTIONS_LOG"

torpor checkpoint --image-path "$TEST_DIR/images" c1
torpor restore --detach --image-path "$TEST_DIR/images" --bundle "$TEST_DIR/c1" c1 </dev/null
equal "$(grep chosen "$ACTIONS_LOG" | cut -d' ' -f2 | paste -sd' ')" \
	"pre-dump network-lock post-dump pre-restore setup-namespaces post-setup-namespaces post-restore network-unlock pre-resume post-resume" "the points"
rm "$ACTIONS_LOG"

# A script that refuses: the container runs on.
script /etc/torpor/actions.d/15-no no '[ $CRTOOLS_SCRIPT_ACTION != network-lock ]'
refuses "network-lock: the action script /etc/torpor/actions.d/15-no ended with status 1" torpor checkpoint --image-path "$TEST_DIR/images2" c1
equal "$(container_status c1)" running "the status"
rm /etc/torpor/actions.d/15-no
# One that somebody else could have written.
script /etc/torpor/actions.d/30-open open
chmod 757 /etc/torpor/actions.d/30-open
refuses "/etc/torpor/actions.d/30-open: others than root can change it" torpor checkpoint --image-path "$TEST_DIR/images2" c1
rm /etc/torpor/actions.d/30-open
refuses "magic" torpor checkpoint --network-lock magic --image-path "$TEST_DIR/images2" c1
torpor delete --force c1

# Annotations that are not what they should be.
try() { # KEY VALUE TEXT
	configure "$TEST_DIR/c1" '.annotations = {($key): $value}' --arg key "$1" --arg value "$2"
	torpor run --detach --bundle "$TEST_DIR/c1" c1 </dev/null
	refuses "$3" torpor checkpoint --image-path "$TEST_DIR/images2" c1
	equal "$(container_status c1)" running "the status"
	torpor delete --force c1
}
try org.torpor.action-script "$TEST_DIR/given" "expected names of files in /etc/torpor/actions"
try org.torpor.action-script ../actions.d/10-first "expected names"
try org.torpor.action-script chosen,,other "expected names"
try org.torpor.action-script chosen,absent "action script /etc/torpor/actions/absent: No such file"
try org.torpor.network-lock magic "network lock magic"
