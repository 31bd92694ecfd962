# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A recipe's digest depends on its inputs alone, is known without writing, and bad input names its option."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import (
    EngineError,
    InvalidOption,
    InvalidReference,
    NotFound,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.build.members import write_tar
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.build.recipe import resolve_recipe
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.build.sources import layer_members
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.build.view import View
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import (
    Entry,
    Image,
    ImageConfig,
    LayerSource,
    Recipe,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

NO_CONFIG = ImageConfig()


def image(*layers: LayerSource, name: str = "quickstart:1", base: str = "", config: ImageConfig = NO_CONFIG) -> Image:
    return Image(name=name, recipe=Recipe(base=base, layers=layers, config=config))


def no_paths(tmp_path: Path) -> Paths:
    return Paths(str(tmp_path / "lib"), str(tmp_path / "run"))


def archive(layer: LayerSource, view: View | None = None) -> tarfile.TarFile:
    content = b"".join(write_tar(layer_members("layers[0]", layer, view or View())))
    return tarfile.open(fileobj=io.BytesIO(content))


def test_resolving_writes_nothing_and_repeats(tmp_path: Path) -> None:
    paths = no_paths(tmp_path)
    entries = LayerSource(entries=(Entry("etc/motd", content=b"hi\n"), Entry("bin/sh", target="busybox")))
    first = resolve_recipe(paths, image(entries))
    assert first == resolve_recipe(paths, image(entries))
    assert first.name == "docker.io/library/quickstart:1"
    assert not os.listdir(tmp_path)


def test_the_digest_of_a_known_recipe_never_changes(tmp_path: Path) -> None:
    """Bit for bit, across hosts and versions: who changes this changes every assembled image of every user."""
    layer = LayerSource(
        entries=(Entry("etc/motd", content=b"hi\n"), Entry("a/b", target="../c"), Entry("d", mode=0o1777))
    )
    found = resolve_recipe(no_paths(tmp_path), image(layer))
    assert found.layers == ("sha256:7af371931ac18b3a743c5c61f79288bf54b7225131d5a85c2623dd251f9f5c03",)


@pytest.mark.parametrize(
    "other",
    [
        Entry("etc/motd", content=b"ho\n"),
        Entry("etc/motd", content=b"hi\n", mode=0o600),
        Entry("etc/motd", content=b"hi\n", uid=1),
        Entry("etc/issue", content=b"hi\n"),
    ],
)
def test_every_input_is_in_the_digest(tmp_path: Path, other: Entry) -> None:
    paths = no_paths(tmp_path)
    one = resolve_recipe(paths, image(LayerSource(entries=(Entry("etc/motd", content=b"hi\n"),))))
    assert one.digest != resolve_recipe(paths, image(LayerSource(entries=(other,)))).digest


def test_times_and_creation_order_of_a_directory_are_not_in_the_digest(tmp_path: Path) -> None:
    digests = set()
    for number, names in enumerate((["a", "b", "c"], ["c", "a", "b"])):
        source = tmp_path / str(number)
        (source / "d").mkdir(parents=True)
        for name in names:
            (source / "d" / name).write_text(name)
            os.utime(source / "d" / name, (number, number))
        digests.add(resolve_recipe(no_paths(tmp_path), image(LayerSource(path=str(source), dest="/srv"))).digest)
    assert len(digests) == 1


def test_source_date_epoch_is_the_time_of_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    layer = LayerSource(entries=(Entry("a/b", content=b""),))
    with archive(layer) as tar:
        assert {member.mtime for member in tar} == {1700000000}
    assert resolve_recipe(no_paths(tmp_path), image(layer)).created == "2023-11-14T22:13:20Z"


def test_a_directory_goes_to_dest_with_its_owners_modes_and_hard_links(tmp_path: Path) -> None:
    source = tmp_path / "src"
    source.mkdir(mode=0o700)
    (source / "one").write_text("x")
    (source / "one").chmod(0o4755)
    os.link(source / "one", source / "two")
    (source / "link").symlink_to("one")
    with archive(LayerSource(path=str(source), dest="/opt/app")) as tar:
        found = {member.name: member for member in tar}
    assert list(found) == ["opt", "opt/app", "opt/app/link", "opt/app/one", "opt/app/two"]
    assert found["opt/app"].mode == 0o755  # dest is a place in the image: the host's directory says nothing of it
    assert found["opt/app/one"].mode == 0o4755
    assert (found["opt/app/two"].type, found["opt/app/two"].linkname) == (tarfile.LNKTYPE, "opt/app/one")


@pytest.mark.parametrize(("dest", "name"), [("/bin/sh", "bin/sh"), ("/bin/", "bin/file")])
def test_a_single_file_is_placed_at_dest(tmp_path: Path, dest: str, name: str) -> None:
    (tmp_path / "file").write_bytes(b"content")
    with archive(LayerSource(path=str(tmp_path / "file"), dest=dest, entries=(Entry("bin/ls", target="sh"),))) as tar:
        assert name in tar.getnames() and "bin/ls" in tar.getnames()


def test_parents_keep_what_lower_layers_say_of_them(tmp_path: Path) -> None:
    """A layer with /tmp/x must not make /tmp 0755, and one with /bin/x must not hide that /bin is a link."""
    lower = tmp_path / "lower"
    (lower / "usr" / "bin").mkdir(parents=True)
    (lower / "tmp").mkdir()
    (lower / "tmp").chmod(0o1777)
    (lower / "bin").symlink_to("usr/bin")
    layer = LayerSource(entries=(Entry("tmp/x", content=b""), Entry("bin/x", content=b"")))
    with archive(layer, View([str(lower)])) as tar:
        found = {member.name: member for member in tar}
    assert list(found) == ["tmp", "tmp/x", "usr", "usr/bin", "usr/bin/x"]
    assert found["tmp"].mode == 0o1777


def test_lower_links_never_lead_out_of_the_layers(tmp_path: Path) -> None:
    (tmp_path / "lower").mkdir()
    (tmp_path / "lower" / "out").symlink_to("../../../../etc")
    with archive(LayerSource(entries=(Entry("out/x", content=b""),)), View([str(tmp_path / "lower")])) as tar:
        assert tar.getnames() == ["etc", "etc/x"]
        assert tar.getmember("etc").mode == 0o755


@pytest.mark.parametrize(
    ("layer", "option"),
    [
        (LayerSource(entries=(Entry("../x", content=b""),)), r"layers\[0\].entries\[0\].path"),
        (LayerSource(entries=(Entry("", content=b""),)), r"layers\[0\].entries\[0\].path"),
        (LayerSource(entries=(Entry("a\0b", content=b""),)), r"layers\[0\].entries\[0\].path"),
        (LayerSource(entries=(Entry("a/" + "b" * 300, content=b""),)), r"layers\[0\].entries\[0\].path"),
        (LayerSource(entries=(Entry("a/.wh.b", content=b""),)), r"layers\[0\].entries\[0\].path"),
        (LayerSource(entries=(Entry("a", content=b"", target="b"),)), r"layers\[0\].entries\[0\]"),
        (LayerSource(entries=(Entry("a", target=""),)), r"layers\[0\].entries\[0\].target"),
        (LayerSource(entries=(Entry("a", content=b"", mode=0o10000),)), r"layers\[0\].entries\[0\]"),
        (LayerSource(entries=(Entry("a", content=b"", uid=-1),)), r"layers\[0\].entries\[0\]"),
        (LayerSource(entries=(Entry("a", content=b""), Entry("a/b", content=b""))), r"layers\[0\]"),
        (LayerSource(path="/nonexistent/x"), r"layers\[0\].path"),
        (LayerSource(path="/dev/null", dest="/x"), r"layers\[0\].path"),
        (LayerSource(path="/etc", dest="/../x"), r"layers\[0\].dest"),
        (LayerSource(path="/etc/hostname"), r"layers\[0\].path"),
    ],
)
def test_bad_layers_name_their_option(tmp_path: Path, layer: LayerSource, option: str) -> None:
    with pytest.raises(InvalidOption, match=option + ":"):
        resolve_recipe(no_paths(tmp_path), image(layer))


def test_bad_names_and_bases(tmp_path: Path) -> None:
    with pytest.raises(InvalidReference, match=r"name:"):
        resolve_recipe(no_paths(tmp_path), image(name="../x"))
    with pytest.raises(InvalidReference, match=r"base:"):
        resolve_recipe(no_paths(tmp_path), image(base="UPPER"))
    with pytest.raises(NotFound, match=r"docker.io/library/base:1.*before"):
        resolve_recipe(no_paths(tmp_path), image(base="base:1"))


def test_a_directory_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(EngineError, match=r"layers\[0\].path"):
        resolve_recipe(no_paths(tmp_path), image(LayerSource(path=str(tmp_path / "loop"))))
