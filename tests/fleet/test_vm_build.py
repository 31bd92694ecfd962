# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builds under systemd on cgroup v2, on a real machine: a step is in a scope of its own, and nothing of it is left."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests import fleet

from .test_vm_cgroup import PROLOGUE, install_engine

pytestmark = [pytest.mark.root, pytest.mark.vm]

BUILD = """
import shutil
from _engine.building import build_image, forecast_build
from _engine.model.build import Build
from _engine.paths import Paths

paths = Paths("/opt/stowage", "/run/stowage-test")
os.makedirs("/opt/context", exist_ok=True)
shutil.copy("/bin/busybox", "/opt/context/busybox")

def sleepers():
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if open(f"/proc/{pid}/comm").read() == "sleep\\n":
                found.append(int(pid))
        except OSError:
            pass  # it has ended
    return found

def build(step, tell=lambda line: None):
    text = 'FROM scratch\\nCOPY busybox /bin/busybox\\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\\n' + step
    open("/opt/context/Containerfile", "w").write(text)
    wanted = Build("docker.io/library/built:1", context="/opt/context")
    digest = build_image(paths, wanted, tell)
    assert forecast_build(paths, wanted).digest == digest
    return digest
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[fleet.Node]:
    with fleet.up("tf-build", ["node-a"], backend="vm") as hosts:
        node = hosts.node("node-a")
        install_engine(node)
        yield node


def run(machine: fleet.Node, script: str) -> str:
    source = f"KIND = 'systemd'\n{PROLOGUE}\n{BUILD}\n{script}"
    return machine.run(["/usr/bin/python3", "-I", "-S", "-"], stdin=source, timeout=120).stdout


def test_a_step_is_in_a_scope_of_its_own(machine):
    seen = run(
        machine,
        """
seen = []
def tell(line):
    if line == "ready":
        wait(sleepers)
        for pid in sleepers():
            seen.append(own_cgroup(pid))
            os.kill(pid, signal.SIGKILL)
build("RUN sleep 60 & echo ready; wait\\n", tell)
print(*sorted(set(seen)))
wait(nothing_left)
""",
    )
    assert re.search(r"/stowage\S*-build-\d+-2\.scope/payload$", seen), seen


def test_a_build_that_is_killed_leaves_nothing(machine):
    run(
        machine,
        """
pid = spawn(lambda: build("RUN sleep 60\\n"))
time.sleep(2)
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
wait(lambda: not sleepers())
build("RUN true\\n")
assert os.listdir("/opt/stowage/build-cache/work") == []
wait(nothing_left)
""",
    )
