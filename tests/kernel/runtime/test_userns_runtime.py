# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers whose root is an unprivileged user of the host, made by root (``linux.uidMappings``).

Long, because every part of a container is tried once more with such ids.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import tempfile
import uuid
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.config.defaults import MASKED_PATHS

FIRST = 500_000  # where the container's root is on the host


class Bundle:
    """A bundle that everybody can reach, its files those of the container's root, and the runtime run on it by root."""

    def __init__(self, app, layer):
        self.app = app
        self.directory = Path(tempfile.mkdtemp(prefix="stowage-test-", dir="/tmp"))
        self.directory.chmod(0o755)
        self.root = str(self.directory / "state")
        self.rootfs = self.directory / "rootfs"
        shutil.copytree(layer, self.rootfs, symlinks=True)
        self.rootfs.chmod(0o755)
        for directory, directories, files in os.walk(self.rootfs):
            for name in [".", *directories, *files]:
                os.chown(os.path.join(directory, name), FIRST, FIRST, follow_symlinks=False)
        os.chmod(self.rootfs / "tmp", 0o1777)
        self.id = f"stowage-test-{uuid.uuid4().hex[:8]}"
        self.others = []

    def argv(self, *words):
        python = ["/usr/bin/python3", "-I", "-S", "-E", str(self.app), "stowage-runtime"]
        return [*python, "--root", self.root, *words]

    def __call__(self, *words, **options):
        options = {"capture_output": True, "text": True, "timeout": 20, **options}
        return subprocess.run(self.argv(*words), check=False, **options)

    def configure(self, *args, change=None, identity=""):
        path = self.directory / "config.json"
        path.unlink(missing_ok=True)
        done = self("spec", "-b", str(self.directory))
        assert done.returncode == 0, done.stderr
        spec = json.loads(path.read_text())
        spec["process"].update(terminal=False, args=list(args))
        spec["process"].pop("rlimits", None)
        spec["root"]["readonly"] = False
        linux = spec["linux"]
        linux["cgroupsPath"] = f"/{identity or self.id}"
        linux["namespaces"].append({"type": "user"})
        for name in ("uidMappings", "gidMappings"):
            linux[name] = [{"containerID": 0, "hostID": FIRST, "size": 65536}]
        if change:
            change(spec)
        path.write_text(json.dumps(spec))

    def run(self, *args, change=None, **options):
        self.configure(*args, change=change)
        return self("run", "-b", str(self.directory), self.id, **options)

    def detached(self, *args, change=None, identity="", words=()):
        """A container that stays: its pid."""
        self.configure(*args, change=change, identity=identity)
        name = identity or self.id
        self.others.append(name)
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        with tempfile.TemporaryFile() as errors:
            streams["stderr"] = errors
            command = self.argv(*words, "run", "-d", "-b", str(self.directory), name)
            done = subprocess.run(command, check=False, timeout=20, **streams)
            errors.seek(0)
            assert done.returncode == 0, errors.read()
        return json.loads(self("state", name).stdout)["pid"]

    def close(self):
        try:
            for name in dict.fromkeys([self.id, *self.others]):
                self("delete", "--force", name)
                assert [d for d, _dirs, _files in os.walk("/sys/fs/cgroup") if d.endswith(name)] == []
            assert not os.path.exists(self.root) or os.listdir(self.root) == []
        finally:
            shutil.rmtree(self.directory)


@pytest.fixture
def bundle(app, layer):
    bundle = Bundle(app, layer)
    try:
        yield bundle
    finally:
        bundle.close()


def ranges(*entries):
    return [{"containerID": inside, "hostID": outside, "size": size} for inside, outside, size in entries]


# Maps -----------------------------------------------------------------------------------------------------------------


