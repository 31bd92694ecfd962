# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image is repaired under a container that runs on it: the container goes on with the files that it has."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.image.gc import sweep
from tests.kernel.host.world import IMAGE, containers_task, image_task


@pytest.mark.parametrize("userns", ["keep", "auto"])
def test_who_runs_on_a_layer_goes_on(world, userns):
    more = {"userns": userns}
    world.directory.chmod(0o711)
    image, web = image_task(**{"/etc/conf": "as it was"}), containers_task(web=more)
    world.run(image, web)
    before = world.containers()["web"]
    [layer] = [path for path in Path(world.paths.layers).iterdir() if (path / "etc/conf").exists()]
    root = Path(f"/proc/{before.pid}/root")
    assert (root / "etc/conf").read_text() == "as it was"

    (layer / "etc/conf").write_text("tampered")
    verified = ("image", {**image[1], "verify": True})
    told = world.told(verified)
    assert told and [str(change) for change in world.run(verified)] == told
    assert world.run(verified) == []
    assert (layer / "etc/conf").read_text() == "as it was"
    assert world.containers()["web"].pid == before.pid
    assert (root / "bin/sh").exists() and (root / "bin/busybox").stat().st_size > 0 and os.listdir(root / "etc")

    both = containers_task(web=more, late=more)
    world.run(both)
    world.demand_sound(both)
    assert world.containers()["web"].pid == before.pid, "the repair was taken for drift"
    late = Path(f"/proc/{world.containers()['late'].pid}/root")
    assert (late / "etc/conf").read_text() == "as it was"

    world.call(sweep, world.paths)
    assert (root / "bin/busybox").stat().st_size > 0
    world.run(containers_task(web=None))
    world.call(sweep, world.paths)
    assert len(os.listdir(world.paths.layers)) == 2 and (late / "etc/conf").read_text() == "as it was"
    world.run(containers_task(late=None), ("image", {"name": IMAGE, "state": "absent"}))
    world.demand_nothing_left()
