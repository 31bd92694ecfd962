#!/usr/bin/env bash
# ansible-test integration on this machine, where it can touch nothing of it: in a network namespace of its own, and with
# file systems in memory where Stowage keeps its state. Arguments go to ansible-test (a target's name, -v, ...).
set -euo pipefail
cd "$(dirname "$0")/.."
places=(/var/lib/stowage /run/stowage)

if [ "${1:-}" != --inside ]; then
    mkdir -p "${places[@]}"
    trap 'rmdir --ignore-fail-on-non-empty "${places[@]}"' EXIT # where we made them, they are empty
    unshare --net --mount --propagation private "$0" --inside "$@"
    exit
fi
shift
ip link set lo up
for place in "${places[@]}"; do mount -t tmpfs -o mode=0755 stowage-test "$place"; done
# crun takes no host that has cgroup v1 and v2 both: there v2's are kept out of sight.
unified=$(awk '$3 == "cgroup2" {print $2}' /proc/mounts | tail -1)
v1=$(awk '$3 == "cgroup" {print $2}' /proc/mounts)
if [ -n "$v1" ] && [ -n "$unified" ] && command -v crun >/dev/null; then
    new=/run/stowage/cgroup
    mkdir "$new"
    mount -t tmpfs stowage-test "$new"
    for path in $v1; do
        mkdir "$new/${path##*/}"
        mount --bind "$path" "$new/${path##*/}"
    done
    find /sys/fs/cgroup -maxdepth 1 -type l -exec cp -P {} "$new" \;
    umount --lazy /sys/fs/cgroup
    mount --move "$new" /sys/fs/cgroup
    rmdir "$new"
fi
# What a target that failed leaves running would outlive the file systems in memory, and its cgroup be in the next
# one's way.
end_containers() {
    local state
    for state in /run/stowage/runtime/*/state.json; do
        [ ! -e "$state" ] || python3 -c 'import json, os, sys; os.kill(json.load(open(sys.argv[1]))["pid"], 9)' "$state" || true
    done
}
trap end_containers EXIT
tests/ansible-test.sh integration --color no --allow-root --allow-destructive "$@"
