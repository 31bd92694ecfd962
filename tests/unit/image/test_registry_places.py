# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a request goes: mirrors and locations of registries.conf, proxies of the environment; and what a login says."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import RegistryError
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.endpoint import retry_after
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.login import (
    Challenge,
    merge_scopes,
    parse_challenges,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.mirrors import (
    Place,
    find_places,
    find_push_place,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.registry.proxies import (
    Proxy,
    find_proxy,
    parse_proxy,
)

CONF = """
[[registry]]
prefix = "example.com/foo"
location = "internal.example.net/bar"

[[registry]]
prefix = "example.com"
mirror-by-digest-only = true
[[registry.mirror]]
location = "mirror.example.net"

[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "hub.example.net:5000/proxy"
insecure = true
[[registry.mirror]]
location = "tags.example.net"
pull-from-mirror = "tag-only"

[[registry]]
prefix = "*.wild.example"
insecure = true

[[registry]]
prefix = "*.moved.example"
location = "new.example.net"

[[registry]]
prefix = "c.moved.example"

[[registry]]
prefix = "bad.example"
blocked = true

[[registry]]
prefix = "*.bad.example"
blocked = true
"""
BOTH = ("digest", "tag")


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "registries.conf"
    path.write_text(CONF)
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(path))
    return path


@pytest.mark.parametrize(
    ("registry", "repository", "places"),
    [
        ("quay.io", "a/b", [Place("quay.io", "a/b")]),
        ("example.com", "foo/app", [Place("internal.example.net", "bar/app")]),
        ("example.com", "foo", [Place("internal.example.net", "bar")]),
        (
            "example.com",
            "food",
            [Place("mirror.example.net", "food", serves=("digest",)), Place("example.com", "food")],
        ),
        (
            "docker.io",
            "library/nginx",
            [
                Place("hub.example.net:5000", "proxy/library/nginx", insecure=True),
                Place("tags.example.net", "library/nginx", serves=("tag",)),
                Place("docker.io", "library/nginx"),
            ],
        ),
        ("a.wild.example", "x", [Place("a.wild.example", "x", insecure=True)]),
        ("wild.example", "x", [Place("wild.example", "x")]),
        ("a.wild.example:5000", "x", [Place("a.wild.example:5000", "x", insecure=True)]),
        ("a.wild.example.net:5000", "x", [Place("a.wild.example.net:5000", "x")]),
        ("b.moved.example", "x", [Place("new.example.net", "x")]),
        ("b.moved.example:5000", "x", [Place("new.example.net:5000", "x")]),
        ("c.moved.example", "x", [Place("c.moved.example", "x")]),
        (
            "example.com:5000",
            "x",
            [Place("mirror.example.net:5000", "x", serves=("digest",)), Place("example.com:5000", "x")],
        ),
    ],
)
def test_places(conf: Path, registry: str, repository: str, places: list[Place]) -> None:
    assert find_places(registry, repository) == places


def test_pushes_go_where_the_name_says(conf: Path) -> None:
    assert find_push_place("example.com", "foo/app") == Place("example.com", "foo/app")
    assert find_push_place("a.wild.example", "x") == Place("a.wild.example", "x", insecure=True)
    for find in (find_places, find_push_place):
        for name in ("bad.example", "a.bad.example", "a.bad.example:5000"):
            with pytest.raises(RegistryError, match=rf"registry {name}: .*registries.conf says that .* is blocked"):
                find(name, "x")


def test_files_beside_it_come_after_it_and_the_users_own_comes_first(
    conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "registries.conf.d"
    directory.mkdir()
    (directory / "1.conf").write_text('[[registry]]\nprefix = "bad.example"\n')
    (directory / "1.txt").write_text("not TOML")
    assert find_places("bad.example", "x") == [Place("bad.example", "x")]
    monkeypatch.delenv("CONTAINERS_REGISTRIES_CONF")
    monkeypatch.setenv("HOME", str(tmp_path))
    own = tmp_path / ".config/containers/registries.conf"
    own.parent.mkdir(parents=True)
    own.write_text('[[registry]]\nprefix = "quay.io"\nlocation = "own.example"\n')
    assert find_places("quay.io", "x") == [Place("own.example", "x")]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[[registry]]\nprefix = [", "line 2"),
        ("[[registry]]\nblocked = true", "neither prefix nor location"),
        ('[[registry]]\nprefix="a.b"\n[[registry.mirror]]\ninsecure=true', "a mirror of a.b has no location"),
        (
            '[[registry]]\nprefix="a.b"\n[[registry.mirror]]\nlocation="c"\npull-from-mirror="never"',
            "pull-from-mirror = 'never'",
        ),
        ("registry = 5", "registry is no array of tables"),
    ],
)
def test_a_bad_file_is_named(conf: Path, text: str, match: str) -> None:
    conf.write_text(text)
    with pytest.raises(RegistryError, match=f"{conf}.*{match}"):
        find_places("a.b", "x")


# Proxies -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "without", "direct"),
    [
        ("registry.example.com", "", False),
        ("registry.example.com", "*", True),
        ("registry.example.com", "example.com", True),
        ("example.com", "example.com", True),
        ("badexample.com", "example.com", False),
        ("registry.example.com", " other , .example.com ", True),
        ("example.com", ".example.com", False),
        ("registry.example.com", "*.example.com", True),
        ("registry.example.com", "example.com:5000", True),
        ("registry.example.com", "example.com:443", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "2.3", False),
        ("fd00::1", "fd00::/8", True),
        ("fd00::1", "[fd00::1]:5000", True),
        ("localhost", "", True),
        ("127.0.0.9", "", True),
        ("::1", "", True),
    ],
)
def test_no_proxy(host: str, without: str, *, direct: bool) -> None:
    environment = {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": without}
    assert (find_proxy("https", host, 5000, environment=environment) is None) == direct
    assert find_proxy("https", host, 5000, "own:1", environment) == Proxy("own", 1)


def test_which_variable_counts() -> None:
    environment = {"https_proxy": "a:1", "HTTPS_PROXY": "b:2", "HTTP_PROXY": "c:3"}
    assert find_proxy("https", "x.y", 443, environment=environment) == Proxy("a", 1)
    assert find_proxy("http", "x.y", 80, environment=environment) == Proxy("c", 3)
    assert find_proxy("http", "x.y", 80, environment={"ALL_PROXY": "http://d"}) == Proxy("d", 80)
    assert find_proxy("http", "x.y", 80, environment={"HTTPS_PROXY": "a:1"}) is None


def test_a_proxy_with_a_login_and_one_that_cannot_be() -> None:
    assert parse_proxy("http://us%40er:p%3Aw@h:1/", "x") == Proxy("h", 1, "Basic dXNAZXI6cDp3")
    for url in ("socks5://u:s3cret@h:1", "https://h:1", "http://", "http://u:s3cret@h:x"):
        with pytest.raises(RegistryError, match="HTTPS_PROXY: not a proxy") as error:
            parse_proxy(url, "HTTPS_PROXY")
        assert "s3cret" not in str(error.value)


# Logins ------------------------------------------------------------------------------------------------


def test_challenges() -> None:
    text = 'Bearer realm="https://a/token?x=1,2",service="s \\"q\\"",scope="repository:a:pull,push b:c:d"'
    assert parse_challenges(f"{text}, Basic realm=x") == [
        Challenge(
            "bearer",
            {"realm": "https://a/token?x=1,2", "service": 's "q"', "scope": "repository:a:pull,push b:c:d"},
        ),
        Challenge("basic", {"realm": "x"}),
    ]
    assert parse_challenges('Negotiate, Basic realm="x"')[0].scheme == "negotiate"
    assert parse_challenges("") == []


def test_scopes_are_one_a_resource() -> None:
    assert merge_scopes(["repository:a:pull"], ["repository:a:pull,push", "repository:b/c:pull"]) == [
        "repository:a:pull,push",
        "repository:b/c:pull",
    ]
    assert merge_scopes(["repository:a:pull"], ["aws"]) == ["aws", "repository:a:pull"]
    assert merge_scopes(["repository:h:5/a:pull"]) == ["repository:h:5/a:pull"]


def test_retry_after() -> None:
    assert [retry_after(text) for text in ("", "7", " 120 ", "soon", "-5", "Wed, 21 Oct 2015 07:28:00 GMT")] == [
        0,
        7,
        120,
        0,
        0,
        0,
    ]
    assert retry_after("Wed, 21 Oct 2115 07:28:00 GMT") > 1_000_000
