#!/usr/bin/env bash
# ansible-test integration on this machine, where it can touch nothing of it: in a network namespace of its own, and with
# file systems in memory where Stowage keeps its state. Arguments go to ansible-test (a target's name, -v, ...).
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "${1:-}" != --inside ]; then
    exec unshare --net --mount --propagation private "$0" --inside "$@"
fi
shift
ip link set lo up
mkdir -p /var/lib/stowage /run/stowage
mount -t tmpfs -o mode=0755 stowage-test /var/lib/stowage
mount -t tmpfs -o mode=0755 stowage-test /run/stowage
exec tests/ansible-test.sh integration --color no --allow-root --allow-destructive "$@"
