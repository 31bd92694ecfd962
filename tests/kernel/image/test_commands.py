# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`stowage`'s commands for images, against a real registry, as a person at a prompt has them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.cli.main import main
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.observe import observe_images
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.registry import Access
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths
from ansible_collections.stowage.engine.plugins.module_utils._engine.signing import ImageSigner

from .conftest import Registry, layer_of, member, run
from .faulty import FaultyRegistry
from .test_trust import KEY, OTHER

pytestmark = pytest.mark.root


class Prompt:
    """Runs commands; what the last one wrote is in ``out`` and ``err``."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *words: str) -> int:
        self._capsys.readouterr()
        status = main(["stowage", *words])
        self.out, self.err = self._capsys.readouterr()
        return status


@pytest.fixture
def stowage(paths: Paths, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Prompt:
    for name, value in paths.environment().items():
        monkeypatch.setenv(name, value)
    return Prompt(capsys)


@pytest.fixture(scope="module")
def base(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of two layers with a history, in the registry."""
    directory = tmp_path_factory.mktemp("commands")
    layout = str(directory / "layout")
    run("umoci", "init", "--layout", layout)
    run("umoci", "new", "--image", f"{layout}:x")
    for number, layer in enumerate((layer_of(member("one")), layer_of(member("two"), content=b"2" * 5000))):
        (directory / f"{number}.tar").write_bytes(layer)
        told = ["--history.created_by", f"COPY {number} /"]
        run("umoci", "raw", "add-layer", "--image", f"{layout}:x", *told, str(directory / f"{number}.tar"))
    told = ["--history.created_by", 'CMD ["sh"]']
    run("umoci", "config", "--image", f"{layout}:x", "--config.cmd", "sh", *told)
    run("skopeo", "copy", "--dest-tls-verify=false", f"oci:{layout}:x", f"docker://{registry.host}/hand/base:1")
    return f"{registry.host}/hand/base:1"


def test_pull_tag_push_and_rmi(stowage: Prompt, paths: Paths, registry: Registry, base: str) -> None:
    assert stowage("pull", "--insecure", base) == 0
    assert stowage.out.startswith(f"pull image {base} (digest: ")
    assert stowage("pull", "--insecure", base) == 0
    assert stowage.out == "nothing to do\n"
    assert stowage("images") == 0
    assert re.search(rf"^{base} +[0-9a-f]{{12}} +2 +[\d.]+ K?i?B", stowage.out, re.M)
    other = f"{registry.host}/hand/other:2"
    assert stowage("tag", base, other) == 0
    assert stowage("push", "--insecure", "--chunk-size", "64K", other) == 0
    assert stowage.out.startswith(f"push image {other}")
    assert stowage("push", "--insecure", other) == 0
    assert stowage.out == "nothing to do\n"
    theirs = run("skopeo", "inspect", "--tls-verify=false", "--format", "{{.Digest}}", f"docker://{other}").strip()
    assert observe_images(paths)[base].digest == theirs
    assert stowage("rmi", base, other) == 0
    assert observe_images(paths) == {}


def test_pull_asks_what_the_tag_means_and_restores_what_lacks_of_just_that(stowage: Prompt, paths: Paths) -> None:
    newer = layer_of(member("newer"))
    with FaultyRegistry() as registry:
        name, digest = f"{registry.host}/app:1", registry.put_image("1", layer_of(member("file")))
        assert stowage("pull", "--insecure", name) == 0
        [layer] = observe_images(paths)[name].layers
        shutil.rmtree(paths.layer(layer))
        registry.asked.clear()
        assert stowage("pull", "--insecure", name) == 0
        assert stowage.out == f"restore image {name} (missing_layers)\n"
        assert [(asked.method, asked.path) for asked in registry.asked] == [("HEAD", "/v2/app/manifests/1")]
        assert (observe_images(paths)[name].digest, observe_images(paths)[name].missing) == (digest, ())
        shutil.rmtree(paths.layer(layer))
        moved = registry.put_image("1", newer)
        assert stowage("pull", "--insecure", name) == 0
        assert stowage.out.startswith(f"pull image {name} (digest: {digest[7:19]} -> {moved[7:19]}")
        assert (observe_images(paths)[name].digest, observe_images(paths)[name].missing) == (moved, ())


