# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The build cache, and what goes of it: as much as is said, and as check mode says it."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.cli.main import main
from ansible_collections.stowage.engine.plugins.module_utils._engine.host import Host
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.gc import remove_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.files import exclusive_lock
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.prune import Prune
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.prune import plan_prune
from tests.kernel.build.conftest import BASE, NAME
from tests.kernel.build.test_add import served, unchanging
from tests.kernel.build.test_bases import ACCESS, put_both
from tests.kernel.image.faulty import FaultyRegistry

HOUR = 3600.0
CACHING = BASE + "RUN --mount=type=cache,target=/c echo x > /c/x && echo 1 > /1\n"


def planned(workshop, prune):
    now = time.time()
    return list(plan_prune(prune, Host(workshop.paths).observe_prunable(prune, now), now))


def apply(workshop, changes):
    host = Host(workshop.paths)
    with host.locked():
        host.apply(changes)


def cached(workshop):
    """All files and directories of the build cache, two deep."""
    return {str(path.relative_to(workshop.paths.build_cache)) for path in Path(workshop.paths.build_cache).glob("*/*")}


def age(workshop, seconds):
    """Make all of the build cache older."""
    for path in Path(workshop.paths.build_cache).glob("*/*"):
        found = path.stat()
        os.utime(path, (found.st_atime - seconds, found.st_mtime - seconds))


def test_all_of_it_goes_and_what_it_alone_kept(workshop):
    with FaultyRegistry() as registry, served(unchanging) as (address, _asked):
        name = put_both(registry)
        text = CACHING + f"ADD {address}/f /f\nFROM --platform=linux/386 {name}\nCOPY --from=0 /1 /f /o/\n"
        digest = workshop.build(text, access=ACCESS)
        remove_image(workshop.paths, NAME)
        assert planned(workshop, Prune()) == []
        changes = planned(workshop, Prune(build_cache=True))
        assert [change.verb for change in changes] == ["prune", "sweep"]
        told = {kind: number for kind, number in changes[0].before.items() if kind not in ("bytes", "files")}
        assert told == {"bases": 1, "downloads": 2, "mounts": 1, "steps": 6}
        assert set(changes[1].garbage.blobs) == workshop.blobs()
        assert len(changes[1].garbage.layers) == len(os.listdir(workshop.paths.layers))
        assert planned(workshop, Prune(build_cache=True)) == changes, "to look changes nothing"
        apply(workshop, changes)
        assert (cached(workshop), workshop.blobs(), os.listdir(workshop.paths.layers)) == (set(), set(), [])
        assert planned(workshop, Prune(build_cache=True)) == []
        assert workshop.build(text, access=ACCESS) == digest


def test_an_image_keeps_what_it_is_made_of(workshop):
    workshop.build(CACHING)
    layers = workshop.layers()
    apply(workshop, planned(workshop, Prune(build_cache=True)))
    assert all(layer.is_dir() for layer in layers)
    assert workshop.read("/1") == "1\n"
    changes = planned(workshop, Prune(keep_last=0, build_cache=True))
    apply(workshop, changes)
    assert planned(workshop, Prune(keep_last=0, build_cache=True)) == []
    assert os.listdir(workshop.paths.layers) == []


def test_what_was_of_use_lately_stays(workshop):
    with served(unchanging) as (address, _asked):
        workshop.build(CACHING.replace("=/c", "=/o").replace("/c/", "/o/") + f"ADD {address}/unused /g\n")
        used = CACHING + f"ADD {address}/used /f\n"
        workshop.build(used)
        everything = cached(workshop)
        age(workshop, 2 * HOUR)
        workshop.build(used.replace("echo 1", "echo 2"))
        verbs = [change.verb for change in planned(workshop, Prune(build_cache=True, older_than=3 * HOUR))]
        assert verbs == ["sweep"], "of images that another build has replaced"
        apply(workshop, planned(workshop, Prune(build_cache=True, older_than=HOUR)))
        gone = sorted(name.partition("/")[0] for name in everything - cached(workshop))
        # A mount, the record of a download (both have one content), and RUN and ADD of the two builds.
        assert gone == ["downloads", "mounts", "steps", "steps", "steps", "steps"]
        assert set(workshop.outcomes(used.replace("echo 1", "echo 2"))) == {"cached"}


def test_a_build_is_waited_for_while_others_change_the_host(workshop):
    workshop.build(CACHING)
    changes = planned(workshop, Prune(build_cache=True))
    pruning = threading.Thread(target=apply, args=(workshop, changes))
    with exclusive_lock(workshop.paths.build_lock):
        pruning.start()
        time.sleep(0.3)
        assert cached(workshop), "a build is going on"
        other = threading.Thread(target=apply, args=(workshop, []), daemon=True)
        other.start()
        other.join(timeout=5)
        assert not other.is_alive(), "others have to wait"
    pruning.join(timeout=10)
    assert not pruning.is_alive() and not cached(workshop)


def test_by_hand(workshop, monkeypatch, capsys):
    for name, value in workshop.paths.environment().items():
        monkeypatch.setenv(name, value)
    workshop.build(CACHING)
    assert main(["stowage", "prune", "--build-cache", "--older-than", "1h"]) == 0
    assert capsys.readouterr().out == "nothing to do\n"
    assert main(["stowage", "prune", "--build-cache", "--keep-last", "0"]) == 0
    out = capsys.readouterr().out
    assert "prune build cache (" in out and f"remove image {NAME}" in out
    assert (cached(workshop), workshop.blobs()) == (set(), set())
    for words, told in (("--older-than soon", "older_than: 'soon' is not valid"), ("x", "names: ['x'] is not valid")):
        assert main(["stowage", "prune", *words.split()]) == 1
        assert told in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["steps", "bases"])
def test_what_a_crash_left_of_a_record_goes_too(workshop, kind):
    directory = Path(workshop.paths.build_cache, kind)
    directory.mkdir(parents=True)
    (directory / "x.json").write_text("{")
    apply(workshop, planned(workshop, Prune(build_cache=True)))
    assert not cached(workshop)
