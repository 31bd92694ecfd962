# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Device programs on the real kernel: opens that must pass and opens that must fail, on v2, and the same on v1.

A v2 tree takes programs whichever controllers it has, so a hybrid machine serves too.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
import resource
import signal
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.cgroup.devices import parse_devices
from ansible_collections.stowage.engine.plugins.module_utils._engine.cgroup.v2.devices import limit_devices
from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import (
    InvalidOption,
    KernelError,
    Unsupported,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux import bpf
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.capabilities import (
    NUMBERS,
    apply_sets,
    observe_capabilities,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.cgroupfs import (
    observe_hierarchies,
    remove_tree,
    write_value,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.mount import MS_PRIVATE, MS_REC, mount
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.namespaces import (
    CLONE_NEWNS,
    CLONE_NEWUSER,
    unshare,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.steps.devices import (
    NEEDED_RULES,
    LimitDevices,
    device_rules,
)
from tests.kernel.linux.forked import run_forked

UNIFIED = next((h.mount for h in observe_hierarchies() if h.version == 2), "")
V1_DEVICES = next((h.mount for h in observe_hierarchies() if "devices" in h.controllers), "")

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="loads BPF programs and makes device nodes"),
    pytest.mark.skipif(not UNIFIED, reason="no cgroup v2 is mounted"),
]

DENY_ALL = {"allow": False, "access": "rwm"}
DEFAULT = [DENY_ALL, *NEEDED_RULES]
SERIAL = itertools.count()


def make_cgroup(mounted: str) -> Iterator[str]:
    path = f"{mounted}/stowage-test-{os.getpid()}-{next(SERIAL)}"
    os.mkdir(path)
    try:
        yield path
    finally:
        assert remove_tree(path)


@pytest.fixture
def cgroup() -> Iterator[str]:
    yield from make_cgroup(UNIFIED)


@pytest.fixture
def cgroup_v1() -> Iterator[str]:
    if not V1_DEVICES:
        pytest.skip("this machine has no v1 hierarchy of devices to compare with")
    yield from make_cgroup(V1_DEVICES)


def disk() -> tuple[int, int]:
    """A block device that can be opened here without a program: not every kernel lets root have the disk it runs on."""
    for name in sorted(os.listdir("/sys/block")):
        major, minor = map(int, Path("/sys/block", name, "dev").read_text().split(":"))
        if os.path.exists(f"/dev/{name}") and outcome(os.open, f"/dev/{name}", os.O_RDONLY) == "ok":
            return major, minor
    pytest.skip("no block device of this machine can be opened")


def outcome(call: Any, *arguments: Any) -> str:
    try:
        result = call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    if isinstance(result, int):
        os.close(result)
    return "ok"


def in_cgroup(cgroup: str, tests: list[tuple[str, tuple[int, int], str]], directory: Path) -> dict[str, str]:
    """What becomes of each (kind, number, access) to a process in ``cgroup``: access r, w, rw or m.

    The nodes are in a tmpfs of its own mount namespace, and made beforehand, outside, save for m.
    """
    flags = {"r": os.O_RDONLY, "w": os.O_WRONLY, "rw": os.O_RDWR}
    kinds = {"b": stat.S_IFBLK, "c": stat.S_IFCHR}

    def child() -> dict[str, str]:
        unshare(CLONE_NEWNS)
        mount("none", "/", flags=MS_REC | MS_PRIVATE)
        mount("tmpfs", str(directory), "tmpfs")
        for index, (kind, number, access) in enumerate(tests):
            if access != "m":
                os.mknod(directory / str(index), kinds[kind] | 0o600, os.makedev(*number))
        write_value(f"{cgroup}/{'tasks' if cgroup.startswith(V1_DEVICES or '//') else 'cgroup.procs'}", "0")
        found = {}
        for index, (kind, number, access) in enumerate(tests):
            path = directory / str(index)
            if access == "m":
                result = outcome(os.mknod, path, kinds[kind] | 0o600, os.makedev(*number))
            else:
                result = outcome(os.open, path, flags[access] | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            found[f"{kind} {number[0]}:{number[1]} {access}"] = result
        return found

    answer: dict[str, str] = run_forked(child)
    return answer


def programs(cgroup: str) -> list[int]:
    fd = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return bpf.query_programs(fd, bpf.BPF_CGROUP_DEVICE)
    finally:
        os.close(fd)


def test_what_must_pass_and_what_must_fail(cgroup: str, tmp_path: Path) -> None:
    limit_devices(cgroup, DEFAULT)
    mine = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 2)]  # null, zero, full, random, urandom, ptmx
    passing = [("c", number, access) for number in mine for access in ("r", "w", "rw")]
    passing += [("c", (1, 1), "m"), ("b", disk(), "m"), ("b", (7, 0), "m")]
    failing = [("c", (1, 1), access) for access in ("r", "w", "rw")]  # mem
    failing += [("c", (1, 11), "r"), ("c", (10, 200), "rw")]  # kmsg, tun
    failing += [("b", disk(), access) for access in ("r", "w", "rw")]
    found = in_cgroup(cgroup, passing + failing, tmp_path)
    expected = {f"{k} {n[0]}:{n[1]} {a}": "ok" for k, n, a in passing}
    # A ptmx that has no directory `pts` beside it is let through, and then finds no devpts (devpts_mntget()).
    expected.update(dict.fromkeys((f"c 5:2 {access}" for access in ("r", "w", "rw")), "ENOENT"))
    assert found == {**expected, **{f"{k} {n[0]}:{n[1]} {a}": "EPERM" for k, n, a in failing}}


def test_the_terminal_of_the_process_passes(cgroup: str) -> None:
    """By the machine's own nodes: ptmx, its slave, and /dev/tty, which leads to that."""
    limit_devices(cgroup, DEFAULT)

    def child() -> str:
        write_value(f"{cgroup}/cgroup.procs", "0")
        os.setsid()
        _master, slave = os.openpty()
        name = os.ttyname(slave)
        os.close(os.open(name, os.O_RDWR))  # the first terminal that a session's leader opens is its own
        os.close(os.open("/dev/tty", os.O_RDWR))
        return outcome(os.open, "/dev/kmsg", os.O_RDONLY)

    assert run_forked(child) == "EPERM"


def test_without_a_program_the_same_opens_pass(cgroup: str, tmp_path: Path) -> None:
    """So it is the program that makes them fail; and where all is allowed there is none."""
    tests = [("b", disk(), "r"), ("c", (1, 11), "r"), ("b", disk(), "m")]
    assert set(in_cgroup(cgroup, tests, tmp_path).values()) == {"ok"}
    limit_devices(cgroup, DEFAULT)
    assert set(in_cgroup(cgroup, tests[:2], tmp_path).values()) == {"EPERM"}
    limit_devices(cgroup, device_rules({"resources": {"devices": [{"allow": True, "access": "rwm"}]}}))
    assert programs(cgroup) == []
    assert set(in_cgroup(cgroup, tests, tmp_path).values()) == {"ok"}


def test_reading_writing_and_making_are_told_apart(cgroup: str, tmp_path: Path) -> None:
    zero, full = (1, 5), (1, 7)
    rules = [
        DENY_ALL,
        {"allow": True, "type": "c", "major": 1, "minor": 5, "access": "r"},
        {"allow": True, "type": "c", "major": 1, "minor": 7, "access": "wm"},
    ]
    limit_devices(cgroup, rules)
    tests = [("c", number, access) for number in (zero, full) for access in ("r", "w", "rw", "m")]
    found = list(in_cgroup(cgroup, tests, tmp_path).values())
    assert found == ["ok", "EPERM", "EPERM", "EPERM", "EPERM", "ok", "EPERM", "ok"]


def test_new_rules_take_the_place_of_the_old(cgroup: str, tmp_path: Path) -> None:
    null, zero = ("c", (1, 3), "r"), ("c", (1, 5), "r")
    for minor, expected in ((3, ["ok", "EPERM"]), (5, ["EPERM", "ok"]), (3, ["ok", "EPERM"])):
        limit_devices(cgroup, [DENY_ALL, {"allow": True, "type": "c", "major": 1, "minor": minor}])
        assert len(programs(cgroup)) == 1
        assert list(in_cgroup(cgroup, [null, zero], tmp_path).values()) == expected


def test_what_a_killed_update_left_goes(cgroup: str) -> None:
    """Two programs: the new one was attached, the old one not yet taken away."""
    limit_devices(cgroup, DEFAULT)
    left = programs(cgroup)
    fd, program = os.open(cgroup, os.O_RDONLY), bpf.load_program(bpf.BPF_PROG_TYPE_CGROUP_DEVICE, ALWAYS_NO, "left")
    bpf.attach_program(fd, program, bpf.BPF_CGROUP_DEVICE)
    os.close(program)
    os.close(fd)
    assert len(programs(cgroup)) == 2
    limit_devices(cgroup, DEFAULT)
    assert len(programs(cgroup)) == 1
    assert not set(left) & set(programs(cgroup))


ALWAYS_NO = bpf.move(0, 0) + bpf.end()


def test_it_outlives_whoever_attached_it_and_holds_below(cgroup: str, tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            limit_devices(cgroup, DEFAULT)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert len(programs(cgroup)) == 1
    inner = f"{cgroup}/inner"
    os.mkdir(inner)
    limit_devices(inner, [{"allow": True}])  # cannot have more than the cgroup above
    assert set(in_cgroup(inner, [("b", disk(), "r")], tmp_path).values()) == {"EPERM"}


def test_the_real_v1_decides_the_same(cgroup: str, cgroup_v1: str, tmp_path: Path) -> None:
    choice = random.Random(3)
    numbers = [(1, 3), (1, 5), (1, 1), (7, 0)]
    tests = [("c", n, a) for n in numbers[:3] for a in ("r", "w", "rw", "m")]
    tests += [("b", (7, 0), access) for access in ("r", "m")]
    compared = 0
    while compared < 25:
        rules = [choice.choice([DENY_ALL, {"allow": True}])]
        for _rule in range(choice.randrange(1, 6)):
            kind = choice.choice("cccb")
            major = choice.choice([1, -1] if kind == "c" else [7, -1])
            minor = choice.choice([3, 5, 1, -1] if kind == "c" else [0, -1])
            access = choice.choice(["r", "w", "m", "rw", "wm", "rwm"])
            allow = choice.random() < 0.5
            rules.append({"allow": allow, "type": kind, "major": major, "minor": minor, "access": access})
        try:
            parse_devices(rules)
        except InvalidOption:
            continue
        limit_devices(cgroup, rules)
        LimitDevices([f"{cgroup_v1}/tasks"], "", rules).execute()
        assert in_cgroup(cgroup, tests, tmp_path) == in_cgroup(cgroup_v1, tests, tmp_path), rules
        compared += 1


def test_many_rules(cgroup: str, tmp_path: Path) -> None:
    """500 ranges are 3,500 instructions: within what every kernel takes."""
    rules = [{"allow": True, "type": "c", "major": 1000 + n, "minor": n, "access": "r"} for n in range(500)]
    limit_devices(cgroup, [*rules, {"allow": True, "type": "c", "major": 1, "minor": 3}])
    assert list(in_cgroup(cgroup, [("c", (1, 3), "rw"), ("c", (1, 5), "r")], tmp_path).values()) == ["ok", "EPERM"]


def test_without_capabilities_it_says_which(cgroup: str) -> None:
    needed = sum(1 << NUMBERS[name] for name in ("CAP_BPF", "CAP_SYS_ADMIN", "CAP_NET_ADMIN"))

    def child() -> str:
        mask = observe_capabilities()["permitted"] & ~needed
        apply_sets(mask, mask, 0, 0)
        before = resource.getrlimit(resource.RLIMIT_MEMLOCK)
        limit_devices(cgroup, [{"allow": True}])  # nothing to load: no error
        try:
            limit_devices(cgroup, DEFAULT)
        except Unsupported as error:
            assert resource.getrlimit(resource.RLIMIT_MEMLOCK) == before
            return str(error)
        return ""

    told = run_forked(child)
    assert cgroup in told and "CAP_BPF" in told and "CAP_SYS_ADMIN" in told
    assert programs(cgroup) == []


def test_root_of_a_user_namespace_needs_none(cgroup: str, tmp_path: Path) -> None:
    """It cannot attach one, and can open no device that it makes either."""

    def child() -> str:
        unshare(CLONE_NEWUSER | CLONE_NEWNS)
        limit_devices(cgroup, DEFAULT)
        return outcome(os.mknod, tmp_path / "disk", stat.S_IFBLK | 0o600, os.makedev(*disk()))

    assert run_forked(child) == "EPERM"


def test_a_cgroup_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=r"limiting the devices of a cgroup: .*/gone No such file"):
        limit_devices(f"{tmp_path}/gone", DEFAULT)


def test_a_directory_that_is_no_cgroup(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match=str(tmp_path)):
        limit_devices(str(tmp_path), DEFAULT)
