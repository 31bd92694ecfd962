# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A volume allows what the mount allows that it comes from, and no more: nosuid, nodev, noexec and ro stay."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.kernel.host.world import absent, containers_task, image_task


@pytest.fixture
def mounted(world):
    """Directories of the host, each a mount with flags of its own."""
    made = []

    def mount(name, flags):
        directory = world.directory / name
        directory.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", name, directory], check=True)
        made.append(directory)
        subprocess.run(["mount", "-o", f"remount,bind,{flags}", directory], check=True)
        return directory

    yield mount
    for directory in reversed(made):
        subprocess.run(["umount", directory], check=True)
        directory.rmdir()


def flags_inside(world, name):
    """Mount point to flags, as the container has them."""
    lines = Path(f"/proc/{world.containers()[name].pid}/mountinfo").read_text().splitlines()
    return {fields[4]: set(fields[5].split(",")) - {"relatime"} for fields in map(str.split, lines)}


@pytest.mark.parametrize("runtime", ["", "runc"])
def test_flags_of_the_hosts_mount_stay(world, mounted, runtime):
    home = mounted("home", "nosuid,noexec")
    (home / "below").mkdir()
    frozen = mounted("frozen", "ro,nosuid,nodev,noexec")
    plain = mounted("plain", "rw")
    volumes = [f"{home}/below:/home", f"{home}:/all:ro", f"{frozen}:/frozen", f"{plain}:/plain", f"{plain}:/read:ro"]
    wanted = image_task(), containers_task(web={"volumes": volumes, **({"runtime": runtime} if runtime else {})})
    world.run(*wanted)
    world.demand_sound(*wanted)
    found = flags_inside(world, "web")
    assert found["/home"] == {"rw", "nosuid", "nodev", "noexec"}
    assert found["/all"] == {"ro", "nosuid", "nodev", "noexec"}
    assert found["/frozen"] == {"ro", "nosuid", "nodev", "noexec"}
    assert found["/plain"] == {"rw", "nodev"}
    assert found["/read"] == {"ro", "nodev"}
    world.run(*absent(wanted))
