# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole journeys: an image of a peer is brought here, run, and brought back; one of ours there, and back.

What it has when it comes home is what it had: files with owners, modes, attributes and links, what was removed, what it
was configured with, its history. Layers are uncompressed (buildah), in gzip (docker, umoci) and in zstd (podman,
skopeo).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.building import build_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.archive.load import load_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.archive.save import save_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.observe import observe_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.pull import pull_image
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.push import push_image, resolve_push
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.store import Store
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.archive import DOCKER_ARCHIVE, Archive
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.build import Build
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import Image
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.registry import Access, RemoteImage
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths
from ansible_collections.stowage.engine.plugins.module_utils._engine.shim.logs import read_logs
from tests.kernel.host.world import World, open_world

from .conftest import Registry, Tree, overlay_tree
from .daemons import Containerd, Docker
from .peers import REGISTRY, ULIMITS, Buildah, Peer, Podman, Umoci
from .sample import CAPABILITY, CONFIG, GREETING, LABEL, LONG, context, settings

pytestmark = pytest.mark.root

INSECURE = Access(insecure=True, timeout=20)
PEERS: dict[str, type[Peer]] = {
    "buildah": Buildah,
    "podman": Podman,
    "umoci": Umoci,
    "docker": Docker,
    "containerd": Containerd,
}
CASES = [(name, form) for name, kind in PEERS.items() for form in kind.forms]
OURS = "example.com/ours/app:1"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """A host of ours: a store, and an engine that runs containers."""
    with open_world() as world:
        yield world


@pytest.fixture(scope="module")
def peers() -> Iterator[Callable[[str], Peer]]:
    """Each peer from when it is first wanted until the end, for a daemon takes its time to start."""
    started: dict[str, Peer] = {}
    with contextlib.ExitStack() as stack:

        def find(name: str) -> Peer:
            if name not in started:
                # podman takes no longer name than 50 characters for its run root.
                directory = Path(tempfile.mkdtemp(prefix=f"stowage-{name}-", dir="/dev/shm"))
                started[name] = PEERS[name](directory)
                stack.callback(started[name].close)
            return started[name]

        yield find


