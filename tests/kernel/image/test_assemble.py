# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images assembled on the host: skopeo and umoci read them, the kernel mounts them, a kill at any point is healed."""

from __future__ import annotations

import gzip
import json
import mmap
import os
import signal
import sys
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import EngineError, KernelError, NotFound
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.build.recipe import (
    assemble_image,
    resolve_recipe,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.gc import (
    observe_garbage,
    remove_image,
    sweep,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.observe import observe_image, observe_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import Store
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.libc import check, libc
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.mount import MS_PRIVATE, MS_REC, mount
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import (
    Entry,
    Image,
    ImageConfig,
    LayerSource,
    Recipe,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.prune import Garbage
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .conftest import CLONE_NEWNS, Tree, in_child, layer_of, member, overlay_tree, run, tree_of

pytestmark = pytest.mark.root
NAME = "docker.io/library/quickstart:1"


def base_image() -> Image:
    applets = run("/bin/busybox", "--list").split()
    links = tuple(Entry(f"/bin/{applet}", target="busybox") for applet in applets if applet != "busybox")
    entries = (Entry("tmp", mode=0o1777), Entry("etc/passwd", content=b"root:x:0:0:root:/:/bin/sh\n"))
    layers = (LayerSource(path="/bin/busybox", dest="/bin/busybox", entries=links), LayerSource(entries=entries))
    return Image(name="docker.io/library/base:1", recipe=Recipe(layers=layers))


def quickstart(directory: Path) -> Image:
    site = directory / "site"
    (site / "sub").mkdir(parents=True, exist_ok=True)
    (site / "index.html").write_text("hello\n")
    (site / "sub" / "page").write_text("page\n")
    archive = directory / "extra.tar.gz"
    archive.write_bytes(
        gzip.compress(layer_of(member("etc/extra"), member(".wh.tmp"), member("opt/x", mode=0o755)), mtime=0)
    )
    layers = (
        LayerSource(path=str(site), dest="/srv/www"),
        LayerSource(path=str(archive)),
        LayerSource(entries=(Entry("etc/motd", content=b"hi\n", mode=0o600, uid=5, gid=6),)),
    )
    config = ImageConfig(command=("httpd", "-f"), env=(("A", "b"),), labels=(("who", "me"),), exposed_ports=("80/tcp",))
    return Image(name=NAME, recipe=Recipe(base="base:1", layers=layers, config=config))


@pytest.fixture
def assembled(paths: Paths, tmp_path: Path) -> Image:
    assemble_image(paths, base_image())
    return assemble_image(paths, quickstart(tmp_path))


def test_what_is_assembled_is_what_was_resolved_and_is_observed(paths: Paths, tmp_path: Path, assembled: Image) -> None:
    assert resolve_recipe(paths, quickstart(tmp_path)) == assembled
    found = observe_images(paths)
    assert set(found) == {"docker.io/library/base:1", NAME}
    assert (found[NAME].digest, found[NAME].layers, found[NAME].missing) == (assembled.digest, assembled.layers, ())
    assert (found[NAME].size, found[NAME].config) == (assembled.size, assembled.config)
    assert found[NAME].config.command == ("httpd", "-f")
    assert len(assembled.layers) == 5


def test_two_stores_give_the_same_digest(tmp_path: Path, assembled: Image) -> None:
    other = Paths(str(tmp_path / "other"), str(tmp_path / "other-run"))
    assemble_image(other, base_image())
    assert assemble_image(other, quickstart(tmp_path)).digest == assembled.digest


def test_skopeo_and_umoci_read_what_we_write(paths: Paths, tmp_path: Path, assembled: Image) -> None:
    seen = json.loads(run("skopeo", "inspect", f"oci:{paths.images}:{NAME}"))
    assert (seen["Digest"], seen["Env"], seen["Labels"]) == (assembled.digest, ["A=b"], {"who": "me"})
    assert NAME in run("umoci", "ls", "--layout", paths.images).split()
    run("umoci", "unpack", "--image", f"{paths.images}:{NAME}", str(tmp_path / "bundle"))
    ours = overlay_tree(paths, assembled.layers, tmp_path)
    assert ours == tree_of(tmp_path / "bundle" / "rootfs")
    assert "tmp" not in ours and ours["etc/motd"][1:3] == (5, 6)
    spec = json.loads((tmp_path / "bundle" / "config.json").read_text())
    assert spec["process"]["args"] == ["httpd", "-f"]


def test_an_image_that_lost_a_layer_or_blob_says_so_and_is_made_whole(
    paths: Paths, tmp_path: Path, assembled: Image
) -> None:
    run("rm", "-r", paths.layer(assembled.layers[0]), paths.layer(assembled.layers[3]))
    os.unlink(Store(paths.images).blob_path(assembled.layers[2]))
    found = observe_images(paths)[NAME]
    assert found.missing == (assembled.layers[0], assembled.layers[2], assembled.layers[3])
    assemble_image(paths, base_image())
    assemble_image(paths, quickstart(tmp_path))
    assert observe_images(paths)[NAME].missing == ()


@pytest.mark.parametrize("damage", [b"", b"{}"])
def test_an_image_with_a_damaged_manifest_is_none_and_is_made_anew(
    paths: Paths, tmp_path: Path, assembled: Image, damage: bytes
) -> None:
    Path(Store(paths.images).blob_path(assembled.digest)).write_bytes(damage)
    assert NAME not in observe_images(paths)
    assemble_image(paths, quickstart(tmp_path))
    assert NAME in observe_images(paths)


def test_a_missing_base_changes_nothing(paths: Paths, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"base:1"):
        assemble_image(paths, quickstart(tmp_path))
    assert observe_images(paths) == {} and Store(paths.images).blobs() == []


def test_removing_keeps_what_others_and_containers_use(paths: Paths, tmp_path: Path, assembled: Image) -> None:
    own = observe_garbage(paths, without="quickstart:1")
    assert set(own.layers) == set(assembled.layers[2:]) and assembled.digest in own.blobs
    assert observe_garbage(paths) == Garbage()
    container = Path(paths.container("web"))
    container.mkdir(parents=True)
    (container / "container.json").write_text(
        json.dumps({"container": {"name": "web", "image": NAME, "image_digest": assembled.digest}})
    )
    assert observe_garbage(paths, without="quickstart:1") == Garbage()
    assert remove_image(paths, "quickstart:1") == Garbage()
    assert set(observe_images(paths)) == {"docker.io/library/base:1"}
    assert observe_image(paths, "sha256:" + "0" * 64) is None
    kept = observe_image(paths, assembled.digest)
    assert kept is not None and (kept.layers, kept.missing) == (assembled.layers, ())
    assert all(os.path.isdir(paths.layer(layer)) for layer in assembled.layers)
    (container / "container.json").unlink()
    assert sweep(paths) == own
    assert not any(os.path.isdir(paths.layer(layer)) for layer in assembled.layers[2:])
    assert observe_images(paths)["docker.io/library/base:1"].missing == ()
    remove_image(paths, "base:1")
    remove_image(paths, "base:1")
    assert (Store(paths.images).blobs(), os.listdir(paths.layers)) == ([], [])


def test_a_damaged_container_definition_stops_the_sweep(paths: Paths, assembled: Image) -> None:
    container = Path(paths.container("web"))
    container.mkdir(parents=True)
    (container / "container.json").write_text("{")
    with pytest.raises(EngineError, match=r"container.json"):
        remove_image(paths, "quickstart:1")
    assert NAME in observe_images(paths)


def test_a_full_disk_is_told_and_leaves_nothing_half_stored(paths: Paths) -> None:
    def fill() -> Tree:
        check(libc().unshare(CLONE_NEWNS))
        mount("none", "/", "", MS_REC | MS_PRIVATE)
        os.makedirs(paths.root)
        mount("tmpfs", paths.root, "tmpfs", 0, "size=3m")  # enough for the blobs, not for the layers
        assemble_image(
            paths, Image(name="small", recipe=Recipe(layers=(LayerSource(entries=(Entry("a", content=b""),)),)))
        )
        with pytest.raises(KernelError, match=r"No space left on device"):
            assemble_image(paths, base_image())
        assert leftovers(paths) == []
        assert set(observe_images(paths)) == {"docker.io/library/small:latest"}
        sweep(paths)
        return {}

    assert in_child(fill) == {}


def run_killed(paths: Paths, image: Image, at: int, *, remove: bool = False) -> int:
    """Assemble in a child that is killed at its at-th file operation, those of its workers among them; how many there
    were if it was not killed."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        child = os.getpid()
        count = memoryview(mmap.mmap(-1, 8)).cast("q")

        def hook(event: str, _arguments: tuple[object, ...]) -> None:
            if event == "open" or event.startswith(("os.", "shutil.")):
                count[0] += 1
                if count[0] == at:
                    os.kill(child, signal.SIGKILL)

        sys.addaudithook(hook)
        status = 1
        try:
            remove_image(paths, image.name) if remove else assemble_image(paths, image)
            os.write(writer, str(count[0]).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as result:
        count = int(result.read() or 0)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status) == (not count)
    return count


def leftovers(paths: Paths) -> list[str]:
    partial = os.path.join(paths.images, ".partial")
    return [name for name in os.listdir(paths.layers) if name.endswith(".partial")] + os.listdir(partial)


def test_a_kill_at_any_file_operation_is_healed_by_the_next_run(tmp_path: Path) -> None:
    image = Image(
        name=NAME,
        recipe=Recipe(
            layers=(
                LayerSource(entries=(Entry("a/b", content=b"1"), Entry("c", target="a"))),
                LayerSource(entries=(Entry("d", content=b"2"),)),
            )
        ),
    )
    fresh = Paths(str(tmp_path / "whole"), str(tmp_path / "run"))
    total = run_killed(fresh, image, 0)
    wanted = observe_images(fresh)[NAME]
    assert total > 50
    for at in range(1, total + 1):
        paths = Paths(str(tmp_path / str(at)), str(tmp_path / "run"))
        if run_killed(paths, image, at):  # the workers' operations come in another order each time
            assert at > total - 20
            break
        found = observe_images(paths).get(NAME)
        assert found in (None, wanted), at
        assemble_image(paths, image)
        assert observe_images(paths) == {NAME: wanted}, at
        assert leftovers(paths) == [] and observe_garbage(paths) == Garbage(), at
    again = Paths(str(tmp_path / "whole"), str(tmp_path / "run"))
    for at in range(1, total + 1):
        assemble_image(again, image)
        if run_killed(again, image, at, remove=True):
            break
        found = observe_images(again).get(NAME)
        assert found in (None, wanted), at
        remove_image(again, NAME)
        assert (Store(again.images).blobs(), os.listdir(again.layers)) == ([], []), at
    else:
        raise AssertionError("a removal was never done")
