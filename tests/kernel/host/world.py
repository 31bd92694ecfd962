# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A host to try to break: a network namespace, roots on a tmpfs, and the cycle of the modules run on it, noun by noun.

What is wanted is written as a playbook's tasks are: a noun, and the parameters of its module. Each run is a process of
its own, which may be killed anywhere.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import tempfile
import time
from importlib import import_module
from pathlib import Path

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.stowage.engine.plugins.module_utils._ansible.install import engine_command, install_engine
from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns import cgroup, container, image, network
from ansible_collections.stowage.engine.plugins.module_utils._ansible.run import _reconcile
from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import EngineError
from ansible_collections.stowage.engine.plugins.module_utils._engine.host import Host
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.cgroupfs import remove_tree
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.process import start_time
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths
from tests.fleet.traces import snapshot
from tests.kernel.network.conftest import Namespace

import_module("pyroute2")  # once for all forked runs of modules

NOUNS = {
    "image": (image.ImageNoun, image.image_wanted, image.ARGUMENT_SPEC),
    "cgroup": (cgroup.CgroupNoun, cgroup.cgroup_wanted, cgroup.ARGUMENT_SPEC),
    "network": (network.NetworkNoun, network.network_wanted, network.ARGUMENT_SPEC),
    "containers": (container.ContainerNoun, container.containers_wanted, container.LIST_SPEC),
}
# How often what takes chances does so.
TURNS = int(os.environ.get("STOWAGE_TEST_TURNS", "6"))
BUSYBOX = "/bin/busybox"
IMAGE = "world:1"
# As process 1 of its namespace sleep has no handler of SIGTERM, which then does nothing: it is killed at once instead.
SLEEPER = {"image": IMAGE, "command": ["sleep", "3600"], "stop_signal": "KILL"}


def image_task(name=IMAGE, **files):
    """Busybox, and files by their path."""
    entries = [{"path": path, "content": content} for path, content in files.items()]
    entries += [{"path": f"/bin/{applet}", "target": "busybox"} for applet in ("sh", "sleep", "cat", "nc", "ls")]
    layers = [{"src": BUSYBOX, "dest": "/bin/busybox"}, {"files": entries}]
    return "image", {"name": name, "layers": layers, "config": {"command": ["sleep", "3600"]}}


def containers_task(**wanted):
    """Containers by name: what differs from a container that sleeps; None where it is to be absent."""
    return "containers", {"containers": [_container(name, more) for name, more in wanted.items()]}


def _container(name, more):
    return {"name": name, "state": "absent"} if more is None else {"name": name, **SLEEPER, **more}


def absent(tasks):
    """The tasks that remove what ``tasks`` make, the last first."""
    return [_absent(*task) for task in reversed(tasks)]


def _absent(noun, params):
    if noun == "containers":
        return containers_task(**{one["name"]: None for one in params["containers"]})
    return noun, {"name": params["name"], "state": "absent"}


class Killed(Exception):
    """The process was killed as the test meant it to be."""