def test_history_and_tree(stowage: Prompt, paths: Paths, base: str, tmp_path: Path) -> None:
    assert stowage("pull", "--insecure", base) == 0
    assert stowage("history", base) == 0
    lines = stowage.out.splitlines()
    assert [line.split("   ")[-1].strip() for line in lines] == ["BY", 'CMD ["sh"]', "COPY 1 /", "COPY 0 /"]
    layers = observe_images(paths)[base].layers
    assert [line.split()[0] for line in lines[1:]] == ["-", layers[1][7:19], layers[0][7:19]]
    (tmp_path / "Containerfile").write_text(f"FROM {base}\nCOPY Containerfile /\n")
    assert stowage("build", "-t", "more:1", str(tmp_path)) == 0
    assert stowage("tree") == 0
    rows = stowage.out.splitlines()[1:]
    assert [row.split()[0] for row in rows[:2]] == [layers[0][7:19], "└─"]
    assert rows[1].endswith(base) and rows[2].endswith("docker.io/library/more:1")
    assert rows[3] == "2 images, 3 layers"


def test_build_tells_its_steps_and_does_nothing_twice(stowage: Prompt, paths: Paths, base: str, tmp_path: Path) -> None:
    assert stowage("pull", "--insecure", base) == 0
    (tmp_path / "Containerfile").write_text(f"FROM {base}\nARG WHO=nobody\nLABEL who=$WHO\nCOPY Containerfile /c\n")
    (tmp_path / "token").write_text("s3cret")
    options = ("--build-arg", "WHO=me", "--label", "a=b", "--secret", f"id={tmp_path}/token", "--network", "none")
    build = ("build", "-t", "built:1", *options, str(tmp_path))
    assert stowage(*build) == 0
    assert "COPY" in stowage.err
    assert dict(observe_images(paths)["docker.io/library/built:1"].config.labels) == {"who": "me", "a": "b"}
    assert stowage(*build) == 0
    assert stowage.out.endswith("(unchanged)\n")
    (tmp_path / "Containerfile").write_text("FROM scratch\nNONSENSE\n")
    assert stowage(*build) == 1
    assert "Containerfile" in stowage.err and "2" in stowage.err and "NONSENSE" in stowage.err


