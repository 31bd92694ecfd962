# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Archives that others packed once more: by tar, by any program that compresses, whole or layer by layer."""

from __future__ import annotations

import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidImage
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.archive.load import load_images, resolve_load
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.archive.save import (
    observe_archive,
    save_images,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.observe import observe_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import Store
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.archive import DOCKER_ARCHIVE, OCI_ARCHIVE
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .conftest import SHOP_LAYERS, SHOP_NAMES, digest_of, overlay_tree, run
from .test_archive import archive_of

pytestmark = pytest.mark.root


def test_pax_names_and_links_inside_an_archive(filled: Paths, tmp_path: Path) -> None:
    """What tar itself makes of a layout: directories, ./ in front, a layer as a symbolic link to another place."""
    save_images(filled, archive_of(tmp_path / "out.tar", DOCKER_ARCHIVE, SHOP_NAMES[0]))
    with tarfile.open(tmp_path / "out.tar") as archive:
        archive.extractall(tmp_path / "x")
    manifest = json.loads((tmp_path / "x/manifest.json").read_bytes())
    layer = manifest[0]["Layers"][0]
    (tmp_path / "x/deep").mkdir()
    (tmp_path / "x/deep/layer.tar").symlink_to(f"../{layer}")
    manifest[0]["Layers"][0] = "deep/layer.tar"
    (tmp_path / "x/manifest.json").write_text(json.dumps(manifest))
    run("tar", "--create", "--zstd", "--file", str(tmp_path / "again"), "--directory", str(tmp_path / "x"), ".")
    other = Paths(str(tmp_path / "other"), str(tmp_path / "run2"))
    load_images(other, str(tmp_path / "again"))
    assert observe_images(other)[SHOP_NAMES[0]].layers == tuple(map(digest_of, SHOP_LAYERS[:2]))


PACKERS = {"gzip": "gzip", "bzip2": "bzip2", "xz": "xz", "zstd": "zstd -q"}


@pytest.mark.parametrize("form", [OCI_ARCHIVE, DOCKER_ARCHIVE])
@pytest.mark.parametrize("packing", PACKERS)
def test_an_archive_packed_by_any_program_is_loaded(filled: Paths, tmp_path: Path, form: str, packing: str) -> None:
    """As docker load has it; in one stream, or in several as their parallel kin write them."""
    wanted = archive_of(tmp_path / "out.tar", form)
    save_images(filled, wanted)
    content = Path(wanted.path).read_bytes()
    (tmp_path / "first").write_bytes(content[:70_000])
    (tmp_path / "rest").write_bytes(content[70_000:])
    for number, source in enumerate(("cat out.tar | {}", "(cat first | {0}; cat rest | {0})")):
        packed = tmp_path / f"packed{number}"
        command = source.format(f"{PACKERS[packing]} -c")
        subprocess.run(["sh", "-c", f"{command} >{packed}"], cwd=tmp_path, check=True, timeout=60)
        other = Paths(str(tmp_path / f"other{number}"), str(tmp_path / "run2"))
        assert sorted(image.name for image in load_images(other, str(packed))) == sorted(SHOP_NAMES)
        assert {n: i.layers for n, i in observe_images(other).items()} == {
            n: i.layers for n, i in observe_images(filled).items()
        }
        assert (observe_archive(str(packed)) or wanted).compression == packing
        for bad in (packed.read_bytes()[:-200], packed.read_bytes()[:300] + b"x" * 3000):
            (tmp_path / "bad").write_bytes(bad)
            with pytest.raises(InvalidImage, match="bad"):
                load_images(other, str(tmp_path / "bad"))


@pytest.mark.parametrize("compress", ["gzip -c", "zstd -qc"])
def test_a_docker_archive_with_compressed_layers(filled: Paths, tmp_path: Path, compress: str) -> None:
    """docker compresses none, others do (containers/image reads both): the same image, with smaller blobs."""
    save_images(filled, archive_of(tmp_path / "out.tar", DOCKER_ARCHIVE))
    with tarfile.open(tmp_path / "out.tar") as archive:
        archive.extractall(tmp_path / "x")
    for layer in (tmp_path / "x").glob("*.tar"):
        layer.write_bytes(subprocess.run(compress.split(), input=layer.read_bytes(), stdout=-1, check=True).stdout)
    run("tar", "--create", "--file", str(tmp_path / "again.tar"), "--directory", str(tmp_path / "x"), ".")
    other = Paths(str(tmp_path / "other"), str(tmp_path / "run2"))
    assert sorted(resolve_load(other, str(tmp_path / "again.tar"))) == sorted(SHOP_NAMES)
    load_images(other, str(tmp_path / "again.tar"))
    for name in SHOP_NAMES:
        layers = observe_images(filled)[name].layers
        assert observe_images(other)[name].layers == layers
        assert overlay_tree(other, layers, tmp_path) == overlay_tree(filled, layers, tmp_path)
        config = json.loads(run("skopeo", "inspect", "--config", f"docker-archive:{tmp_path / 'again.tar'}:{name}"))
        assert config["rootfs"]["diff_ids"] == list(layers)
        run("skopeo", "copy", f"docker-archive:{tmp_path / 'again.tar'}:{name}", f"oci:{tmp_path / 'theirs'}:x")
    kind = compress.partition(" ")[0]
    manifest, _config = Store(other.images).read_image(Store(other.images).names()[SHOP_NAMES[0]], SHOP_NAMES[0])
    assert all(blob.media_type.endswith(f"+{kind}") for blob in manifest.layers)
    # It goes out as docker has it.
    save_images(other, archive_of(tmp_path / "back.tar", DOCKER_ARCHIVE))
    assert (tmp_path / "back.tar").read_bytes() == (tmp_path / "out.tar").read_bytes()