class World(Namespace):
    """A host of its own. ``close`` ends what is left on it, whatever state the test left it in."""

    def __init__(self, directory):
        super().__init__()
        self.directory = directory
        self.paths = Paths(str(directory / "root"), str(directory / "run"))
        self.instance = self.paths.instance
        self.sh("ip link set lo up")
        self.call(self._install)
        self.before = self.traces()

    def _install(self):
        os.makedirs(self.paths.engines, exist_ok=True)
        self.engine = engine_command(self.paths, install_engine(self.paths))

    # Runs of modules --------------------------------------------------------------------------------

    def run(self, *tasks, check=False):
        """Do the tasks as modules do; the changes of all of them."""
        return self.call(run_tasks, self.paths, tasks, check)

    def check(self, *tasks):
        """What check mode says."""
        return self.run(*tasks, check=True)

    def told(self, *tasks):
        """What check mode says, each change in a line."""
        return [str(change) for change in self.check(*tasks)]

    def begin(self, *tasks, before=None):
        """Start a run in a process of its own; its pid. ``before`` is called there first."""

        def begin():
            if before is not None:
                before()
            with contextlib.suppress(EngineError):  # of a process of the engine that the test killed
                run_tasks(self.paths, tasks, False)

        return self.start(begin)

    def end(self, pid):
        """Wait for a run; True where it was killed, False where it came to its end (well or not)."""
        self.pids.remove(pid)
        return os.WIFSIGNALED(os.waitpid(pid, 0)[1])

    # What is there --------------------------------------------------------------------------------------

    def containers(self):
        return self.call(lambda: Host(self.paths).observe_containers())

    def networks(self):
        return self.call(lambda: Host(self.paths).observe_networks())

    def pids_of(self, name):
        """The processes in a container's cgroup, whatever its parent."""
        return sorted({pid for pid, path in self.members() if path.endswith(f"/{name}.scope")})

    def members(self):
        """(pid, cgroup) of the processes in cgroups of this host."""
        found = set()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                text = Path("/proc", pid, "cgroup").read_text()
            except OSError:
                continue
            # A zombie runs nothing: one whose parent was killed is there until process 1 gets to it.
            if start_time(int(pid)):
                found |= {(int(pid), path) for path in re.findall(rf"/{self.instance}/\S*", text)}
        return found

    def engine_processes(self):
        """Monitors, launchers, and what they forked that is no program yet: processes of this host's engine."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                command = Path("/proc", pid, "cmdline").read_bytes()
            except OSError:
                continue
            if str(self.directory).encode() in command and start_time(int(pid)):
                found.append(int(pid))
        return found

    def traces(self):
        """All that a run can leave on the machine, and in the network namespace and the roots of this host."""
        return self.call(self._traces)

    def _traces(self):
        host = self.sh_here("nft list ruleset; ip -4 -o addr; ip route")
        ours = re.compile(rf"{self.instance}|{self.directory}|^link ")
        return {item for item in snapshot().items if ours.search(item)} | {
            *(f"net {line.strip()}" for line in host.replace(" linkdown", "").replace(" tentative", "").splitlines()),
            *(f"file {path}" for path in self.files()),
        }

    @staticmethod
    def sh_here(command):
        with os.popen(command) as pipe:
            return pipe.read()

    def files(self):
        """Every path under the roots but the locks, the engine and what of an image store is never removed."""
        kept = re.compile(
            r"root/engine/|root/images/(oci-layout|index\.json|\.partial|\.diff-ids|blobs(/sha256)?)$|run/(images\.)?lock$"
        )
        found = set()
        for root in (self.paths.root, self.paths.run_root):
            for directory, folders, names in os.walk(root):
                inside = directory not in (self.paths.root, self.paths.run_root)
                found |= {os.path.join(directory, name) for name in names + (folders if inside else [])}
        return {path for path in found if not kept.search(path)}

    def listing(self):
        """Every path under the roots with all that lstat(2) knows of it, save when it was read."""
        found = {}
        for root in (self.paths.root, self.paths.run_root):
            for directory, folders, names in os.walk(root):
                for name in [".", *folders, *names]:
                    path = os.path.normpath(os.path.join(directory, name))
                    s = os.lstat(path)
                    found[path] = (s.st_ino, s.st_mode, s.st_size, s.st_mtime_ns, s.st_ctime_ns)
        return found

    # Demands ----------------------------------------------------------------------------------------------

    def demand_sound(self, *tasks):
        """Nothing is left to do, every container that shall run is one process with one monitor, and nothing more."""
        assert self.told(*tasks) == []
        states = self.containers()
        running = {name for name, state in states.items() if state.running}
        wanted = [one for noun, params in tasks if noun == "containers" for one in params["containers"]]
        named = {one["name"]: one.get("state", "started") for one in wanted}
        assert {name for name, state in named.items() if state == "started"} <= running
        assert {name for name, state in named.items() if state == "stopped"} <= states.keys() - running
        assert states.keys() == {name for name, state in named.items() if state != "absent"}
        assert {name: self.pids_of(name) for name in states} == {
            name: [state.pid] if state.running else [] for name, state in states.items()
        }
        self.demand_monitors(len(running))

    def demand_monitors(self, number, timeout=5.0):
        wait_until(lambda: len(self.engine_processes()) == number, timeout)
        assert len(self.engine_processes()) == number

    def demand_nothing_left(self, timeout=5.0):
        wait_until(lambda: self.traces() <= self.before, timeout)
        # The directory of the instance itself, empty, is no cgroup of anybody's.
        left = {item for item in self.traces() - self.before if not re.match(rf"cgroup \S+/{self.instance}$", item)}
        assert left == set()

    # The end ------------------------------------------------------------------------------------------------

    def close(self):
        for pid in {*self.engine_processes(), *(pid for pid, _path in self.members())}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        wait_until(lambda: not self.members() and not self.engine_processes(), 5.0)
        for tree in Path("/sys/fs/cgroup").glob(f"*/{self.instance}"):
            remove_tree(str(tree))
        super().close()


def run_tasks(paths, tasks, check, progress=None):
    """The modules' cycle, one task after the other, each with a fresh look at the host."""
    changes = []
    for noun, params in tasks:
        kind, parse, spec = NOUNS[noun]
        validated = ArgumentSpecValidator(spec).validate(params)
        if validated.error_messages:
            raise ValueError(validated.error_messages)
        # In check mode an earlier task would have made what is not there, as _ansible/run.py has it.
        host = StepwiseHost(paths, progress, **({"absent": lambda _error: None} if check else {}))
        wanted = parse(validated.validated_parameters)
        made = kind(verify=True) if params.get("verify") else kind()
        with contextlib.nullcontext() if check else host.locked():
            changes += _reconcile(host, made, wanted, check=check)[0]
    return changes


class StepwiseHost(Host):
    """A host that tells ``progress`` of every step, and of the moments between looking, changing and looking again."""

    def __init__(self, paths, progress=None, **options):
        super().__init__(paths, **options)
        self.progress = progress

    def apply(self, changes, progress=None):
        progress = progress or self.progress or (lambda _line: None)
        progress("before the first change")
        super().apply(changes, progress)
        progress("after the last change")


def wait_until(condition, timeout, pause=0.02):
    end = time.monotonic() + timeout
    while not condition() and time.monotonic() < end:
        time.sleep(pause)


@contextlib.contextmanager
def open_world():
    """A host, until all that was left on it is taken away."""
    # On a tmpfs, as an overlay's upper layer may be, and state on it needs no disk to be synced.
    directory = Path(tempfile.mkdtemp(prefix="stowage-test-", dir="/dev/shm"))
    world = World(directory)
    try:
        yield world
    finally:
        world.close()
        shutil.rmtree(directory)
