# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`stowage inspect`: what was asked for beside what the kernel says of it now, which are not always the same."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._ansible.install import engine_command, install_engine
from tests.kernel.host.world import containers_task, image_task

LAN = ("network", {"name": "lan", "subnet": "10.77.0.0/24"})
WEB = {
    "networks": [{"name": "lan"}],
    "published_ports": ["8080:80"],
    "memory": "32M",
    "pids_limit": "50",
    "cpus": "0.5",
    "env": {"TOKEN": "rosebud", "MODE": "quiet"},
    "cap_add": ["NET_ADMIN"],
    "cap_drop": ["MKNOD"],
    "groups": ["1234"],
    "ulimits": ["nofile:100:200"],
    "oom_score_adj": 100,
    "userns": "auto",
    "uts": "host",
    "devices": ["/dev/full:/dev/x"],
    "volumes": ["/etc/services:/etc/services:ro"],
}
TASKS = (image_task(), LAN, containers_task(web=WEB))


@pytest.fixture(scope="module")
def converged(lasting_world):
    os.chmod(lasting_world.directory, 0o755)
    lasting_world.run(*TASKS)
    return lasting_world


def stowage(world, *words):
    environment = {**os.environ, "STOWAGE_ROOT": world.paths.root, "STOWAGE_RUN_ROOT": world.paths.run_root}

    def run():
        command = [*engine_command(world.paths, install_engine(world.paths)), "stowage", *words]
        return subprocess.run(command, check=True, env=environment, capture_output=True, text=True, timeout=30).stdout

    return world.call(run)


def inspect(world, *words):
    return json.loads(stowage(world, "inspect", "web", *words))


def test_the_kernel_s_word_beside_what_was_asked_for(converged):
    told = inspect(converged)
    effective, pid = told["effective"], told["pid"]
    assert told["running"]
    assert told["definition"]["security"]["cap_add"] == ["CAP_NET_ADMIN"]
    assert len(told["layers"]) == 2
    base = int(Path(f"/proc/{pid}/uid_map").read_text().split()[1])
    assert effective["uid_map"] == effective["gid_map"] == [[0, base, 65536]]
    assert effective["user"]["uid"] == base
    assert base + 1234 in effective["user"]["groups"]
    bounding = set(effective["capabilities"]["bounding"])
    assert "CAP_NET_ADMIN" in bounding
    assert "CAP_MKNOD" not in bounding
    assert effective["capabilities"]["ambient"] == effective["capabilities"]["inheritable"] == []
    assert (effective["no_new_privileges"], effective["seccomp"]) == (True, "filter")
    assert effective["seccomp_filters"] >= 1
    assert effective["limits"]["nofile"] == ["100", "200"]
    assert effective["oom_score_adj"] == 100
    assert (effective["cgroup_limits"]["memory"], effective["cgroup_limits"]["pids"]) == (32 << 20, 50)
    assert {name for name, which in effective["namespaces"].items() if which == "host"} <= {"uts", "time"}
    assert effective["interfaces"] == ["lo", "eth0"]
    assert [(at["network"], at["connected"]) for at in effective["networks"]] == [("lan", True)]
    assert [port["host_port"] for port in effective["ports"]] == [8080]
    mounts = {one["target"]: one for one in effective["mounts"]}
    assert mounts["/"]["type"] == "overlay"
    assert "ro" in mounts["/etc/services"]["options"]
    assert "idmapped" in mounts["/etc/services"]["options"]
    devices = {one["path"]: one["number"] for one in effective["devices"]}
    assert (devices["/dev/null"], devices["/dev/x"]) == ("1:3", "1:7")


def test_what_was_changed_by_hand_is_told_as_it_is(converged):
    pid = inspect(converged)["pid"]
    converged.sh(f"nsenter -t {pid} -n ip link del eth0; prlimit --pid {pid} --nofile=90:190 2>/dev/null || true")
    told = inspect(converged)
    assert told["effective"]["interfaces"] == ["lo"]
    assert told["effective"]["networks"][0]["connected"] is False
    assert told["definition"]["networks"][0]["network"] == "lan"
    converged.run(*TASKS)
    assert inspect(converged)["effective"]["interfaces"] == ["lo", "eth0"]


def test_values_of_the_environment_are_hidden_unless_asked_for(converged):
    for words in ([], ["--readable"]):
        told = stowage(converged, "inspect", "web", *words)
        assert "TOKEN" in told
        assert "rosebud" not in told
    assert "rosebud" not in stowage(converged, "ps", "--json")
    assert ["TOKEN", "rosebud"] in inspect(converged, "--show-env")["definition"]["env"]
    assert "TOKEN=rosebud" in stowage(converged, "inspect", "web", "--readable", "--show-env")


def test_in_words(converged):
    told = stowage(converged, "inspect", "web", "-r")
    lines = {line.split("  ")[0]: line.split("  ", 1)[1].strip() for line in told.splitlines() if "  " in line}
    assert lines["web"].startswith("running for ")
    assert lines["limits"].startswith("memory 32 MiB, cpus 0.5, pids 50")
    assert lines["ports"] == "0.0.0.0:8080->80/tcp"
    assert lines["new privileges"] == "none"
    assert lines["namespaces"].endswith("the host's: uts, time")
    assert "net_admin" in lines["capabilities"]
    assert lines["ids"].startswith("0 to 65535 are ")
    assert lines["volumes"] == "/etc/services on /etc/services (ro)"
    assert "/dev/x" in told


def test_one_that_does_not_run(converged):
    converged.run(containers_task(idle={"state": "stopped"}))
    told = json.loads(stowage(converged, "inspect", "idle"))
    assert (told["running"], told["effective"]) == (False, None)
    assert "It does not run" in stowage(converged, "inspect", "idle", "-r")
    converged.run(containers_task(idle=None))
