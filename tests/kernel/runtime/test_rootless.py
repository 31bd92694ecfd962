# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``stowage-runtime`` run by an ordinary user.

Long, because all of it needs the one user that ordinary_user.py makes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
from functools import partial
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.cgroupfs import observe_hierarchies
from tests.waiting import wait_for

from .ordinary_user import COUNT, FIRST, NAME, UID, OrdinaryUser, map_ranges

needs_newuidmap = pytest.mark.skipif(shutil.which("newuidmap") is None, reason="newuidmap is not installed (uidmap)")


@pytest.fixture
def user(app, layer):
    user = OrdinaryUser(app, layer)
    try:
        yield user
    finally:
        user.close()


# Its life -------------------------------------------------------------------------------------------------------------


def test_a_container_runs_and_its_root_is_this_user(user):
    done = user.run_container("sh", "-c", "id; cat /proc/self/uid_map /proc/self/gid_map; cat; exit 5", input="in\n")
    assert done.returncode == 5, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "uid=0(root) gid=0(root)"
    assert [line.split() for line in lines[1:3]] == [["0", str(UID), "1"]] * 2
    assert lines[3:] == ["in"]
    assert done.stderr == ""


def test_create_start_state_exec_ps_kill_delete(user):
    user.spec("sleep", "60")
    assert user.detached("create", "-b", str(user.bundle), "--pid-file", f"{user.home}/pid", user.id).returncode == 0
    state = json.loads(user.runtime("state", user.id).stdout)
    assert (state["status"], state["pid"]) == ("created", int((user.home / "pid").read_text()))
    assert user.states() == [user.id]
    kept = stat.S_IMODE(os.stat(user.runtime_dir / "stowage/runtime").st_mode)
    assert kept == 0o1700, "what has no sticky bit in XDG_RUNTIME_DIR may be cleaned away"
    assert user.runtime("start", user.id).returncode == 0
    done = user.runtime("exec", "--cap", "CAP_SYS_ADMIN", user.id, "sh", "-c", "id -u; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, "0\n", "")
    assert user.detached("exec", "-d", user.id, "sleep", "61").returncode == 0
    pids = user.runtime("ps", "-f", "json", user.id)
    assert state["pid"] in json.loads(pids.stdout) and len(json.loads(pids.stdout)) == 2, pids.stderr
    assert user.id in user.runtime("list").stdout
    assert user.runtime("kill", "--all", user.id, "KILL").returncode == 0
    wait_for(lambda: json.loads(user.runtime("state", user.id).stdout)["status"] == "stopped")
    assert user.runtime("delete", user.id).returncode == 0
    assert user.states() == []


def test_a_process_in_a_container_is_in_all_its_namespaces(user):
    user.spec("sleep", "60", change=lambda spec: spec["linux"]["namespaces"].append({"type": "cgroup"}))
    user.detached("run", "-d", "-b", str(user.bundle), user.id)
    pid = json.loads(user.runtime("state", user.id).stdout)["pid"]
    names = ("mnt", "pid", "uts", "ipc", "user", "cgroup")
    script = f"for n in {' '.join(names)}; do readlink /proc/self/ns/$n; done"
    inside = user.runtime("exec", user.id, "sh", "-c", script).stdout.split()
    assert inside == [os.readlink(f"/proc/{pid}/ns/{name}") for name in names]
    assert not set(inside) & {os.readlink(f"/proc/self/ns/{name}") for name in names}


def test_terminals(user):
    user.spec("tty", change=lambda spec: spec["process"].update(terminal=True))
    argv = user.argv(*user.runtime_argv("run", "-b", str(user.bundle), user.id))
    done = subprocess.run(argv, env=user.environment, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "/dev/pts/0"), done.stderr
    user.spec("sleep", "60")
    user.detached("run", "-d", "-b", str(user.bundle), user.id)
    assert user.runtime("exec", "-t", user.id, "tty").stdout.strip() == "/dev/pts/0"


def test_a_users_own_copy_of_the_engine_does_the_same(user):
    shutil.copytree(user.app, user.home / "engine", ignore=shutil.ignore_patterns("__pycache__"))
    user.own(user.home)
    user.app = user.home / "engine"
    assert user.run_container("id", "-u").stdout == "0\n"


# Ids ------------------------------------------------------------------------------------------------------------------


@needs_newuidmap
def test_ranges_are_mapped_by_newuidmap(user):
    def change(spec):
        map_ranges(spec)
        spec["process"]["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [50, 60]}

    done = user.run_container("sh", "-c", "id; cat /proc/self/uid_map", change=change)
    told, *ranges = done.stdout.splitlines()
    assert told == "uid=1000(web) gid=1000(web) groups=50(staff),60", done.stderr
    assert [line.split() for line in ranges] == [["0", str(UID), "1"], ["1", str(FIRST), str(COUNT)]]


@needs_newuidmap
def test_what_it_makes_belongs_to_the_subordinate_id(user):
    def change(spec):
        map_ranges(spec)
        spec["process"]["user"] = {"uid": 7, "gid": 7}
        spec["root"]["readonly"] = False

    os.chmod(user.bundle / "rootfs/tmp", 0o1777)
    assert user.run_container("touch", "/tmp/mine", change=change).returncode == 0
    made = os.stat(user.bundle / "rootfs/tmp/mine")
    assert (made.st_uid, made.st_gid) == (FIRST + 6, FIRST + 6)


@needs_newuidmap
@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ("", f"{FIRST}-{FIRST + COUNT - 1}"),
        (f"somebody:{FIRST}:{COUNT}\n", f"{FIRST}-{FIRST + COUNT - 1}"),
        (f"{NAME}:{FIRST}:1000\n", f"{FIRST + 1000}-{FIRST + COUNT - 1}"),
        (f"{UID}:{FIRST + 10}:{COUNT}\n", f"{FIRST}-{FIRST + 9}"),
    ],
)
def test_a_range_that_subuid_does_not_give_is_named(user, given, missing):
    user.subordinate(given)
    done = user.run_container("true", change=map_ranges)
    assert done.returncode == 1
    expected = (
        f"linux.uidMappings[1].hostID: '{missing}' is not valid; expected ids that /etc/subuid gives {NAME}; "
        f"as root: usermod --add-subuids {missing} {NAME}"
    )
    assert done.stderr == f"stowage-runtime: {expected}\n"
    assert user.states() == []


