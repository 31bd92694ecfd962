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
exec tests/ansible-test.sh integration --color no --allow-root --allow-destructive "$@"