@pytest.fixture
def peer(request: pytest.FixtureRequest, peers: Callable[[str], Peer]) -> Peer:
    missing = [program for program in PEERS[request.param].programs if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    return peers(request.param)


class Kept(NamedTuple):
    """An image as its maker had it, and where it has put it: by form, the place and the name there."""

    config: bytes
    tree: Tree
    report: str
    places: dict[str, tuple[str, str]]


def name_of(peer: Peer) -> str:
    return type(peer).__name__.lower()


def place_of(directory: Path, registry: Registry, form: str, what: str) -> tuple[str, str]:
    if form == REGISTRY:
        name = f"{registry.host}/{what}/app:1"
        return name, name
    return str(directory / f"{what.replace('/', '-')}-{form}.tar"), f"example.com/{what}/{form}:1"


@pytest.fixture(scope="module")
def given() -> dict[Peer, Kept]:
    """What peers have made."""
    return {}


@pytest.fixture
def theirs(peer: Peer, given: dict[Peer, Kept], registry: Registry) -> Kept:
    """An image that the peer has made, given away in every form, and has no more."""
    if peer not in given:
        image = peer.make()
        places = {form: place_of(peer.directory, registry, form, name_of(peer)) for form in peer.forms}
        for form, (place, name) in places.items():
            peer.put(image, form, place, name)
        given[peer] = Kept(peer.config(image), peer.tree(image), peer.run(image), places)
        peer.forget()
    return given[peer]


@pytest.fixture(scope="module")
def ours(world: World) -> Kept:
    """An image that was built here, out of the Containerfile that podman and docker build, too."""
    build_image(world.paths, Build(OURS, context=context(world.directory / "context")), lambda _line: None)
    kept = Kept(config_of(world.paths, OURS), tree_here(world, OURS), run_here(world, OURS), {})
    layers = observe_images(world.paths)[OURS].layers
    assert len(layers) == len(set(layers)) + 1
    demand_configured(kept.config)
    demand_as_made(kept.tree, Peer.keeps)
    demand_said(kept.report)
    return kept


# What we do -------------------------------------------------------------------------------------------------


def take_here(paths: Paths, form: str, place: str, name: str) -> None:
    if form == REGISTRY:
        pull_image(paths, Image(name, access=INSECURE))
    else:
        assert [image.name for image in load_images(paths, place, [name])] == [name]


def put_here(paths: Paths, image: str, form: str, place: str) -> None:
    if form == REGISTRY:
        push_image(paths, resolve_push(paths, RemoteImage(place, images=(image,), access=INSECURE)))
    else:
        save_images(paths, Archive(place, form, "none", ((image, ""),)))


def config_of(paths: Paths, name: str) -> bytes:
    store = Store(paths.images)
    manifest, _config = store.read_image(store.names()[name], name)
    return store.read_blob(manifest.config)


def tree_here(world: World, name: str, paths: Paths | None = None) -> Tree:
    paths = paths or world.paths
    return overlay_tree(paths, observe_images(paths)[name].layers, world.directory)


def run_here(world: World, name: str) -> str:
    """What a container of the image says: it goes on, as our containers do, until it is taken away."""
    container = {"name": "of-a-peer", "image": name, "env": {"LINGER": "3600"}, "stop_signal": "KILL"}
    world.run(("containers", {"containers": [container]}))
    log = os.path.join(world.paths.container("of-a-peer"), "log")
    end = time.monotonic() + 10
    lines: list[str] = []
    while lines[-1:] != ["new"] and time.monotonic() < end:
        time.sleep(0.02)
        lines = [line.text for line in read_logs(log)]
    world.run(("containers", {"containers": [{"name": "of-a-peer", "state": "absent"}]}))
    return "\n".join(lines)


# What is demanded -------------------------------------------------------------------------------------------


def demand_as_made(tree: Tree, attributes: tuple[str, ...]) -> None:
    """The files that the image is made of, whatever its way."""
    found = {path: (told[0], *told[1:3]) for path, told in tree.items()}
    assert found["data/owned"] == ("0o100640", 1000, 1001)
    assert found["data/suid"] == ("0o104755", 0, 0)
    assert found["data/shared"] == ("0o42775", 0, 1001)
    assert found["tmp"] == ("0o41777", 0, 0)
    assert found["data/changed"] == ("0o104711", 0, 0)
    assert found["data/made"] == found["data/made-too"] == ("0o100644", 1000, 1001)
    assert found["data/elsewhere"] == ("0o100644", 1000, 1001)
    assert found["data/null"][0] == "0o20666" and found["data/pipe"][0] == "0o10600"
    assert found[f"data/{LONG}"][0] == "0o100444" and "data/with space, ünï" in found
    assert found["var/lib/deep"] == ("0o40750", 0, 0)
    assert not {"removed", "gone", "data/moved", "opaque/old", "opaque/deep"} & tree.keys()
    assert "opaque/new" in tree and tree["data/link"][3] == "made"
    for one, two in (("data/one", "data/two"), ("data/made", "data/made-too")):
        assert tree[one][3] == tree[two][3], "hard links are one file"
    wanted = {"security.capability": CAPABILITY, "user.stowage": b"of an image"}
    assert dict(tree["data/attributes"][4]) == {name: wanted[name] for name in attributes}


def demand_configured(config: bytes) -> None:
    found = settings(config)
    assert {key: found[key] for key in CONFIG} == CONFIG
    assert (found["greeting"], found["label"]) == ([f"GREETING={GREETING}"], LABEL[1])


def demand_said(report: str) -> None:
    lines = report.splitlines()
    assert lines[:3] == ["arguments 2 first second one", "user 1000:1001 1001 2000", f"place /data {GREETING}"]
    assert "owned 81a0 1000 1001 1 0:0" in lines and "null 21b6 0 0 1 1:3" in lines
    assert "one 81a4 0 0 2 0:0" in lines and "made-too 81a4 1000 1001 2 0:0" in lines
    assert lines[-1] == "new"


# The journeys -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("peer", "form"), [case for case in CASES if case[0] != "containerd"], indirect=["peer"])
def test_what_a_peer_makes_runs_here_and_comes_home(
    peer: Peer, form: str, theirs: Kept, world: World, registry: Registry
) -> None:
    place, name = theirs.places[form]
    take_here(world.paths, form, place, name)
    config = config_of(world.paths, name)
    demand_configured(config)
    assert settings(config) == settings(theirs.config)
    tree = tree_here(world, name)
    demand_as_made(tree, peer.keeps)
    assert tree == theirs.tree
    report = run_here(world, name)
    demand_said(report)
    assert report == theirs.report

    back = peer.forms[peer.forms.index(form) - 1]  # another one: layers in zstd become a docker-archive's plain ones
    place, told = place_of(peer.directory, registry, back, f"home/{name_of(peer)}")
    put_here(world.paths, name, back, place)
    image = peer.take(back, place, told if back == REGISTRY else name)
    try:
        found = peer.config(image)
        assert settings(found) == settings(theirs.config)
        assert found == config or back in peer.spelled_anew
        assert peer.tree(image) == theirs.tree
        assert peer.run(image) == theirs.report
    finally:
        peer.forget()


@pytest.mark.parametrize(("peer", "form"), CASES, indirect=["peer"])
def test_what_we_make_runs_there_and_comes_home(
    peer: Peer, form: str, ours: Kept, world: World, registry: Registry, tmp_path: Path
) -> None:
    what = f"ours/{name_of(peer)}"
    place, name = place_of(tmp_path, registry, form, what)
    put_here(world.paths, OURS, form, place)
    image = peer.take(form, place, name if form == REGISTRY else OURS)
    try:
        found = peer.config(image)
        assert settings(found) == settings(ours.config)
        assert found == ours.config or form in peer.spelled_anew
        assert peer.tree(image) == ours.tree
        assert peer.run(image) == ours.report
        place, name = place_of(tmp_path, registry, form, f"{what}/home")
        peer.put(image, form, place, name)
    finally:
        peer.forget()
    home = Paths(str(tmp_path / "home"), str(tmp_path / "home-run"))
    take_here(home, form, place, name)
    assert settings(config_of(home, name)) == settings(ours.config)
    assert tree_here(world, name, home) == ours.tree


@pytest.mark.parametrize("peer", ["docker"], indirect=True)
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_docker_loads_and_saves_several_images_at_once(
    peer: Peer, compression: str, ours: Kept, world: World, tmp_path: Path
) -> None:
    """They share layers: docker save has links in the second's place."""
    assert isinstance(peer, Docker)
    (tmp_path / "Containerfile").write_text(f"FROM {OURS}\nENV MORE=1\n")
    other = "example.com/ours/other:2"
    build_image(world.paths, Build(other, context=str(tmp_path)), lambda _line: None)
    place = str(tmp_path / "images")
    save_images(world.paths, Archive(place, DOCKER_ARCHIVE, compression, ((OURS, ""), (other, ""))))
    peer.take(DOCKER_ARCHIVE, place, OURS)
    try:
        for name in (OURS, other):
            assert peer.config(name) == config_of(world.paths, name)
        peer("save", "--output", f"{place}-home", OURS, other)
    finally:
        peer.forget()
    home = Paths(str(tmp_path / "home"), str(tmp_path / "home-run"))
    assert {image.name for image in load_images(home, f"{place}-home")} == {OURS, other}
    for name in (OURS, other):
        assert config_of(home, name) == config_of(world.paths, name)


def commit(podman: Podman, image: str, context: str) -> str:
    """A container that has removed and added something becomes an image."""
    words = ["--network", "none", "--cgroup-parent", podman.parent, *ULIMITS, "--user", "root"]
    changes = "rm /data/one; rm -r /opaque; mkdir /opaque; chmod 700 /data"
    podman("run", "--name", "changed", *words, "--entrypoint", "/bin/sh", image, "-c", changes)
    podman("commit", "--quiet", "changed", "localhost/shaped:1")
    return "localhost/shaped:1"


def squash(podman: Podman, image: str, context: str) -> str:
    podman(
        "build", "--quiet", "--squash-all", "--isolation", "chroot", *ULIMITS, "--tag", "localhost/shaped:1", context
    )
    return "localhost/shaped:1"


SHAPES = {"committed": commit, "in-one-layer": squash}


@pytest.mark.parametrize("peer", ["podman"], indirect=True)
@pytest.mark.parametrize("shape", SHAPES)
def test_images_of_podman_in_other_shapes(
    peer: Peer, shape: str, theirs: Kept, world: World, registry: Registry, tmp_path: Path
) -> None:
    """From the registry in zstd:chunked, where a table follows each layer's content; back to podman in an archive."""
    assert isinstance(peer, Podman)
    name = f"{registry.host}/shapes/{shape}:1"
    try:
        made = peer.take(DOCKER_ARCHIVE, *theirs.places[DOCKER_ARCHIVE])
        image = SHAPES[shape](peer, made, context(tmp_path / "context"))
        tree, config = peer.tree(image), peer.config(image)
        words = ["--tls-verify=false", "--format", "oci", "--compression-format", "zstd:chunked"]
        peer("push", "--quiet", *words, image, name)
    finally:
        peer.forget()
    take_here(world.paths, REGISTRY, name, name)
    assert tree_here(world, name) == tree
    assert settings(config_of(world.paths, name)) == settings(config)
    put_here(world.paths, name, DOCKER_ARCHIVE, str(tmp_path / "back.tar"))
    try:
        assert peer.tree(peer.take(DOCKER_ARCHIVE, str(tmp_path / "back.tar"), name)) == tree
    finally:
        peer.forget()
