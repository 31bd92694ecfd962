# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Options of registries, pushes and tags: what they come to, and how what cannot be is refused, without a secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns.image import ImageNoun
from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidOption
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import Image
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.registry import Access, RemoteImage
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.change import plain
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.push import PushImage
from tests.unit.nouns.module_parameters import MODULES, validate, wanted

NAME = "registry.example.com/shop/web:1"
SECRET = "s3cret-word"


def test_nothing_said_is_what_the_host_has() -> None:
    assert wanted("image", name=NAME) == Image(NAME)
    assert wanted("image_push", name=NAME) == RemoteImage(NAME, images=(NAME,))


def test_everything_said(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    options = {
        "username": "ci",
        "password": SECRET,
        "insecure": True,
        "proxy": f"ci:{SECRET}@proxy:3128",
        "timeout": 5,
        **dict.fromkeys(("auth_file", "ca_cert", "client_cert", "client_key"), str(file)),
    }
    access = Access(
        "ci",
        SECRET,
        str(file),
        True,
        str(file),
        str(file),
        str(file),
        f"http://ci:{SECRET}@proxy:3128",
        5,
    )
    assert wanted("image", name=NAME, platform="aarch64", **options) == Image(
        NAME, platform="linux/arm64", access=access
    )
    pushed = wanted("image_push", name=NAME, images=["web:1", "web:2"], chunk_size="8M", **options)
    assert pushed == RemoteImage(
        NAME, images=("docker.io/library/web:1", "docker.io/library/web:2"), chunk_size=8 << 20, access=access
    )


def test_no_secret_is_told() -> None:
    access = Access("ci", SECRET, proxy=f"http://ci:{SECRET}@proxy:1")
    for told in (
        repr(Image(NAME, access=access)),
        json.dumps(plain(Image(NAME, access=access))),
        json.dumps(ImageNoun().tell(Image(NAME, access=access))),
        json.dumps(PushImage(RemoteImage(NAME, "sha256:aa", (NAME,), access=access), None).describe()),
        repr(PushImage(RemoteImage(NAME, "sha256:aa", (NAME,), access=access), None)),
    ):
        assert SECRET not in told
    for module in ("image", "image_push"):
        spec = MODULES[module][0]
        assert [name for name in spec if spec[name].get("no_log")] == ["password", "proxy"]


BAD: list[tuple[str, dict[str, Any], str, str]] = [
    ("image", {"username": "ci"}, "password", "a value, since username is given"),
    ("image", {"password": SECRET}, "username", "a value, since password is given"),
    ("image", {"username": "a:b", "password": SECRET}, "username", "a name without ':'"),
    ("image", {"client_key": __file__}, "client_cert", "a value, since client_key is given"),
    *(
        ("image", {option: path}, option, "the absolute path of a file")
        for option in ("auth_file", "ca_cert", "client_cert", "client_key")
        for path in ("relative.pem", "/nonexistent", "/etc")
    ),
    *(
        ("image", {"proxy": proxy}, "proxy", r"http://\[user:password@\]host:port")
        for proxy in (f"socks5://u:{SECRET}@h:1", f"https://u:{SECRET}@h", f"http://u:{SECRET}@h:x", "http://")
    ),
    ("image", {"timeout": 0}, "timeout", "1 or more"),
    ("image", {"platform": "a b"}, "platform", "os/architecture"),
    ("image", {"platform": ""}, "platform", "os/architecture"),
    ("image", {"platform": "arm64", "layers": []}, "platform", "has the platform of its base"),
    ("image_push", {"name": "a@sha256:" + "0" * 64}, "name", "a name with a tag"),
    ("image_push", {"images": []}, "images", "images of this host, each once"),
    ("image_push", {"images": ["web:1", "docker.io/library/web:1"]}, "images", "each once"),
    ("image_push", {"images": ["a b"]}, r"images\[0\]", "lower case"),
    ("image_push", {"chunk_size": "1K"}, "chunk_size", "at least 65536 bytes"),
    ("image_push", {"chunk_size": "lots"}, "chunk_size", "a size such as 64M"),
    ("image_tag", {"repository": ["a@sha256:" + "0" * 64]}, r"repository\[0\]", "not with a digest"),
    ("image_tag", {"repository": ["ok", "a b"]}, r"repository\[1\]", "lower case"),
    ("image_tag", {"name": "a b", "repository": ["ok"]}, "name", "lower case"),
]


@pytest.mark.parametrize(("module", "options", "option", "expected"), BAD)
def test_what_cannot_be(module: str, options: dict[str, Any], option: str, expected: str) -> None:
    with pytest.raises(InvalidOption, match=f"^{option}: .* is not valid; expected .*{expected}") as error:
        wanted(module, **{"name": NAME, **options})
    assert SECRET not in str(error.value)


def test_tags() -> None:
    parameters, complaints = validate("image_tag", {"name": "web:1", "repository": ["web", NAME]})
    assert not complaints
    assert MODULES["image_tag"][2](parameters) == {
        "docker.io/library/web:latest": Image("docker.io/library/web:latest"),
        NAME: Image(NAME),
    }
