# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container has changed becomes an image: only that, the same each time, and the container goes on."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.committing import commit_container
from ansible_collections.stowage.engine.plugins.module_utils._engine.host import Host
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import Store
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.commit import Commit
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import ImageConfig
from ansible_collections.stowage.engine.plugins.module_utils._engine.shim.bundle import read_definition
from tests.kernel.host.world import containers_task, image_task
from tests.kernel.network.conftest import Failed
from tests.waiting import wait_for

NAME = "docker.io/library/committed:1"
CHANGES = (
    "mkdir -p /srv/www /var/empty; echo hello >/srv/www/index.html; chmod 4711 /srv/www/index.html;"
    "ln /srv/www/index.html /srv/www/again; ln -s ../../etc /srv/www/etc; rm /etc/gone; rm -r /old; mkdir /old;"
    "echo new >/old/new; echo kept >/kept; mkfifo /srv/pipe"
)
# More words than busybox's own names: the image has few links.
SETUP = f"for a in mkdir echo chmod ln rm mkfifo touch; do $b ln -s busybox /bin/$a; done; {CHANGES}"


def base_task():
    files = {"/etc/gone": "x", "/etc/stays": "x", "/old/file": "x", "/kept": "old"}
    return image_task(**files)


def run_in(world, name, script):
    """Run a script of the container's shell; its exit code."""
    return world.call(
        lambda: Host(world.paths).exec_process(name, ["/bin/sh", "-c", f"b=/bin/busybox; {script}"], env={})
    )


def commit(world, container="one", name=NAME, **more):
    return world.call(_commit, world.paths, Commit(name, container, **more))


def _commit(paths, wanted):
    host = Host(paths)
    return commit_container(paths, host.cgroups, wanted)


def forecast(world, container="one", name=NAME, **more):
    return world.call(lambda: Host(world.paths).forecast_commit(Commit(name, container, **more)))


def document(world, name=NAME):
    store = Store(world.paths.images)
    return store.read_image(store.names()[name], name)[1]


def top(world, name=NAME):
    return Path(world.paths.layer(document(world, name)["rootfs"]["diff_ids"][-1]))


def mounts(world):
    return {"volumes": [f"{world.directory}/volume:/mnt/deep/volume"], "tmpfs": ["/scratch"]}


@pytest.fixture
def changed(world):
    """A host with a container that has changed its root."""
    world.directory.chmod(0o711)  # for root of a user namespace
    (world.directory / "volume").mkdir()
    world.run(base_task(), containers_task(one=mounts(world)))
    assert run_in(world, "one", SETUP + "; echo v >/mnt/deep/volume/file; echo t >/scratch/file") == 0
    return world


def test_a_commit_has_what_was_changed_and_nothing_else(changed):
    image = commit(changed)
    layer = top(changed)
    found = {str(path.relative_to(layer)) for path in layer.rglob("*")}
    assert found == {
        "bin", *(f"bin/{name}" for name in ("mkdir", "echo", "chmod", "ln", "rm", "mkfifo", "touch")),
        "etc", "etc/gone", "kept", "old", "old/new", "srv", "srv/pipe", "srv/www", "srv/www/again",
        "srv/www/etc", "srv/www/index.html", "var", "var/empty",
    }  # fmt: skip
    page = layer / "srv/www/index.html"
    assert page.read_text() == "hello\n"
    assert page.stat().st_mode & 0o7777 == 0o4711
    assert page.stat().st_ino == (layer / "srv/www/again").stat().st_ino
    assert page.stat().st_mtime == 0
    assert os.readlink(layer / "srv/www/etc") == "../../etc"
    assert (layer / "etc/gone").is_char_device()
    assert (
        image.layers[:-1]
        == changed.call(lambda: Host(changed.paths).observe_images())["docker.io/library/world:1"].layers
    )


