# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `stowage inspect` says in words, and that it reads /proc as it is: of this very process, which needs no root."""

from __future__ import annotations

import os
import resource

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.cli.inspect import HIDDEN, hide_values, readable
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.cgroup import Limits
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.container import Container
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.change import plain
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.effective import observe_effective

CONTAINER = Container(
    "web", "site:1", image_digest="sha256:" + "ab" * 32, args=("httpd", "-f"), env=(("A", "rosebud"),)
)


def told(**effective):
    found = {**observe_effective(os.getpid()), "cgroup_limits": plain(Limits()), "networks": [], "ports": []}
    return {
        "name": "web",
        "running": True,
        "pid": 7,
        "exit_code": None,
        "started_at": "",
        "definition": plain(CONTAINER),
        "cgroups_path": "/stowage/web.scope",
        "layers": ["/a", "/b"],
        "effective": {**found, **effective},
    }


def test_this_process_is_seen_as_it_is():
    found = observe_effective(os.getpid())
    assert (found["user"]["uid"], found["user"]["gid"]) == (os.geteuid(), os.getegid())
    assert found["user"]["groups"] == sorted(os.getgroups())
    assert set(found["namespaces"].values()) == {"host"}
    assert found["oom_score_adj"] in range(-1000, 1001)
    assert "lo" in found["interfaces"]
    assert {"/", "/proc"} <= {mount["target"] for mount in found["mounts"]}
    soft, hard = found["limits"]["nofile"]
    wanted = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert (int(soft), int(hard)) == wanted
    assert len(found["limits"]) == 16


def test_one_that_is_gone_is_an_error():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    with pytest.raises(FileNotFoundError):
        observe_effective(pid)


@pytest.mark.parametrize(
    ("effective", "line"),
    [
        ({"uid_map": [[0, 0, 4294967295]]}, "ids              the host's"),
        ({"uid_map": [[0, 1879048192, 65536]]}, "ids              0 to 65535 are 1879048192 to 1879113727 on the host"),
        ({"no_new_privileges": True}, "new privileges   none"),
        ({"cgroup_limits": {"memory": 1 << 26, "cpu_quota": 50_000, "pids": 7, "cpu_weight": 100, "cpuset_cpus": ""}},
         "limits           memory 64 MiB, cpus 0.5, pids 7"),
        ({"cgroup_limits": {"memory": -1, "cpu_quota": -1, "pids": -1}}, "limits           none"),
        ({"seccomp": "filter", "seccomp_filters": 2}, "seccomp          filter (2)"),
        ({"label": "web (enforce)"}, "label            web (enforce)"),
        ({"networks": [{"network": "lan", "address": "10.0.0.2", "connected": False}]},
         "networks         lan 10.0.0.2 (not connected)"),
    ],
)  # fmt: skip
def test_in_words(effective, line):
    lines = [found.replace("   ", "  ") for found in readable(told(**effective)).splitlines()]
    name, value = line.split("  ", 1)
    assert any(found.startswith(name) and found.endswith(value.strip()) for found in lines), lines


def test_what_does_not_run_says_so():
    found = {**told(), "effective": None, "running": False, "exit_code": 3}
    assert "web   ended (3)" in readable(found)
    assert "It does not run" in readable(found)


def test_values_are_hidden():
    assert hide_values([["A", "rosebud"]]) == [["A", HIDDEN]]
    shown = told()
    assert "A=rosebud" in readable(shown)
    shown["definition"]["env"] = hide_values(shown["definition"]["env"])
    assert "rosebud" not in readable(shown)
    assert "A" in readable(shown).split()
