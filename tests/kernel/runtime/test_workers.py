# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""200 containers by four workers that use the runtime as a library, at once: none fails, and nothing of them is left.

The workers have a pid namespace and a /proc of their own, in which every process and every namespace is theirs.
"""

from __future__ import annotations

import json
import subprocess

from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.config.example import example_spec

WORKERS = 4
EACH = 50
# argv: app, bundle, state root, instance, number of the worker, how many; or "count" alone.
WORKER = """
import json, os, sys
def count():
    found = {"processes": 0, "namespaces": set()}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        found["processes"] += 1
        for kind in os.listdir(f"/proc/{pid}/ns"):
            found["namespaces"].add(os.readlink(f"/proc/{pid}/ns/{kind}"))
    found["namespaces"] = sorted(found["namespaces"])
    found["mounts"] = len(open("/proc/self/mountinfo").readlines())
    return found
if sys.argv[1] == "count":
    print(json.dumps(count()))
    sys.exit()
app, bundle, root, instance, number, times = sys.argv[1:]
sys.path.insert(0, app)
from _engine.runtime.oci import Runtime
from _engine.runtime.oci_create import Creation, create
runtime = Runtime(root, instance)
def cycle(name):
    created = create(runtime, name, bundle, Creation())
    runtime.start(name)
    status = os.waitpid(created.pid, 0)[1]
    os.close(created.pidfd)
    created.channel.close()
    runtime.delete(name, force=False)
    return status
failed = [n for n in range(int(times)) if cycle(f"{number}-{n}")]
try:
    os.waitpid(-1, os.WNOHANG)
    children = True
except ChildProcessError:
    children = False
print(json.dumps({"failed": failed, "descriptors": len(os.listdir("/proc/self/fd")), "children": children}))
"""
RUN_ALL = """
python() { /usr/bin/python3 -I -S -E -c "$WORKER" "$@"; }
python count
for number in $(seq 0 $((WORKERS - 1))); do
    python "$APP" "$BUNDLES/$number" "$ROOT" "$INSTANCE" $number 1 &
done
wait
for number in $(seq 0 $((WORKERS - 1))); do
    python "$APP" "$BUNDLES/$number" "$ROOT" "$INSTANCE" $number "$EACH" &
done
wait
python count
"""


def make_bundle(directory, layer, instance):
    (directory / "rootfs").mkdir(parents=True)
    for name in ("proc", "dev", "sys"):
        (directory / "rootfs" / name).mkdir()
    subprocess.run(["cp", "-a", *layer.iterdir(), directory / "rootfs"], check=True)
    spec = example_spec()
    spec["process"].update(args=["true"], terminal=False)
    spec["linux"]["cgroupsPath"] = f"/{instance}/{directory.name}"
    (directory / "config.json").write_text(json.dumps(spec))


def test_two_hundred_by_four_workers_leave_nothing(host, tmp_path):
    instance = host.paths.instance
    for number in range(WORKERS):
        make_bundle(tmp_path / f"bundles/{number}", host.layer, instance)
    environment = {
        "PATH": "/usr/bin:/bin",
        "WORKER": WORKER,
        "WORKERS": str(WORKERS),
        "EACH": str(EACH),
        "APP": str(host.engine[-1]),
        "BUNDLES": str(tmp_path / "bundles"),
        "ROOT": host.paths.runtime_root,
        "INSTANCE": instance,
    }
    command = ["unshare", "--pid", "--fork", "--mount-proc", "bash", "-e", "-c", RUN_ALL]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    before, *workers, after = map(json.loads, done.stdout.splitlines())
    assert len(workers) == 2 * WORKERS, done.stderr
    assert [worker["failed"] for worker in workers] == [[]] * len(workers)
    assert not any(worker["children"] for worker in workers)
    # As many descriptors after fifty containers as after one.
    assert len({worker["descriptors"] for worker in workers}) == 1, workers
    assert after == before
