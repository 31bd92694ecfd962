# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an image is asked for, as registries.conf says: at mirrors first, and not at all where that is blocked.

What mirrors give wrong is in test_registry_mirrors.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import RegistryError
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.pull import pull_image, resolve_remote
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.client import Registry as Client
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import Image
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.reference import parse_reference
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.registry import Access
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

from .faulty import FaultyRegistry, broken, hang_up, status
from .test_push import BASE, TOP, push, store_image
from .test_registry_tls import QUICK

pytestmark = pytest.mark.root


@pytest.fixture
def mirrored(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FaultyRegistry, FaultyRegistry]]:
    """A mirror, and what it is a mirror of."""
    with FaultyRegistry() as mirror, FaultyRegistry() as primary:
        (home / "registries.conf").write_text(
            f"""
            unqualified-search-registries = ["docker.io"]
            [[registry]]
            location = "{primary.host}"
            insecure = true
            [[registry.mirror]]
            location = "{mirror.host}/cache"
            insecure = true
            """
        )
        monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(home / "registries.conf"))
        yield mirror, primary


def test_a_mirror_is_asked_first(paths: Paths, mirrored: tuple[FaultyRegistry, FaultyRegistry]) -> None:
    mirror, primary = mirrored
    digest = mirror.put_image("1", BASE, repository="cache/app")
    assert pull_image(paths, Image(f"{primary.host}/app:1")).digest == digest
    assert primary.asked == []


@pytest.mark.parametrize("fault", [None, status(500), hang_up], ids=["has none", "fails", "is gone"])
def test_what_a_mirror_has_not_comes_from_the_registry(
    paths: Paths, mirrored: tuple[FaultyRegistry, FaultyRegistry], fault: object
) -> None:
    mirror, primary = mirrored
    digest = primary.put_image("1", BASE)
    if fault:
        for method in ("GET", "HEAD"):
            mirror.fault(method, "/", fault, times=99)
    assert pull_image(paths, Image(f"{primary.host}/app:1")).digest == digest
    with pytest.raises(
        RegistryError, match=f"registry {primary.host}: .*status 404.*before that, registry {mirror.host}"
    ):
        resolve_remote(paths, Image(f"{primary.host}/app:2"))


def test_a_blob_that_breaks_off_at_a_mirror_goes_on_at_the_registry(
    mirrored: tuple[FaultyRegistry, FaultyRegistry],
) -> None:
    mirror, primary = mirrored
    content = bytes(range(256)) * 1000
    digest = primary.put("app", "blobs", content)
    mirror.put("cache/app", "blobs", content)
    mirror.fault("GET", "blobs", broken(most=1000), times=2)
    mirror.fault("GET", "blobs", status(404), times=9)
    registry = Client(parse_reference("name", f"{primary.host}/app:1"), delays=QUICK)
    assert b"".join(registry.get_blob(digest, len(content))) == content
    assert [asked.headers.get("Range") for asked in primary.asked if "blobs" in asked.path] == ["bytes=2000-"]


def test_a_mirror_gets_neither_the_login_of_the_task_nor_what_is_pushed(
    paths: Paths, mirrored: tuple[FaultyRegistry, FaultyRegistry]
) -> None:
    mirror, primary = mirrored
    mirror.put_image("1", BASE, repository="cache/app")
    mirror.fault("HEAD", "manifests", status(401, WWW_Authenticate='Basic realm="x"'), times=9)
    access = Access("user", "pass-word", insecure=True)
    with pytest.raises(RegistryError, match="status 404"):
        resolve_remote(paths, Image(f"{primary.host}/app:1", access=access))
    assert mirror.asked and not any(asked.headers.get("Authorization") for asked in mirror.asked)
    mirror.asked.clear()
    name = f"{primary.host}/app:3"
    store_image(paths, name, TOP)
    push(paths, name, access=Access())
    assert mirror.asked == []


def test_a_blocked_registry_is_not_asked(
    paths: Paths, home: Path, mirrored: tuple[FaultyRegistry, FaultyRegistry]
) -> None:
    _mirror, primary = mirrored
    with (home / "registries.conf").open("a") as file:
        file.write(f'[[registry]]\nprefix = "{primary.host}/bad"\nblocked = true\n')
    with pytest.raises(RegistryError, match=f"registry {primary.host}: .*registries.conf says that .*/bad is blocked"):
        resolve_remote(paths, Image(f"{primary.host}/bad/app:1"))
    assert primary.asked == []