def test_build_warns_takes_arguments_of_the_environment_and_a_platform(
    stowage: Prompt, paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHO", "ann")
    monkeypatch.delenv("NOBODY", raising=False)
    (tmp_path / "Containerfile").write_text("FROM scratch\nARG WHO=x\nARG NOBODY=none\nLABEL who=$WHO-$NOBODY\n")
    words = ("--build-arg", "WHO", "--build-arg", "NOBODY", "--build-arg", "MISSPELT=1", "--platform", "linux/386")
    assert stowage("build", "-t", "built:1", *words, str(tmp_path)) == 0
    assert "warning: args: no ARG declares MISSPELT, so it has no effect\n" in stowage.err
    image = observe_images(paths)["docker.io/library/built:1"]
    assert (image.platform, dict(image.config.labels)) == ("linux/386", {"who": "ann-none"})


WRONG_WORDS = {
    "verify --key /no/such x:1": "file '/no/such' is not on this host",
    "verify --key LATIN x:1": "a public key in PEM",
    "verify --key / x:1": "--key",
    "build -t x:1 --secret abc DIR": "--secret: 'abc' is not valid; expected ID=FILE",
    "build -t x:1 --build-arg =a DIR": "--build-arg: '=a' is not valid; expected NAME=VALUE",
    "build -t x:1 --platform a/b/c/d DIR": "--platform: 'a/b/c/d' is not valid",
    "pull --platform a/b/c/d 127.0.0.1:1/x:1": "--platform: 'a/b/c/d' is not valid",
    "push --chunk-size 1 x:1": "--chunk-size: '1' is not valid",
    "push --chunk-size big x:1": "--chunk-size: 'big' is not valid",
}


@pytest.mark.parametrize("words", WRONG_WORDS)
def test_wrong_words_are_one_line(stowage: Prompt, tmp_path: Path, words: str) -> None:
    (tmp_path / "latin").write_bytes(b"\xe9")
    (tmp_path / "Containerfile").write_text("FROM scratch\n")
    assert stowage(*words.replace("LATIN", str(tmp_path / "latin")).replace("DIR", str(tmp_path)).split()) == 1
    assert stowage.err.count("\n") == 1
    assert WRONG_WORDS[words] in stowage.err


@pytest.mark.parametrize("form", ["oci-archive", "docker-archive"])
def test_save_and_load(stowage: Prompt, paths: Paths, base: str, tmp_path: Path, form: str) -> None:
    assert stowage("pull", "--insecure", base) == 0
    layers = observe_images(paths)[base].layers
    archive = str(tmp_path / "archive.tar")
    assert stowage("save", "-o", archive, "--format", form, base) == 0
    assert stowage("save", "-o", archive, "--format", form, base) == 0
    assert stowage.out == "nothing to do\n"
    assert json.loads(run("skopeo", "inspect", f"{form}:{archive}"))["Layers"]
    assert stowage("rmi", base) == 0
    assert stowage("load", "-i", archive) == 0
    assert observe_images(paths)[base].layers == layers
    assert stowage("load", "-i", archive) == 0
    assert stowage.out == "nothing to do\n"


def test_verify(stowage: Prompt, base: str, tmp_path: Path) -> None:
    for name, key in (("key", KEY), ("other", OTHER)):
        (tmp_path / name).write_text(key.public)
    assert stowage("verify", "--insecure", "--key", str(tmp_path / "key"), base) == 1
    assert "it is not signed" in stowage.err
    signer = ImageSigner(base, Access(insecure=True), KEY.pem, "")
    signer.sign({})
    assert stowage("verify", "--insecure", "--key", str(tmp_path / "key"), base) == 0
    assert stowage.out == f"{base} is signed by a key of those: {signer.wanted.digest}\n"
    assert stowage("verify", "--insecure", "--key", str(tmp_path / "other"), base) == 1
    assert "none of its 1 signatures" in stowage.err


def test_fsck_repairs_layers_out_of_blobs_and_blobs_out_of_registries(stowage: Prompt, paths: Paths, base: str) -> None:
    assert stowage("pull", "--insecure", base) == 0
    assert stowage("fsck") == 0
    assert stowage.out == "all is as it should be\n"
    image = observe_images(paths)[base]
    Path(paths.layer(image.layers[0]), "one").write_text("tampered")
    assert stowage("fsck") == 1
    assert "'one' has another content" in stowage.out or "'one' has another time" in stowage.out
    assert stowage("fsck", "--repair") == 0
    assert stowage.out.endswith("1 of 1 repaired\n")
    assert stowage("fsck") == 0
    manifest = json.loads(Path(paths.images, "blobs", *image.digest.split(":")).read_bytes())
    Path(paths.images, "blobs", *manifest["layers"][1]["digest"].split(":")).write_bytes(b"tampered")
    assert stowage("fsck", "--repair") == 1  # that registry speaks plain HTTP, and nobody said that it may
    assert "0 of 1 repaired; remove what the others are part of, and build, load or pull it" in stowage.out
    assert stowage("fsck", "--repair", "--insecure") == 0
    assert stowage.out.endswith("1 of 1 repaired\n")
    assert stowage("fsck") == 0
    assert observe_images(paths) == {base: image}


@pytest.mark.parametrize("words", [["push"], ["tag", "--", "x:1"], ["rmi"], ["history"], ["save", "-o", "/x"]])
def test_an_image_that_is_not_there_is_one_line(stowage: Prompt, words: list[str]) -> None:
    words = [words[0], "nowhere:1", *words[2:]] if words[0] == "tag" else [*words, "nowhere:1"]
    assert stowage(*words) == 1
    assert stowage.err == "stowage: image 'docker.io/library/nowhere:1' is not on this host; see: stowage images\n"
