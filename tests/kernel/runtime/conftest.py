"""A host of its own for every test: paths, a busybox layer, the engine run by the system's Python, and its traces."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.cgroup.manager import open_cgroups
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.files import list_directory
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.mount import observe_mounts
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.container import Container
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths
from ansible_collections.stowage.engine.plugins.module_utils._engine.shim import bundle, launch, logs
from ansible_collections.stowage.engine.plugins.module_utils._engine.shim.observe import observe_runtime
from tests.kernel.runtime.bundles import Bundle

MODULE_UTILS = Path(bundle.__file__).parents[2]
MAIN = "import sys\nfrom _engine.cli.main import main\nsys.exit(main(sys.argv))\n"
APPLETS = (
    *("sh", "cat", "sleep", "id", "hostname", "ls", "echo", "touch", "pwd", "stat", "grep", "readlink", "wc", "seq"),
    *("tty", "unshare", "true", "ip", "mkdir", "mknod", "head", "find", "sort", "mount", "umount", "rm"),
)


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            if "kernel/runtime" in str(item.path):
                item.add_marker(pytest.mark.skip(reason="needs root: namespaces, mounts and cgroups are made"))


@pytest.fixture(scope="session")
def app(tmp_path_factory):
    """The engine as a host has it: a directory that Python runs."""
    directory = tmp_path_factory.mktemp("engine")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(MODULE_UTILS / "_engine", directory / "_engine", ignore=ignored)
    (directory / "__main__.py").write_text(MAIN)
    subprocess.run(["/usr/bin/python3", "-m", "compileall", "-q", directory], check=True)
    return directory


@pytest.fixture
def command(app, tmp_path):
    """`stowage-runtime` as one file, which other programs can start."""
    path = tmp_path / "stowage-runtime"
    path.write_text(f'#!/bin/sh\nexec /usr/bin/python3 -I -S -E {app} stowage-runtime "$@"\n')
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="session")
def layer(tmp_path_factory):
    """An unpacked image layer: busybox, and the users of a small distribution."""
    root = tmp_path_factory.mktemp("layers") / "sha256-base"
    for name in ("bin", "etc", "tmp", "root", "home/web", "usr/bin"):
        (root / name).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for applet in APPLETS:
        (root / "bin" / applet).symlink_to("busybox")
    users = ("root:x:0:0:root:/root:/bin/sh", "web:x:1000:1000::/home/web:/bin/sh", "1:x:0:0::/:/bin/sh")
    (root / "etc/passwd").write_text("".join(f"{user}\n" for user in users))
    (root / "etc/group").write_text("root:x:0:\nweb:x:1000:\nstaff:x:50:web\n")
    os.chmod(root / "tmp", 0o1777)
    return root


def count_traces():
    """What a leak would show in: mounts, network namespaces, cgroups of ours, processes by our command."""
    cgroups = [d for d, _dirs, _files in os.walk("/sys/fs/cgroup") if "stowage-" in d]
    return {"mounts": sorted(observe_mounts()), "cgroups": sorted(cgroups)}


class Host:
    """The runtime's calls on one set of paths, as host.py makes them."""

    def __init__(self, paths, app, layer):
        self.paths = paths
        self.layer = layer
        self.engine = ["/usr/bin/python3", "-I", "-S", "-E", str(app)]
        self.cgroups = open_cgroups(paths.instance)
        self.names = []

    def prepare(self, name, *args, layers=None, **fields):
        container = Container(name=name, image="test:1", args=args, **fields)
        path = self.cgroups.container_path(container.cgroup_parent, name)
        layers = [str(self.layer)] if layers is None else layers
        bundle.prepare_container(self.paths, container, layers=layers, cgroups_path=path)
        self.names.append(name)
        return container

    def create(self, *names, **options):
        results = launch.create_containers(self.paths, self.engine, names, cgroups=self.cgroups, **options)
        return [result for result in results if not isinstance(result, launch.Born)]

    def start(self, name):
        launch.start_container(self.paths, name)

    def run(self, name, *args, **fields):
        """Create and start; its pid."""
        self.prepare(name, *args, **fields)
        result = self.create(name)[0]
        if isinstance(result, launch.Failed):
            raise AssertionError(result.error)
        self.start(name)
        return result.pid

    def output(self, name, *args, **fields):
        """Run to the end: (exit code, stdout, stderr)."""
        self.run(name, *args, **fields)
        code = self.wait(name)
        return code, self.log(name, "stdout"), self.log(name, "stderr")

    def wait(self, name, timeout=10.0):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            record = launch.read_exit(self.paths, name)
            if record is not None:
                return record["exit_code"]
            time.sleep(0.005)
        raise AssertionError(f"{name} did not end in {timeout} s")

    def log(self, name, stream=None):
        lines = logs.read_logs(os.path.join(self.paths.container(name), "log"))
        return "".join(line.text + "\n" for line in lines if stream in (None, line.stream))

    def state(self, name):
        return observe_runtime(self.paths, self.cgroups)[name]

    def stop(self, name, timeout=10.0):
        launch.stop_container(self.paths, self.cgroups, name, timeout)

    def delete(self, name):
        launch.delete_container(self.paths, self.cgroups, name)
        bundle.remove_bundle(self.paths, name)

    def monitors(self):
        """The pids of monitors and launchers of this host's engine."""
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if self.engine[-1].encode() in Path("/proc", pid, "cmdline").read_bytes():
                    found.append(int(pid))
            except OSError:
                continue
        return found


