# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What this host's cgroups have, so that a test knows what can be had, and where to look for it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .box import Box

CGROUPS = Path("/sys/fs/cgroup")


def is_v2() -> bool:
    return (CGROUPS / "cgroup.controllers").exists()


def missing(controller: str, v1: str, v2: str = "") -> str:
    """Why the file of a controller cannot be had here; empty where it can. The files are those of a cgroup below."""
    if is_v2():
        if not v2:
            return f"{controller} is of cgroup v1, and this host has v2"
        if controller not in (CGROUPS / "cgroup.controllers").read_text().split():
            return f"it has no {controller} controller"
        return ""
    if not (CGROUPS / controller).is_mount():  # podman makes plain directories there
        return f"the {controller} hierarchy of cgroup v1 is not mounted"
    with a_cgroup(controller) as cgroup:
        return "" if (cgroup / v1).exists() else f"its {controller} controller has no {v1}"


@contextlib.contextmanager
def a_cgroup(controller: str) -> Iterator[Path]:
    """A new one in a hierarchy of v1: the root has not all the files of those below."""
    cgroup = CGROUPS / controller / f"stowage-test-probe-{os.getpid()}"
    cgroup.mkdir()
    try:
        yield cgroup
    finally:
        cgroup.rmdir()


def needs(controller: str, v1: str, v2: str, box: Box, *, wrong: str = "") -> bool:
    """Whether the file is there. Where it is not, the runtime has to refuse, and the item's note tells the reason."""
    reason = wrong or missing(controller, v1, v2)
    if not reason:
        return True
    try:
        box.refuse_to_run()
    except AssertionError:
        raise AssertionError(f"not on this kernel: {reason}; but it was not refused either") from None
    box.note = f"not on this kernel: {reason}; refused, as it should be"
    return False


def check(box: Box, controller: str, v1: tuple[str, str], v2: tuple[str, str] | None = None) -> None:
    """The container's cgroup has this in this file, or it cannot be had here and is refused."""
    if not needs(controller, v1[0], v2[0] if v2 else "", box):
        return
    box.create()
    name, wanted = v2 if v2 and is_v2() else v1
    found = box.cgroup(controller, name, name)
    assert found == wanted, f"{name}: {found!r}"


def a_block_device() -> tuple[int, int]:
    """Numbers of one of this machine's; no byte of it is touched. One that bfq schedules, where there is one."""
    found = sorted(Path("/sys/block").iterdir(), key=lambda path: (not is_weighed(path), path))
    if not found:
        pytest.skip("not on this machine: it has no block device")
    major, minor = (found[0] / "dev").read_text().strip().split(":")
    return int(major), int(minor)


def is_weighed(device: Path) -> bool:
    """Whether its scheduler knows weights of cgroups."""
    scheduler = device / "queue/scheduler"
    return scheduler.exists() and "[bfq]" in scheduler.read_text()


def no_real_time() -> str:
    """Why a new cgroup gets no real time: with CONFIG_RT_GROUP_SCHED it is shared out, and others may have it all."""
    reason = missing("cpu", "cpu.rt_runtime_us")
    if reason:
        return reason
    try:
        with a_cgroup("cpu") as cgroup:
            (cgroup / "cpu.rt_runtime_us").write_text("1000")
    except OSError:
        return "other cgroups have all of its real time"
    return ""