def test_a_container_of_the_image_is_as_the_one_before(changed):
    commit(changed, config=ImageConfig(env=(("PAGE", "/srv/www/index.html"),)))
    changed.run(containers_task(two={"image": "committed:1"}))
    script = "[ $(cat $PAGE) = hello ] && ! ls /etc/gone && ! ls /old/file && ls /old/new && [ $(cat /kept) = kept ]"
    assert run_in(changed, "two", f"{script} && ! ls /scratch/file /mnt/deep") == 0


def test_the_digest_is_known_before_and_the_same_each_time(changed):
    expected = forecast(changed)
    assert expected == commit(changed)
    before = expected.digest
    assert commit(changed, name="docker.io/library/other:1").digest == before
    assert run_in(changed, "one", "touch /kept; echo hello >/srv/www/index.html") == 0
    assert forecast(changed).digest == before, "times and what was written again as it was are no change"
    assert run_in(changed, "one", "echo more >>/kept") == 0
    assert forecast(changed).digest != before


def test_times_are_no_later_than_asked(changed):
    assert run_in(changed, "one", "touch -d '2001-09-09 01:46:40' /kept") == 0
    commit(changed, epoch=1_500_000_000)
    assert top(changed).joinpath("kept").stat().st_mtime == 1_000_000_000
    assert top(changed).joinpath("old/new").stat().st_mtime == 1_500_000_000
    assert document(changed)["created"] == "2017-07-14T02:40:00Z"


def test_the_configuration_goes_over_the_base(changed):
    config = ImageConfig(command=("serve",), labels=(("a", "b"),), exposed_ports=("80/tcp",), user="nobody")
    commit(changed, config=config, comment="by hand")
    found = document(changed)
    assert found["config"]["Cmd"] == ["serve"]
    assert found["config"]["Labels"] == {"a": "b"}
    assert found["config"]["User"] == "nobody"
    assert found["history"][-1]["comment"] == "by hand"
    assert "empty_layer" not in found["history"][-1]
    assert len([step for step in found["history"] if not step.get("empty_layer")]) == len(found["rootfs"]["diff_ids"])


def test_a_container_that_changed_nothing_gives_no_layer(world):
    world.run(base_task(), containers_task(one={"tmpfs": ["/a/b"]}))
    image = commit(world)
    found = document(world)
    assert image.layers == world.call(lambda: Host(world.paths).observe_images())["docker.io/library/world:1"].layers
    assert found["history"][-1]["empty_layer"] is True


def test_a_stopped_container_can_be_committed(changed):
    before = forecast(changed).digest
    changed.run(containers_task(one={"state": "stopped", **mounts(changed)}))
    assert commit(changed).digest == before


def test_a_container_with_ids_of_its_own_gives_the_same_image(changed):
    world = changed
    before = forecast(world).digest
    ids = ["0:100000:65536"]
    world.run(containers_task(mapped={"userns": "map", "uidmap": ids, **mounts(world)}))
    assert run_in(world, "mapped", SETUP) == 0
    assert forecast(world, "mapped").digest == before


def test_a_container_is_paused_meanwhile_and_goes_on(changed):
    """Also when whoever commits is killed while it is paused."""
    path = read_definition(changed.paths, "one").cgroups_path

    def freeze_and_wait():
        host = Host(changed.paths)
        members = host.cgroups.freeze

        def freeze(cgroups_path, frozen):
            members(cgroups_path, frozen)
            if frozen:
                time.sleep(60)

        host.cgroups.freeze = freeze
        commit_container(changed.paths, host.cgroups, Commit(NAME, "one"))

    def frozen():
        return changed.call(lambda: Host(changed.paths).cgroups.is_frozen(path))

    pid = changed.start(freeze_and_wait)
    wait_for(frozen)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not frozen())
    commit(changed)
    assert not frozen()
    assert run_in(changed, "one", "true") == 0


def test_without_a_container_there_is_nothing_to_commit(world):
    world.run(base_task())
    with pytest.raises(Failed, match=r"container.*nowhere"):
        forecast(world, "nowhere")
