# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Taking names away from registries: by tag where that is allowed, by digest where nothing else means it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import Conflict, RegistryError
from ansible_collections.stowage.engine.plugins.module_utils._engine.host import Host
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.registry import Access, RemoteImage
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths
from ansible_collections.stowage.engine.plugins.module_utils._engine.plan.push import plan_push

from .conftest import PASSWORD, Registry
from .test_push import BASE, INSECURE, push, store_image

pytestmark = pytest.mark.root


def withdraw(paths: Paths, name: str, access: Access = INSECURE) -> bool:
    """As the module does it; whether there was anything to do."""
    host = Host(paths)
    changes = list(plan_push(None, host.observe_pushed(RemoteImage(name, access=access))))
    host.apply(changes)
    return bool(changes)


def has(name: str) -> bool:
    return Host(Paths("/nonexistent", "/nonexistent")).observe_pushed(RemoteImage(name, access=INSECURE)) is not None


def test_a_tag_that_alone_means_an_image_goes_with_it(paths: Paths, registry: Registry) -> None:
    """docker-registry deletes manifests by digest alone."""
    name = f"{registry.host}/withdrawn/one:1"
    store_image(paths, name, BASE)
    push(paths, name)
    assert has(name)
    assert withdraw(paths, name)
    assert not has(name)
    assert not withdraw(paths, name)


def test_other_tags_of_the_same_image_are_not_taken_along_unasked(paths: Paths, registry: Registry) -> None:
    repository = f"{registry.host}/withdrawn/two"
    digest = store_image(paths, f"{repository}:1", BASE, author="two")
    push(paths, f"{repository}:1")
    push(paths, f"{repository}:2", f"{repository}:1")
    with pytest.raises(Conflict, match=f"other tags mean the same image: 2; name {repository}@{digest} to remove"):
        withdraw(paths, f"{repository}:1")
    assert has(f"{repository}:1") and has(f"{repository}:2")
    assert withdraw(paths, f"{repository}@{digest}")
    assert not has(f"{repository}:1") and not has(f"{repository}:2")


def test_a_registry_that_deletes_nothing_says_so(paths: Paths, tmp_path: Path) -> None:
    registry = Registry(tmp_path, deletion=False)
    try:
        name = f"{registry.host}/withdrawn/three:1"
        store_image(paths, name, BASE)
        push(paths, name)
        with pytest.raises(RegistryError, match="405"):
            withdraw(paths, name)
        assert has(name)
    finally:
        registry.close()


def test_a_login_may_be_needed(paths: Paths, locked_registry: Registry) -> None:
    name = f"{locked_registry.host}/withdrawn/four:1"
    access = Access(username="user", password=PASSWORD, insecure=True)
    store_image(paths, name, BASE)
    push(paths, name, access=access)
    with pytest.raises(RegistryError, match="it wants a login"):
        withdraw(paths, name)
    assert withdraw(paths, name, access)
    assert not withdraw(paths, name, access)
