"""The races of CVE-2021-30465 and CVE-2024-45310 many times over, with the operations themselves: no container between
two tries, so that a window of a microsecond would be met."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux import mount as m
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.mount import mount, observe_mounts, umount2
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.namespaces import CLONE_NEWNS, unshare
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.openat2 import Root
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.steps.mount_options import (
    parse_mount_options,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.steps.mounts import MountFilesystem
from tests.kernel.linux.forked import run_forked
from tests.kernel.runtime.bundles import swapping

TRIES = 500


@pytest.fixture
def raced():
    """A root with a volume in it, where ``swap`` is now a directory, now a link to ``victim`` on the host."""
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="stowage-test-", dir=parent) as top:
        directory = Path(top)
        for name in ("root/volume", "volume/swap/target", "victim/target", "evil"):
            (directory / name).mkdir(parents=True)
        (directory / "evil/planted").touch()
        (directory / "volume/link").symlink_to(directory / "victim")
        with swapping(directory / "volume/swap", directory / "volume/link", directory / "swaps"):
            yield directory


def enter(directory):
    """Mounts of its own, the volume in the root, and the root."""
    unshare(CLONE_NEWNS)
    mount("none", "/", flags=m.MS_REC | m.MS_PRIVATE)
    mount(str(directory / "root"), str(directory / "root"), flags=m.MS_BIND)
    mount(str(directory / "volume"), str(directory / "root/volume"), flags=m.MS_BIND)
    root = Root(str(directory / "root"))
    root.attach()
    return root


def mounts_below(directory):
    return [path for path in observe_mounts() if path.startswith(f"{directory}/")]


def test_cve_2021_30465_no_try_of_many_mounts_on_the_host(raced):
    def attack():
        root = enter(raced)
        before = mounts_below(raced)
        met = 0
        for _count in range(TRIES):
            options = parse_mount_options(["bind", "ro"])
            MountFilesystem(root, str(raced / "evil"), "/volume/swap/target", "", options).execute()
            if os.path.exists(raced / "victim/target/planted"):
                return "redirected"
            met += any(path.startswith(f"{raced}/root/volume/") for path in mounts_below(raced))
            while mounted := [path for path in mounts_below(raced) if path not in before]:
                with contextlib.suppress(OSError):  # it has the other name now
                    umount2(mounted[0], m.MNT_DETACH)
        return met

    met = run_forked(attack, timeout=60)
    assert met != "redirected"
    # The link leads inside the root, to a place that is made there: both outcomes were seen.
    assert 0 < met < TRIES


def test_cve_2024_45310_no_try_of_many_makes_a_directory_on_the_host(raced):
    def attack():
        root = enter(raced)
        for count in range(TRIES):
            with root.make(f"/volume/swap/one{count}/two"):
                pass
            with root.make(f"/volume/swap/three{count}/four", directory=False):
                pass
        return os.listdir(raced / "victim")

    assert run_forked(attack, timeout=60) == ["target"]