def test_several_ranges_in_any_order(bundle):
    wanted = ((1000, 700_000, 10), (0, FIRST, 1), (5000, 600_000, 1000), (1, FIRST + 1, 999))

    def change(spec):
        spec["linux"].update(uidMappings=ranges(*wanted), gidMappings=ranges((0, FIRST, 65536)))
        spec["process"]["user"] = {"uid": 5005, "gid": 50, "additionalGids": [60]}

    done = bundle.run("sh", "-c", "cat /proc/self/uid_map; id; echo x > /tmp/file", change=change)
    *told, identity = done.stdout.splitlines()
    assert [tuple(map(int, line.split())) for line in told] == list(wanted), done.stderr
    assert identity == "uid=5005 gid=50(staff) groups=60"
    made = os.stat(bundle.rootfs / "tmp/file")
    assert (made.st_uid, made.st_gid) == (600_005, FIRST + 50)


def test_many_ranges(bundle):
    many = [(index, FIRST + index, 1) for index in range(180)]  # less than a page of text
    done = bundle.run("cat", "/proc/self/uid_map", change=lambda spec: spec["linux"].update(uidMappings=ranges(*many)))
    assert len(done.stdout.splitlines()) == 180, done.stderr


def _users(*entries):
    return lambda spec: spec["linux"].update(uidMappings=ranges(*entries))


def _process(**user):
    return lambda spec: spec["process"].update(user={"uid": 0, "gid": 0, **user})


REFUSED = {
    "inside twice": (_users((0, FIRST, 10), (5, 1000, 10)), "linux.uidMappings[1].containerID: '5-14' is not valid"),
    "outside twice": (_users((0, FIRST, 10), (20, FIRST + 9, 1)), f"linux.uidMappings[1].hostID: '{FIRST + 9}-"),
    "no root": (_users((1000, FIRST, 10)), "expected a range with containerID 0"),
    "too long inside": (_users((0, FIRST, 1), (4294967290, 5, 10)), "linux.uidMappings[1].size: 10 is not valid"),
    "too long outside": (_users((0, 4294967290, 10)), "linux.uidMappings[0].size: 10 is not valid"),
    "too many": (_users(*((n, FIRST + n, 1) for n in range(341))), "linux.uidMappings: '341 ranges, "),
    "no size": (_users((0, FIRST, 0)), "linux.uidMappings[0].size: 0 is not valid"),
    "user": (_process(uid=65536), "process.user.uid: 65536 is not valid; expected an id that linux.uidMappings has"),
    "group": (_process(gid=70000), "process.user.gid: 70000 is not valid; expected an id that linux.gidMappings has"),
    "groups": (_process(additionalGids=[5, 70000]), "process.user.additionalGids[1]: 70000 is not valid"),
    "a tmpfs": (
        lambda spec: spec["mounts"].append(
            {"destination": "/x", "type": "tmpfs", "source": "tmpfs", "options": ["uid=70000"]}
        ),
        "options: 'uid=70000' is not valid; expected an id that linux.uidMappings has, or none",
    ),
}


