# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``stowage-runtime update``, ``events``, ``pause`` and ``kill`` on containers that run, on this machine's cgroups."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.cgroupfs import observe_hierarchies
from tests.waiting import has_open, wait_for

MOUNTS = {name: hierarchy.mount for hierarchy in observe_hierarchies() for name in hierarchy.controllers}
MEBI = 1 << 20

pytestmark = pytest.mark.skipif(
    not MOUNTS.keys() >= {"memory", "cpu", "pids", "freezer"}, reason="reads the files of v1; v2 is tested in a machine"
)


class Container:
    """One container by the command line; ``spec`` can be changed until start()."""

    def __init__(self, app, directory: Path, layer: Path) -> None:
        self.command = [
            "/usr/bin/python3",
            "-I",
            "-S",
            "-E",
            str(app),
            "stowage-runtime",
            "--root",
            f"{directory}/state",
        ]
        self.bundle = directory / "bundle"
        self.bundle.mkdir()
        shutil.copytree(layer, self.bundle / "rootfs", symlinks=True)
        self.id = f"stowage-test-{uuid.uuid4().hex[:8]}"
        self("spec", "-b", str(self.bundle))
        self.spec = json.loads((self.bundle / "config.json").read_text())
        self.spec["process"].update(terminal=False, args=["sleep", "60"])
        self.spec["linux"]["cgroupsPath"] = f"/{self.id}"
        self.resources = self.spec["linux"]["resources"]

    def __call__(self, *words, **options):
        options = {"timeout": 20, "capture_output": True, "text": True, **options}
        return subprocess.run([*self.command, *words], check=False, **options)

    def start(self):
        (self.bundle / "config.json").write_text(json.dumps(self.spec))
        quiet = {"capture_output": False, "stdout": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
        with (self.bundle / "errors").open("w+") as errors:
            done = self("run", "-d", "-b", str(self.bundle), self.id, **quiet, stderr=errors)
            errors.seek(0)
            assert done.returncode == 0, errors.read()

    def state(self):
        return json.loads(self("state", self.id).stdout)

    def update(self, *words, **options):
        done = self("update", *words, self.id, **options)
        assert done.returncode == 0, done.stderr

    def refused(self, *words, **options):
        done = self("update", *words, self.id, **options)
        assert done.returncode == 1, "it was taken"
        return done.stderr

    def value(self, controller, *names):
        return [Path(f"{MOUNTS[controller]}/{self.id}/{name}").read_text().strip() for name in names]

    def wait(self, status):
        end = time.monotonic() + 10
        while self.state()["status"] != status:
            assert time.monotonic() < end, self.state()
            time.sleep(0.02)


@pytest.fixture
def container(app, layer, tmp_path):
    container = Container(app, tmp_path, layer)
    yield container
    container("delete", "--force", container.id)
    assert [d for d, _dirs, _files in os.walk("/sys/fs/cgroup") if d.endswith(container.id)] == []


def test_update_by_options(container):
    container.resources.update(memory={"limit": 32 * MEBI, "reservation": 24 * MEBI}, pids={"limit": 20})
    container.resources["cpu"] = {"shares": 100, "quota": 500_000, "period": 1_000_000}
    container.start()
    container.update("--memory", "50M", "--memory-reservation", "33554432", "--pids-limit=10", "--cpu-share", "200")
    found = container.value("memory", "memory.limit_in_bytes", "memory.soft_limit_in_bytes")
    assert [*found, *container.value("pids", "pids.max")] == [str(50 * MEBI), "33554432", "10"]
    container.update("--cpu-period", "900000")
    container.update("--cpu-quota", "600000")
    files = ("cpu.shares", "cpu.cfs_quota_us", "cpu.cfs_period_us")
    assert container.value("cpu", *files) == ["200", "600000", "900000"]
    container.update("--cpu-quota", "-1", "--cpu-period=100000", "--cpu-burst", "0", "--cpuset-cpus", "1")
    assert container.value("cpu", *files) == ["200", "-1", "100000"]
    assert container.value("cpuset", "cpuset.cpus") == ["1"]
    container.update("--memory", "30M", "--memory-swap", "50M")
    container.update("--memory", "60m", "--memory-swap", "80MiB")
    files = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
    assert container.value("memory", *files) == [str(60 * MEBI), str(80 * MEBI)]
    container.update("--memory", "-1")
    assert container.value("memory", *files) == ["9223372036854771712"] * 2
    container.update("--pids-limit", "-1")
    assert container.value("pids", "pids.max") == ["max"]
    container.update("--pids-limit", "0", "--blkio-weight", "0")
    assert container.value("pids", "pids.max") == ["1"]


def test_update_by_a_file_and_by_standard_input(container, tmp_path):
    container.start()
    (tmp_path / "r.json").write_text(json.dumps({"memory": {"limit": 33554432}, "pids": {"limit": 20}}))
    container.update("-r", str(tmp_path / "r.json"), "--pids-limit", "5")  # which is ignored beside a file
    assert container.value("pids", "pids.max") == ["20"]
    container.update("--resources", "-", input='{"CPU": {"Shares": 77, "idle": 0}, "pids": {"limit": null}}')
    assert container.value("cpu", "cpu.shares") == ["77"]
    assert container.value("pids", "pids.max") == ["20"]
    assert container.value("memory", "memory.limit_in_bytes") == ["33554432"]


def test_updates_that_cannot_be_meant_are_told(container, tmp_path):
    container.start()
    for words, told in [
        (["--memory", "lots"], "update --memory: 'lots' is not valid; expected bytes, such as"),
        (["--memory", "1.2.3"], "update --memory: '1.2.3' is not valid"),
        (["--cpu-quota", "1e3"], "update --cpu-quota: '1e3' is not valid; expected a number"),
        (["--cpu-idle", "2"], "linux.resources.cpu.idle"),
        (["--cpu-share", "-5"], "linux.resources.cpu.shares"),
        (["--cpuset-cpus", "x"], "linux.resources.cpu.cpus"),
        (["--cpu-period", "5"], "linux.resources.cpu.period: writing 5: "),
        (["--l3-cache-schema", "L3:0=f"], "Intel RDT/CAT: l3 cache schema is not enabled"),
        (["--resources", str(tmp_path / "none")], "update --resources: "),
        (["--nonsense", "1"], "expected one of its options"),
    ]:
        assert told in container.refused(*words), words
    assert "linux.resources.memory.limit: " in container.refused("-r", "-", input='{"memory": {"limit": "x"}}')
    assert "linux.resources" in container.refused("-r", "-", input="[]")
    assert "update --resources" in container.refused("-r", "-", input="{")
    container("kill", container.id, "KILL")
    container.wait("stopped")
    assert "container not running" in container.refused("--pids-limit", "5")


def test_a_paused_container_stays_so_and_is_deleted(container):
    container.start()
    assert container("pause", container.id).returncode == 0
    container.update("--pids-limit", "30")
    assert container.state()["status"] == "paused"
    refused = container("pause", container.id)
    assert (refused.returncode, "container not running" in refused.stderr) == (1, True)
    assert container("resume", container.id).returncode == 0
    assert container.state()["status"] == "running"
    assert "container not paused" in container("resume", container.id).stderr
    container("pause", container.id)
    refused = container("delete", container.id)
    assert (refused.returncode, "it is paused" in refused.stderr) == (1, True)
    start = time.monotonic()
    assert container("delete", "--force", container.id).returncode == 0
    assert time.monotonic() - start < 5


def test_a_paused_container_is_killed(container):
    container.start()
    container("pause", container.id)
    assert container("kill", container.id, "KILL").returncode == 0
    container.wait("stopped")


def test_ps_knows_of_cgroups_that_the_container_made(container):
    container.start()
    pid = container.state()["pid"]
    inner = Path(f"{MOUNTS['freezer']}/{container.id}/inner")
    inner.mkdir()
    (inner / "cgroup.procs").write_text(str(pid))
    assert json.loads(container("ps", "--format", "json", container.id).stdout) == [pid]


def test_all_processes_of_a_shared_pid_namespace_are_killed(container):
    namespaces = container.spec["linux"]["namespaces"]
    container.spec["linux"]["namespaces"] = [entry for entry in namespaces if entry["type"] != "pid"]
    container.spec["process"]["args"] = ["sh", "-c", "sleep 61 & sleep 61 & wait"]
    container.start()
    end = time.monotonic() + 5
    while len(pids := json.loads(container("ps", "-f", "json", container.id).stdout)) < 3:
        assert time.monotonic() < end
    assert container("kill", container.id, "KILL").returncode == 0
    container.wait("stopped")
    while [pid for pid in pids if "sleep" in command_of(pid)]:
        assert time.monotonic() < end + 5
        time.sleep(0.02)


def command_of(pid):
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def test_stats(container):
    container.spec["process"]["args"] = ["sh", "-c", "dd if=/dev/zero of=/dev/null bs=64k count=2000; exec sleep 60"]
    container.resources.update(memory={"limit": 64 * MEBI}, pids={"limit": 20})
    container.start()
    end = time.monotonic() + 10
    while True:
        told = container("events", "--stats", container.id).stdout
        assert told.startswith(f'{{"type":"stats","id":"{container.id}","data":{{')
        data = json.loads(told)["data"]
        if data["cpu"]["usage"].get("total", 0) > 5_000_000 and data["pids"]["current"] == 1:
            break
        assert time.monotonic() < end, data
    assert set(data) == {*("cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt", "network_interfaces")}
    assert data["pids"] == {"current": 1, "limit": 20}
    assert data["memory"]["usage"]["limit"] == 64 * MEBI > data["memory"]["usage"]["usage"] > 0
    assert data["memory"]["raw"]["rss"] >= 0
    assert sum(data["cpu"]["usage"]["percpu"]) > 0 < len(data["cpuset"]["cpus"])
    assert {"kernel", "user"} <= data["cpu"]["usage"].keys()
    assert data["network_interfaces"] is None


def test_stats_have_the_class_of_service(container, tmp_path):
    """A directory stands for resctrl, which this machine has not; what it says is in tests/unit/runtime."""
    (tmp_path / "info").mkdir()
    (tmp_path / "gold").mkdir()
    for name in ("schemata", "gold/schemata"):
        (tmp_path / name).write_text("L3:0=f\n")
    container.start()
    assert json.loads(container("events", "--stats", container.id).stdout)["data"]["intel_rdt"] == {}
    state = tmp_path / "state" / container.id / "state.json"
    values = json.loads(state.read_text())
    values["resctrl"] = {"groups": [str(tmp_path / "gold")], "made": []}
    state.write_text(json.dumps(values))
    found = json.loads(container("events", "--stats", container.id).stdout)["data"]["intel_rdt"]
    assert found == {"schemata": ["L3:0=f"]}


def test_events_come_until_the_container_ends(container):
    container.start()
    command = [*container.command, "events", "--interval", "100ms", container.id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as events:
        lines = [json.loads(events.stdout.readline()) for _time in range(3)]
        assert [line["type"] for line in lines] == ["stats"] * 3
        container("delete", "--force", container.id)
        assert events.wait(10) == 0
    for interval, told in [("0s", "duration interval"), ("5", "a duration such as"), ("-1s", "greater than 0")]:
        done = container("events", "--interval", interval, container.id)
        assert (done.returncode, told in done.stderr) == (1, True)


def test_running_out_of_memory_is_an_event(container):
    container.resources["memory"] = {"limit": 16 * MEBI, "swap": 16 * MEBI}
    container.spec["process"]["args"] = ["sleep", "60"]
    container.start()
    command = [*container.command, "events", "--interval", "1h", container.id]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as events:
        wait_for(lambda: has_open(events.pid, "/memory.events") or has_open(events.pid, "[eventfd]"), "watcher")
        container("exec", container.id, "sh", "-c", "x=$(dd if=/dev/zero bs=1M count=64 | tr '\\0' x)")
        assert json.loads(events.stdout.readline()) == {"type": "oom", "id": container.id}
        container("delete", "--force", container.id)
        assert events.wait(10) == 0


def test_a_cgroup_that_is_taken_is_refused(container):
    container.start()
    words = ("run", "-d", "-b", str(container.bundle), f"{container.id}-other")
    with (container.bundle / "errors").open("w+") as errors:
        done = container(*words, capture_output=False, stdout=subprocess.DEVNULL, stderr=errors)
        errors.seek(0)
        assert (done.returncode, "container's cgroup is not empty" in errors.read()) == (1, True)
    assert container.state()["status"] == "running"


@pytest.mark.parametrize(
    ("path", "words", "told"),
    [
        ("system.slice:a:b", (), "slice:prefix:name is for --systemd-cgroup"),
        ("/a", ("--systemd-cgroup",), 'to be of format "slice:prefix:name"'),
        ("a.slice:b:c", ("--systemd-cgroup",), "systemd"),
        ("/a/../..", (), "linux.cgroupsPath"),
    ],
)
def test_a_path_that_cannot_be_meant_is_refused(container, path, words, told):
    if words and os.path.isdir("/run/systemd/system") and told == "systemd":
        pytest.skip("systemd runs here and would take it")
    container.spec["linux"]["cgroupsPath"] = path
    (container.bundle / "config.json").write_text(json.dumps(container.spec))
    done = container(*words, "create", "-b", str(container.bundle), container.id)
    assert done.returncode == 1
    assert told in done.stderr and len(done.stderr.splitlines()) == 1