def test_without_newuidmap_that_is_said(user):
    user.spec("true", change=map_ranges)
    done = user.run("/usr/bin/env", "PATH=/nowhere", *user.runtime_argv("run", "-b", str(user.bundle), user.id))
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "newuidmap, which is not installed on this host; install it (Debian: uidmap" in done.stderr


def test_groups_are_not_set_where_the_namespace_denies_it(user):
    assert user.run_container("cat", "/proc/self/setgroups").stdout == "deny\n"
    done = user.run_container("true", change=lambda spec: spec["process"]["user"].update(additionalGids=[50]))
    assert done.returncode == 1
    assert "process.user.additionalGids[0]: 50 is not valid; expected an id that linux.gidMappings has" in done.stderr
    user.spec("sleep", "60")
    user.detached("run", "-d", "-b", str(user.bundle), user.id)
    assert user.runtime("exec", "-u", "0:0", user.id, "id", "-u").stdout == "0\n"
    refused = user.runtime("exec", "-u", "5", user.id, "id")
    assert (
        "process.user.uid: 5 is not valid; expected an id that the uidMappings of the container have" in refused.stderr
    )


def test_no_user_namespace_is_refused(user):
    def change(spec):
        spec["linux"]["namespaces"] = [n for n in spec["linux"]["namespaces"] if n["type"] != "user"]
        del spec["linux"]["uidMappings"], spec["linux"]["gidMappings"]

    for words in ((), ("--rootless=false",)):
        done = user.run_container("true", change=change, words=words)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert "expected a user namespace among them: an ordinary user makes no container without" in done.stderr
    assert user.states() == []