@pytest.fixture
def host(tmp_path, app, layer):
    """A host; afterwards everything is deleted, and nothing may be left."""
    run_root = f"/run/stowage-test-{uuid.uuid4().hex[:8]}"
    host = Host(Paths(str(tmp_path / "root"), run_root), app, layer)
    before = count_traces()
    try:
        yield host
        for name in dict.fromkeys(host.names):
            host.delete(name)
        deadline = time.monotonic() + 3
        while host.monitors() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert host.monitors() == [], "a monitor is left"
        after = count_traces()
        own = {kind: [n for n in after[kind] if host.paths.instance in n or str(tmp_path) in n] for kind in after}
        assert own == {"mounts": [], "cgroups": []}, (own, before)
        assert list_directory(host.paths.runtime_root) == []
        assert list_directory(host.paths.containers) == []
    finally:
        for pid in host.monitors():
            os.kill(pid, signal.SIGKILL)
        for name in dict.fromkeys(host.names):
            host.delete(name)
        shutil.rmtree(run_root, ignore_errors=True)


class Runtime:
    def __init__(self, command, root, bundle):
        self.command = command
        self.root = root
        self.bundle = bundle
        self.id = f"stowage-test-{uuid.uuid4().hex[:8]}"

    def __call__(self, *words, **options):
        words = [self.command, "--root", self.root, *words]
        return subprocess.run(words, capture_output=True, text=True, timeout=20, check=False, **options)

    def configure(self, change):
        path = self.bundle / "config.json"
        spec = json.loads(path.read_text())
        change(spec)
        path.write_text(json.dumps(spec))

    def status(self):
        return json.loads(self("state", self.id).stdout)["status"]


@pytest.fixture
def runtime(command, tmp_path, layer):
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    shutil.copytree(layer, bundle / "rootfs", symlinks=True)
    runtime = Runtime(command, str(tmp_path / "state"), bundle)
    runtime("spec", "-b", str(bundle))

    def sleeping(spec):
        spec["process"].update(terminal=False, args=["sleep", "60"])
        spec["linux"]["cgroupsPath"] = f"/{runtime.id}"

    runtime.configure(sleeping)
    yield runtime
    runtime("delete", "--force", runtime.id)
    assert [d for d, _dirs, _files in os.walk("/sys/fs/cgroup") if d.endswith(runtime.id)] == []


@pytest.fixture
def box(app, layer):
    """A bundle for `stowage-runtime`; nothing of it may be left."""
    box = Bundle(app, layer)
    try:
        yield box
    finally:
        left = box.clean()
    assert left == []
