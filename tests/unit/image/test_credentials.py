# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logins of docker and podman are found, the closest first; a damaged file never shows its secret."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import RegistryError
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.credentials import (
    Credentials,
    find_credentials,
)


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path


def write(path: Path, auths: dict[str, object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"auths": auths}))


def test_nothing_is_found_where_there_is_nothing(home: Path) -> None:
    assert find_credentials("quay.io", "a/b") is None


def test_the_longest_prefix_wins_and_docker_hub_has_its_own_key(home: Path) -> None:
    write(
        home / ".docker/config.json",
        {
            "quay.io": auth("all", "p:q"),
            "quay.io/team": auth("team", "s"),
            "https://index.docker.io/v1/": auth("hub", "h"),
        },
    )
    assert find_credentials("quay.io", "team/app") == Credentials("team", "s")
    assert find_credentials("quay.io", "teamwork/app") == Credentials("all", "p:q")
    assert find_credentials("docker.io", "library/nginx") == Credentials("hub", "h")
    assert find_credentials("evil.io", "team/app") is None


def test_podmans_file_comes_before_dockers(home: Path) -> None:
    write(home / ".docker/config.json", {"quay.io": auth("docker", "")})
    write(home / "run/containers/auth.json", {"quay.io": auth("podman", "")})
    assert find_credentials("quay.io", "x") == Credentials("podman", "")


def test_a_damaged_login_names_the_file_and_not_the_secret(home: Path) -> None:
    write(home / ".docker/config.json", {"quay.io": {"auth": "c2VjcmV0"}})
    with pytest.raises(RegistryError, match=r"config.json") as error:
        find_credentials("quay.io", "x")
    assert "c2VjcmV0" not in str(error.value) and "secret" not in str(error.value)


def test_a_file_that_is_no_json_is_told_and_none_at_all_is_fine(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", "/dev/null")
    assert find_credentials("quay.io", "x") is None
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(home / "auth.json"))
    (home / "auth.json").write_text("{secret")
    with pytest.raises(RegistryError, match=r"auth.json.*cannot be read") as error:
        find_credentials("quay.io", "x")
    assert "secret" not in str(error.value)