# What it sees ---------------------------------------------------------------------------------------------------------


def test_devices_are_the_hosts_bound(user):
    script = "for d in null zero full random urandom tty; do stat -c '%n %t:%T' /dev/$d; done; echo x > /dev/null"
    lines = user.run_container("sh", "-c", script).stdout.splitlines()
    assert lines == [
        f"/dev/{name}" for name in ("null 1:3", "zero 1:5", "full 1:7", "random 1:8", "urandom 1:9", "tty 5:0")
    ]


def test_devices_on_a_plain_dev_can_be_bound_twice(user):
    """Without a tmpfs the files that they are bound on stay in the bundle."""

    def change(spec):
        spec["mounts"] = [m for m in spec["mounts"] if not m["destination"].startswith("/dev")]

    for _time in range(2):
        done = user.run_container("stat", "-c", "%t:%T", "/dev/null", change=change)
        assert (done.stdout, done.stderr) == ("1:3\n", "")


def test_a_device_under_another_name_and_one_that_is_not_there(user):
    def change(number):
        device = {"path": "/dev/mine", "type": "c", "major": number[0], "minor": number[1]}
        return lambda spec: spec["linux"].update(devices=[device])

    found = user.run_container("stat", "-c", "%t:%T", "/dev/mine", change=change((1, 3)))
    if os.path.exists("/dev/char/1:3"):
        assert found.stdout == "1:3\n", found.stderr
    else:
        assert "make the device /dev/mine: this host has no node of char device 1:3 to bind" in found.stderr
    missing = user.run_container("true", change=change((250, 251)))
    assert missing.returncode == 1
    assert "this host has no node of char device 250:251 to bind" in missing.stderr


@pytest.mark.parametrize("own_network", [True, False])
def test_sys_is_mounted_or_bound_and_read_only(user, own_network):
    """A sysfs of its own takes a network namespace of its own; else the host's is bound."""

    def change(spec):
        if own_network:
            spec["linux"]["namespaces"].append({"type": "network"})
        entry = next(entry for entry in spec["mounts"] if entry["destination"] == "/sys")
        entry.update(type="sysfs", source="sysfs", options=["nosuid", "noexec", "nodev", "ro"])

    script = "grep ' /sys sysfs' /proc/mounts; ls /sys/class/net; touch /sys/kernel/x 2>&1"
    done = user.run_container("sh", "-c", script, change=change)
    assert "/sys sysfs ro,nosuid,nodev,noexec" in done.stdout, done.stderr
    assert "Read-only file system" in done.stdout
    ours = set(os.listdir("/sys/class/net")) - {"bonding_masters"}
    if ours - {"lo"}:
        assert (ours <= set(done.stdout.split())) == (not own_network)


def test_proc_of_a_shared_pid_namespace_is_bound(user):
    def change(spec):
        spec["linux"]["namespaces"] = [n for n in spec["linux"]["namespaces"] if n["type"] != "pid"]

    done = user.run_container("sh", "-c", "readlink /proc/self/ns/pid; touch /proc/sys/kernel/x 2>&1", change=change)
    assert done.stdout.splitlines()[0] == os.readlink("/proc/self/ns/pid"), done.stderr


def test_an_ipc_namespace_that_is_shared(user):
    def change(spec):
        spec["linux"]["namespaces"] = [n for n in spec["linux"]["namespaces"] if n["type"] != "ipc"]

    done = user.run_container("readlink", "/proc/self/ns/ipc", change=change)
    if os.path.ismount("/dev/mqueue"):
        assert done.stdout.strip() == os.readlink("/proc/self/ns/ipc"), done.stderr
    else:
        assert "on /dev/mqueue" in done.stderr and done.returncode == 1


