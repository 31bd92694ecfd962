# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CVE-2019-5736 against the engine: a container whose pid namespace another one joins (``pid_mode: container:NAME``)
sees that one's init while it is Python of ours, and in some cases what ``stowage exec`` has enter it. The command line
of the runtime has the same in test_cve_2019_5736.py."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.model.container import Namespaces, Security, Volume
from tests.kernel.runtime.hosted import LINKS, PYTHON
from tests.kernel.runtime.test_cve_2019_5736 import WATCH
from tests.waiting import wait_for

USR = (Volume(source="/usr", target="/usr", read_only=True),)


@pytest.fixture
def layers(tmp_path):
    """A root in which the machine's own Python runs."""
    layer = tmp_path / "sha256-watch"
    for name in ("usr", "tmp", "etc", "srv"):
        (layer / name).mkdir(parents=True)
    for name, target in LINKS.items():
        (layer / name).symlink_to(target)
    # To write to it takes that nobody runs it, and monitors do; to change its mode does not.
    change = 'os.chmod(f"/proc/self/fd/{fd}", 0o755)'
    opened = 'os.write(os.open(f"/proc/self/fd/{fd}", os.O_WRONLY), b"#!/bin/sh")'
    assert opened in WATCH
    (layer / "srv/watch.py").write_text(WATCH.replace(opened, change))
    return [str(layer)]


@pytest.fixture
def python(host, tmp_path):
    """The host's Python is a copy, which is what there is to be overwritten."""
    program = tmp_path / "host/bin" / PYTHON.name
    program.parent.mkdir(parents=True)
    shutil.copy(PYTHON, program)
    (tmp_path / "host/lib").symlink_to("/usr/lib")
    host.engine[0] = str(program)
    return program


@pytest.fixture
def start_watcher(host, layers, python, tmp_path):
    """Have a container look at all that comes; what it says in the end, once all is over."""
    tmp = tmp_path / "shared"
    tmp.mkdir()

    def start(**security):
        host.prepare(
            "watcher",
            "/usr/bin/python3",
            "/srv/watch.py",
            layers=layers,
            volumes=(*USR, Volume(source=str(tmp), target="/tmp")),
            security=Security(cap_add=("SYS_PTRACE",), **security),
        )
        host.create("watcher")
        host.start("watcher")
        wait_for((tmp / "ready").exists)

    def end():
        (tmp / "enough").touch()
        wait_for(lambda: "seen" in host.log("watcher"))
        return host.log("watcher")

    start.end = end
    return start


def check(told):
    assert "seen 0" not in told, "it was not even seen: nothing was tried"
    assert "written" not in told
    assert "Read-only file system" in told


def test_a_watcher_cannot_change_what_joins_its_pid_namespace(host, layers, start_watcher):
    start_watcher()
    for count in range(10):
        name = f"joins{count}"
        joined = Namespaces(pid_mode="container:watcher")
        assert host.output(name, "/bin/true", layers=layers, volumes=USR, namespaces=joined)[0] == 0
    check(start_watcher.end())


def test_nor_what_enters_without_a_trampoline(host, python, start_watcher, tmp_path):
    """As with a filter that does not let one be entered, or with a label."""
    rule = {"names": ["execveat"], "action": "SCMP_ACT_ERRNO"}
    (tmp_path / "profile.json").write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    start_watcher(seccomp=str(tmp_path / "profile.json"), no_new_privileges=False)
    roots = {"STOWAGE_ROOT": host.paths.root, "STOWAGE_RUN_ROOT": host.paths.run_root}
    for _count in range(10):
        words = [*host.engine, "stowage", "exec", "watcher", "/bin/true"]
        subprocess.run(words, env={**os.environ, **roots}, stdin=subprocess.DEVNULL, check=True, timeout=20)
    check(start_watcher.end())