@pytest.mark.parametrize(("change", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_maps_that_cannot_be_are_refused_before_anything_is_made(bundle, change, told):
    done = bundle.run("true", change=change)
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert told in done.stderr
    assert not os.path.exists(bundle.root) or os.listdir(bundle.root) == []


# Joining --------------------------------------------------------------------------------------------------------------


def _join(path, **others):
    def change(spec):
        linux = spec["linux"]
        paths = {"user": path, **others}
        for entry in linux["namespaces"]:
            if entry["type"] in paths:
                entry["path"] = paths[entry["type"]]

    return change


@pytest.mark.parametrize("bound", [False, True], ids=["of a process", "bound"])
def test_the_user_namespace_of_another_container_is_joined(bundle, bound):
    """Also by a path that says nothing of a process. Mappings beside it, which podman gives, count for nothing."""
    pid = bundle.detached("sleep", "60", identity=f"{bundle.id}-a")
    path = f"/proc/{pid}/ns/user"
    target = bundle.directory / "ns"
    if bound:
        target.touch()
        subprocess.run(["mount", "--bind", path, target], check=True)
        path = str(target)
    try:
        for drop in (False, True):

            def change(spec, drop=drop):
                _join(path)(spec)
                for name in ("uidMappings", "gidMappings"):
                    spec["linux"][name] = ranges((0, 0, 1))
                    if drop:
                        del spec["linux"][name]

            script = "readlink /proc/self/ns/user; cat /proc/self/uid_map; id; ls -ld /root | cut -c1-30"
            done = bundle.run("sh", "-c", script, change=change)
            lines = done.stdout.splitlines()
            assert lines[0] == os.readlink(f"/proc/{pid}/ns/user"), done.stderr
            assert lines[1].split() == ["0", str(FIRST), "65536"]
            assert lines[2].startswith("uid=0(root) gid=0(root)")
    finally:
        if bound:
            subprocess.run(["umount", target], check=True)


def test_an_id_that_the_joined_namespace_lacks_is_refused(bundle):
    path = f"/proc/{bundle.detached('sleep', '60', identity=f'{bundle.id}-a')}/ns/user"

    def change(spec):
        _join(path)(spec)
        spec["process"]["user"] = {"uid": 100_000, "gid": 0}

    done = bundle.run("true", change=change)
    assert f"process.user.uid: 100000 is not valid; expected an id that the user namespace {path} has" in done.stderr


def test_other_namespaces_owned_by_the_joined_one(bundle):
    pid = bundle.detached("sleep", "60", identity=f"{bundle.id}-a")
    names = {"network": "net", "ipc": "ipc", "uts": "uts"}
    paths = {kind: f"/proc/{pid}/ns/{file}" for kind, file in names.items()}

    def change(spec):
        _join(f"/proc/{pid}/ns/user", **paths)(spec)
        spec.pop("hostname", None)

    script = "for n in user net ipc uts; do readlink /proc/self/ns/$n; done; grep ' /sys ' /proc/mounts; hostname"
    done = bundle.run("sh", "-c", script, change=change)
    lines = done.stdout.splitlines()
    assert lines[:4] == [os.readlink(f"/proc/{pid}/ns/{n}") for n in ("user", "net", "ipc", "uts")], done.stderr
    assert " sysfs " in lines[4]


def test_a_network_namespace_that_another_user_namespace_owns(bundle):
    """It is entered before the user namespace, whose root may not; its sysfs is the host's, bound."""
    pid = bundle.detached("sleep", "60", identity=f"{bundle.id}-a")
    with subprocess.Popen(
        ["unshare", "-n", "sh", "-c", "echo; read line"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        path = f"/proc/{other.pid}/ns/net"
        wanted = os.readlink(path)
        for change in (_join(f"/proc/{pid}/ns/user", network=path), _join("", network=path)):
            script = "readlink /proc/self/ns/net; touch /sys/kernel/x 2>&1"
            done = bundle.run("sh", "-c", script, change=change)
            assert done.stdout.splitlines()[:1] == [wanted], (done.returncode, done.stderr)
            assert "Read-only file system" in done.stdout
        other.communicate(b"\n")


def test_a_path_that_is_no_user_namespace_is_refused(bundle):
    done = bundle.run("true", change=_join("/proc/self/ns/net"))
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "linux.namespaces" in done.stderr


# What is set up -------------------------------------------------------------------------------------------------------


def test_devices_masks_and_read_only_paths(bundle):
    masked = next(path for path in MASKED_PATHS if os.path.isfile(path))
    script = (
        "for d in null zero full random urandom tty; do stat -c '%n %t:%T' /dev/$d; done; echo > /dev/null;"
        f"stat -c %t:%T {masked}; cat {masked} | wc -c; ls /proc/acpi 2>/dev/null; "
        "touch /proc/sys/kernel/x /sys/kernel/x 2>&1 | grep -c 'Read-only\\|denied\\|No such'"
    )
    done = bundle.run("sh", "-c", script)
    names = ("null 1:3", "zero 1:5", "full 1:7", "random 1:8", "urandom 1:9", "tty 5:0")
    assert done.stdout.split("\n") == [*(f"/dev/{name}" for name in names), "1:3", "0", "2", ""], done.stderr


def test_the_group_of_terminals(bundle):
    done = bundle.run("grep", "devpts", "/proc/mounts")
    assert f"gid={FIRST + 5}" in done.stdout, done.stderr


def test_a_source_that_only_the_hosts_root_can_reach(bundle):
    """And one in a directory of yet another user's: the runtime opens them before it lets go of its rights."""
    for name, owner in (("one", 0), ("two", 4242)):
        (bundle.directory / name / "deep").mkdir(parents=True)
        (bundle.directory / name / "deep/file").write_text(f"{name}\n")
        os.chown(bundle.directory / name, owner, owner)
        os.chmod(bundle.directory / name, 0o700)

    def change(spec):
        for name in ("one", "two"):
            source = str(bundle.directory / name / "deep")
            spec["mounts"].append({"destination": f"/{name}", "type": "bind", "source": source, "options": ["rbind"]})

    done = bundle.run("cat", "/one/file", "/two/file", change=change)
    assert done.stdout == "one\ntwo\n", done.stderr
    bundle.detached("sleep", "60", change=change)
    assert bundle("exec", bundle.id, "cat", "/two/file").stdout == "two\n"


def test_a_bundle_that_only_the_hosts_root_can_reach(bundle):
    os.chmod(bundle.directory, 0o700)
    assert bundle.run("id", "-u").stdout == "0\n"


def test_its_own_streams_can_be_opened(bundle):
    def change(spec):
        spec["process"]["user"] = {"uid": 1000, "gid": 1000}

    done = bundle.run(
        "sh", "-c", "echo out > /dev/stdout; echo err > /dev/stderr; cat < /dev/stdin", change=change, input="in\n"
    )
    assert (done.stdout, done.stderr) == ("out\nin\n", "err\n")


def test_a_terminal_of_its_own(bundle):
    done = bundle.run(
        "sh",
        "-c",
        "tty; stat -c '%u %g' /dev/pts/0; echo > /dev/console",
        change=lambda spec: spec["process"].update(terminal=True, user={"uid": 1000, "gid": 1000}),
    )
    assert done.stdout.split()[:3] == ["/dev/pts/0", "1000", "5"], done.stderr
    assert done.returncode == 0


def test_whoever_enters_is_in_all_its_namespaces_and_has_its_terminal(bundle):
    pid = bundle.detached("sleep", "60")
    script = "for n in user mnt pid net ipc uts; do readlink /proc/self/ns/$n; done; id"
    *links, identity = bundle("exec", "-u", "1000:50", bundle.id, "sh", "-c", script).stdout.splitlines()
    assert links == [os.readlink(f"/proc/{pid}/ns/{n}") for n in ("user", "mnt", "pid", "net", "ipc", "uts")]
    assert identity.startswith("uid=1000(web) gid=50(staff)")
    assert bundle("exec", "-t", bundle.id, "sh", "-c", "tty; stat -c %u /dev/pts/0").stdout.split() == [
        "/dev/pts/0",
        "0",
    ]
    refused = bundle("exec", "-u", "70000", bundle.id, "id")
    assert (
        "process.user.uid: 70000 is not valid; expected an id that the uidMappings of the container have"
        in refused.stderr
    )
    streams = bundle("exec", "-u", "1000", bundle.id, "sh", "-c", "echo out > /dev/stdout")
    assert (streams.stdout, streams.stderr) == ("out\n", "")


def test_it_is_in_its_cgroup_with_its_limits(bundle):
    def change(spec):
        spec["linux"]["resources"] = {"pids": {"limit": 77}, "devices": [{"allow": False, "access": "rwm"}]}

    pid = bundle.detached("sleep", "60", change=change)
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    assert any(bundle.id in line for line in lines if ":pids:" in line or line.startswith("0::"))
    limits = [
        Path(d, "pids.max").read_text()
        for d, _dirs, files in os.walk("/sys/fs/cgroup")
        if bundle.id in d and "pids.max" in files
    ]
    assert "77\n" in limits


@pytest.mark.parametrize("whether", ["true", "false", "auto"])
def test_root_has_a_cgroup_whatever_is_said_of_rootless(bundle, whether):
    pid = bundle.detached("sleep", "60", words=(f"--rootless={whether}",))
    assert bundle.id in Path(f"/proc/{pid}/cgroup").read_text()


@pytest.mark.parametrize("namespaced", [True, False])
def test_cgroups_are_mounted_read_only(bundle, namespaced):
    def change(spec):
        kept = [n for n in spec["linux"]["namespaces"] if n["type"] != "cgroup"]
        spec["linux"]["namespaces"] = kept + ([{"type": "cgroup"}] if namespaced else [])

    done = bundle.run(
        "sh", "-c", "grep -c cgroup /proc/mounts; mkdir /sys/fs/cgroup/x 2>&1; ls /sys/fs/cgroup", change=change
    )
    assert "Read-only file system" in done.stdout, done.stderr
    assert int(done.stdout.split()[0]) >= 1


def test_the_score_for_the_oom_killer(bundle):
    done = bundle.run("cat", "/proc/self/oom_score_adj", change=lambda spec: spec["process"].update(oomScoreAdj=300))
    assert (done.stdout, done.stderr) == ("300\n", "")


def test_sysctls_of_its_namespaces(bundle):
    def change(spec):
        spec["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.msgmax": "9000"}

    done = bundle.run("cat", "/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/msgmax", change=change)
    assert done.stdout.split() == ["1", "9000"], done.stderr


def test_hooks_of_the_host_run_as_the_hosts_root(bundle):
    script = bundle.directory / "hook"
    script.write_text('#!/bin/sh\n/usr/bin/id -u > "$2/$1"; /bin/cat /proc/self/uid_map >> "$2/$1"\n')
    script.chmod(0o755)
    (bundle.directory / "out").mkdir()
    stages = ("prestart", "createRuntime", "poststart", "poststop")

    def change(spec):
        args = {stage: ["hook", stage, str(bundle.directory / "out")] for stage in stages}
        spec["hooks"] = {stage: [{"path": str(script), "args": args[stage]}] for stage in stages}

    assert bundle.run("true", change=change).returncode == 0
    for stage in stages:
        assert (bundle.directory / "out" / stage).read_text().split() == ["0", "0", "0", "4294967295"], stage


def test_what_its_root_makes_is_the_mapped_users(bundle):
    def change(spec):
        for name in ("bounding", "effective", "permitted"):
            spec["process"]["capabilities"][name] = ["CAP_CHOWN", "CAP_MKNOD", "CAP_SETUID"]

    bundle.run("sh", "-c", "mkdir /made; chown 7:8 /made; mknod /tmp/fifo p", change=change)
    made = os.stat(bundle.rootfs / "made")
    assert (made.st_uid, made.st_gid) == (FIRST + 7, FIRST + 8)
    assert stat.S_ISFIFO(os.stat(bundle.rootfs / "tmp/fifo").st_mode)
    done = bundle.run("mknod", "/tmp/disk", "b", "8", "0", change=change)
    assert (done.returncode, "Operation not permitted" in done.stderr) == (1, True)


def test_its_root_has_no_rights_on_the_host(bundle):
    """Files of the host's root are nobody's inside, and not to be read where others may not."""
    secret = bundle.directory / "secret"
    secret.write_text("secret\n")
    secret.chmod(0o600)

    def change(spec):
        spec["mounts"].append({"destination": "/secret", "type": "bind", "source": str(secret), "options": ["bind"]})
        for name in ("bounding", "effective", "permitted"):
            spec["process"]["capabilities"][name] = ["CAP_DAC_OVERRIDE", "CAP_CHOWN", "CAP_SYS_ADMIN"]

    done = bundle.run(
        "sh", "-c", "stat -c %u /secret; cat /secret; chown 0 /secret; hostname other && hostname", change=change
    )
    assert done.stdout.splitlines() == ["65534", "other"]
    assert "Permission denied" in done.stderr and "Operation not permitted" in done.stderr