def test_a_group_of_devpts_that_is_not_mapped_is_refused(user):
    def change(spec):
        next(e for e in spec["mounts"] if e["type"] == "devpts")["options"].append("gid=5")

    done = user.run_container("true", change=change)
    assert "options: 'gid=5' is not valid; expected an id that linux.gidMappings has, or none" in done.stderr


@needs_newuidmap
def test_a_group_of_devpts_that_is_mapped(user):
    def change(spec):
        map_ranges(spec)
        next(e for e in spec["mounts"] if e["type"] == "devpts")["options"].append("gid=5")

    assert "gid=" + str(FIRST + 4) in user.run_container("grep", "devpts", "/proc/mounts", change=change).stdout


def test_flags_of_the_hosts_mounts_that_are_locked_stay(user):
    """nosuid, nodev and noexec of a mount that came from a more powerful namespace cannot be taken off by a remount."""
    source = user.directory / "locked"
    source.mkdir(mode=0o755)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev,noexec,noatime,mode=755", "locked", source], check=True)
    try:
        entry = {"destination": "/mnt", "type": "bind", "source": str(source), "options": ["rbind", "ro"]}
        done = user.run_container("grep", " /mnt ", "/proc/mounts", change=lambda spec: spec["mounts"].append(entry))
        assert done.stdout.split()[3].startswith("ro,nosuid,nodev,noexec,noatime"), done.stderr
    finally:
        subprocess.run(["umount", source], check=True)


def _ask_for_score(score, spec):
    spec["process"]["oomScoreAdj"] = score


def test_the_score_for_the_oom_killer_is_raised_but_lowered_in_vain(user):
    for score, told in ((500, "500"), (-500, Path("/proc/self/oom_score_adj").read_text().strip())):
        done = user.run_container("cat", "/proc/self/oom_score_adj", change=partial(_ask_for_score, score))
        assert (done.stdout.strip(), done.stderr) == (told, "")


def test_hooks_run_as_this_user(user):
    hook = user.home / "hook"
    hook.write_text('#!/bin/sh\nid -u > "$2/$1"\n')
    hook.chmod(0o755)
    stages = ("prestart", "createRuntime", "poststart", "poststop")

    def change(spec):
        path = f"PATH={os.environ['PATH']}"
        entry = {
            stage: [{"path": str(hook), "args": ["hook", stage, str(user.home)], "env": [path]}] for stage in stages
        }
        spec["hooks"] = entry

    assert user.run_container("true", change=change).returncode == 0
    assert {(user.home / stage).read_text() for stage in stages} == {f"{UID}\n"}


def test_hostname_and_loopback_are_its_own(user):
    def change(spec):
        spec["hostname"] = "mine"
        spec["linux"]["namespaces"].append({"type": "network"})
        spec["linux"]["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "80"}

    script = "hostname; ip addr; cat /proc/sys/net/ipv4/ip_unprivileged_port_start"
    done = user.run_container("sh", "-c", script, change=change)
    assert done.stdout.startswith("mine\n") and "127.0.0.1" in done.stdout and done.stdout.endswith("\n80\n"), (
        done.stderr
    )


def test_clocks_of_its_own_and_joining_all_its_namespaces(user):
    def clocks(spec):
        spec["linux"]["namespaces"].append({"type": "time"})
        spec["linux"]["timeOffsets"] = {"boottime": {"secs": 5_000_000}}

    user.spec("sleep", "60", change=clocks)
    user.detached("run", "-d", "-b", str(user.bundle), user.id)
    pid = json.loads(user.runtime("state", user.id).stdout)["pid"]
    files = {"mount": "", "user": "user", "pid": "pid", "ipc": "ipc", "uts": "uts", "time": "time"}

    def join(spec):
        spec.pop("hostname")
        del spec["linux"]["uidMappings"], spec["linux"]["gidMappings"]
        paths = {kind: f"/proc/{pid}/ns/{file}" if file else "" for kind, file in files.items()}
        spec["linux"]["namespaces"] = [{"type": kind, "path": path} for kind, path in paths.items()]

    user.spec(
        "sh", "-c", "cat /proc/uptime; for n in user pid ipc uts time; do readlink /proc/self/ns/$n; done", change=join
    )
    done = user.runtime("run", "-b", str(user.bundle), f"{user.id}-b")
    uptime, *links = done.stdout.splitlines()
    assert float(uptime.split()[0]) > 5_000_000, done.stderr
    assert links == [os.readlink(f"/proc/{pid}/ns/{file}") for file in ("user", "pid", "ipc", "uts", "time")]


def test_what_nothing_would_end_is_warned_of(user):
    def change(spec):
        spec["linux"]["namespaces"] = [n for n in spec["linux"]["namespaces"] if n["type"] != "pid"]

    done = user.run_container("true", change=change)
    assert (done.returncode, "Such configuration is strongly discouraged" in done.stderr) == (0, True)


# Cgroups --------------------------------------------------------------------------------------------------------------


def test_limits_without_a_cgroup_are_refused(user):
    done = user.run_container("true", change=lambda spec: spec["linux"].update(resources={"pids": {"limit": 10}}))
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "linux.resources: rootless needs no limits + no cgrouppath when no permission is granted" in done.stderr
    assert user.states() == []


def test_a_cgroup_that_this_user_may_not_make_is_refused(user):
    done = user.run_container("true", change=lambda spec: spec["linux"].update(cgroupsPath=f"/{user.id}"))
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert f"linux.cgroupsPath: /{user.id}: unable to apply cgroup configuration: " in done.stderr
    assert user.states() == []


def test_device_rules_ask_for_no_cgroup(user):
    rules = {"devices": [{"allow": False, "access": "rwm"}]}
    assert user.run_container("true", change=lambda spec: spec["linux"].update(resources=rules)).returncode == 0


@pytest.fixture
def delegated(user):
    """A cgroup in every v1 hierarchy that is this user's, as an administrator makes it."""
    hierarchies = [h for h in observe_hierarchies() if h.version == 1]
    made = [Path(hierarchy.mount, f"{user.id}-delegated") for hierarchy in hierarchies]
    if not made:
        pytest.skip("no hierarchy of cgroup v1 is mounted here; test_vm_rootless.py has v2")
    for directory in made:
        directory.mkdir()
        for name in ("cpuset.cpus", "cpuset.mems"):
            if (directory / name).exists():
                (directory / name).write_text((directory.parent / name).read_text())
        for path in (directory, *(directory / name for name in ("cgroup.procs", "tasks"))):
            os.chown(path, UID, UID)
    yield f"/{user.id}-delegated"
    for directory in made:
        wait_for(lambda directory=directory: not (directory / "tasks").read_text())
        directory.rmdir()


def test_a_cgroup_that_was_delegated_on_v1(user, delegated):
    def change(spec):
        spec["linux"]["cgroupsPath"] = f"{delegated}/web"
        spec["linux"]["resources"] = {"pids": {"limit": 33}, "devices": [{"allow": False, "access": "rwm"}]}

    user.spec("sleep", "60", change=change)
    assert user.detached("run", "-d", "-b", str(user.bundle), user.id).returncode == 0
    pid = json.loads(user.runtime("state", user.id).stdout)["pid"]
    assert f":pids:{delegated}/web\n" in Path(f"/proc/{pid}/cgroup").read_text()
    limits = [path.read_text() for path in Path("/sys/fs/cgroup").glob(f"*{delegated}/web/pids.max")]
    assert set(limits) == {"33\n"}
    assert user.runtime("exec", user.id, "cat", "/proc/self/cgroup").stdout.count(f"{delegated}/web") > 2
    assert user.runtime("pause", user.id).returncode == 0
    assert json.loads(user.runtime("state", user.id).stdout)["status"] == "paused"
    assert user.runtime("resume", user.id).returncode == 0
    user.detached("exec", "-d", user.id, "sleep", "61")
    assert len(json.loads(user.runtime("ps", "-f", "json", user.id).stdout)) == 2
    assert user.runtime("delete", "--force", user.id).returncode == 0
    assert not list(Path("/sys/fs/cgroup").glob(f"*{delegated}/web"))


def test_what_needs_a_cgroup_says_so(user):
    user.spec("sleep", "60")
    user.detached("run", "-d", "-b", str(user.bundle), user.id)
    paused = user.runtime("pause", user.id)
    assert (paused.returncode, "cgroup of its own" in paused.stderr) == (1, True)


def test_what_an_ordinary_user_cannot_have_is_refused(user):
    source = {"destination": "/mnt", "type": "bind", "source": "/usr", "options": ["bind", "idmap"]}
    done = user.run_container("true", change=lambda spec: spec["mounts"].append(source))
    assert "options: ['bind', 'idmap'] is not valid; expected a mount that is not mapped" in done.stderr

    def give(spec):
        spec["linux"]["namespaces"].append({"type": "network"})
        spec["linux"]["netDevices"] = {"eth0": {}}

    done = user.run_container("true", change=give)
    assert "linux.netDevices: {'eth0': {}} is not valid" in done.stderr
    done = user.run_container("true", words=("--rootless=perhaps",))
    assert "--rootless: 'perhaps' is not valid; expected true, false or auto" in done.stderr
    assert user.states() == []


def test_another_root_and_a_missing_runtime_directory(user):
    user.spec("id", "-u")
    other = user.home / "elsewhere"
    done = user.runtime("--root", str(other), "run", "-b", str(user.bundle), user.id)
    assert done.stdout == "0\n" and other.exists()
    refused = user.runtime("run", "-b", str(user.bundle), user.id, env={"XDG_RUNTIME_DIR": ""})
    assert refused.returncode == 1
    assert f"--root: '/run/user/{UID}' is not valid" in refused.stderr


# Inside a user namespace ----------------------------------------------------------------------------------------------

OVERLAY = """
import os, sys
from _engine.linux.mount import mount, mount_overlay
home = sys.argv[1]
os.makedirs(f"{home}/own/rootfs")
os.makedirs(f"{home}/memory")
mount("tmpfs", f"{home}/memory", "tmpfs")
for name in ("upper", "work"):
    os.mkdir(f"{home}/memory/{name}")
lower, memory = [f"{home}/bundle/rootfs"], f"{home}/memory"
mount_overlay(f"{home}/own/rootfs", lower=lower, upper=f"{memory}/upper", work=f"{memory}/work", userxattr=True)
os.execv(sys.argv[2], sys.argv[2:])
"""


def run_nested(user, script, *, own_user_namespace):
    """A container on an overlay that root of a user namespace mounts, and made by that root."""

    def change(spec):
        spec["root"].update(path="../own/rootfs", readonly=False)
        spec["linux"].pop("uidMappings")
        spec["linux"].pop("gidMappings")
        spec["linux"]["namespaces"] = [n for n in spec["linux"]["namespaces"] if n["type"] != "user"]
        if own_user_namespace:
            spec["linux"]["namespaces"].append({"type": "user"})
            for name in ("uidMappings", "gidMappings"):
                spec["linux"][name] = [{"containerID": 0, "hostID": 0, "size": 1}]
        spec["process"]["oomScoreAdj"] = -100

    user.spec("sh", "-c", script, change=change)
    run = user.runtime_argv("run", "-b", str(user.bundle), user.id)
    python = ["/usr/bin/env", f"PYTHONPATH={user.app}", "/usr/bin/python3", "-c", OVERLAY, str(user.home)]
    return user.run("unshare", "--user", "--map-root-user", "--mount", *python, *run)


@pytest.mark.parametrize("own_user_namespace", [False, True])
def test_an_overlay_in_a_user_namespace_is_the_root(user, own_user_namespace):
    """A directory that hides one of a lower layer takes an attribute that only userxattr lets this root write."""
    script = "id -u; rm -r /etc; mkdir /etc; ls /etc; touch /etc/new /new; ls -l /dev/null; mknod /dev/x c 1 3 2>&1"
    done = run_nested(user, script, own_user_namespace=own_user_namespace)
    assert done.stdout.splitlines()[0] == "0", done.stderr
    assert "1,   3" in done.stdout and "not permitted" in done.stdout
    assert (user.bundle / "rootfs/etc/passwd").exists()
    assert not (user.bundle / "rootfs/new").exists()


def test_root_of_a_user_namespace_that_owns_no_mount_namespace(user):
    """It cannot open the sources of mounts, but its container's init, whose mount namespace is its own, can."""

    def change(spec):
        for name in ("uidMappings", "gidMappings"):
            spec["linux"][name] = [{"containerID": 0, "hostID": 0, "size": 1}]
        source = {"destination": "/mnt", "type": "bind", "source": str(user.home), "options": ["rbind", "ro"]}
        spec["mounts"].append(source)

    user.spec("ls", "/mnt", change=change)
    run = user.runtime_argv("run", "-b", str(user.bundle), user.id)
    done = user.run("unshare", "--user", "--map-root-user", *run)
    assert (done.stdout, done.stderr) == ("bundle\n", "")


# podman ---------------------------------------------------------------------------------------------------------------


@needs_newuidmap
@pytest.mark.skipif(shutil.which("podman") is None, reason="podman is not installed")
def test_podman_of_an_ordinary_user_runs_it(user):
    """A whole life under podman: run, exec, exec on a terminal, logs, stop, rm; and its ways to map users."""
    command = user.directory / "stowage-runtime"
    command.write_text(f'#!/bin/sh\nexec {" ".join(user.runtime_argv())} "$@"\n')
    command.chmod(0o755)
    podman_dir = user.runtime_dir / "podman"
    base = ["podman", "--runtime", str(command), "--cgroup-manager=cgroupfs", "--storage-driver", "vfs"]
    base += ["--events-backend", "none", "--root", str(user.home / "storage"), "--runroot", str(podman_dir)]
    base += ["--tmpdir", str(podman_dir / "tmp")]
    rootfs = ["--network", "none", "--rootfs", str(user.bundle / "rootfs")]

    def podman(*words):
        return user.run(*base, *words, timeout=60)

    try:
        loop = "trap 'exit 3' TERM; echo hello; while :; do sleep 0.1; done"
        done = podman("run", "-d", "--name", "web", *rootfs, "sh", "-c", loop)
        assert done.returncode == 0, done.stderr
        maps = podman("exec", "web", "cat", "/proc/self/uid_map").stdout.split()
        assert maps == ["0", str(UID), "1", "1", str(FIRST), str(COUNT)]
        assert podman("exec", "web", "sh", "-c", "exit 4").returncode == 4
        assert podman("exec", "-t", "web", "tty").stdout.strip() == "/dev/pts/0"
        assert podman("logs", "web").stdout == "hello\n"
        assert podman("stop", "web").returncode == 0
        assert podman("inspect", "-f", "{{.State.ExitCode}}", "web").stdout.strip() == "3"
        assert podman("rm", "web").returncode == 0
        assert podman("run", "--rm", "--user", "5:6", *rootfs, "id", "-u").stdout == "5\n"
        kept = podman("run", "--rm", "--userns", "keep-id", *rootfs, "id", "-u")
        assert kept.stdout == f"{UID}\n", kept.stderr
    finally:
        podman("rm", "-f", "-a")
        pause = podman_dir / "tmp/pause.pid"  # podman's keeper of its user namespace
        if pause.exists():
            os.kill(int(pause.read_text()), signal.SIGKILL)
