# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a cgroupsPath."""

from __future__ import annotations

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.cgroup.place import (
    is_scope,
    place_container,
    scope_path,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidOption


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", "/stowage/web"),
        ("/machine/web", "/machine/web"),
        ("/a//b/./c/", "/a/b/c"),
        ("pod/web", "/stowage/pod/web"),
        ("/odd:name", "/odd:name"),
    ],
)
def test_a_path_is_below_the_mount_points(path, expected):
    assert place_container(path, "web", "stowage", systemd=False) == expected
    assert not is_scope(expected)


@pytest.mark.parametrize("path", ["/", "..", "/a/../b", "../../x", "system.slice:runc:web", "/a\nb", "/."])
def test_a_path_that_leads_elsewhere_is_refused(path):
    with pytest.raises(InvalidOption, match=r"^linux\.cgroupsPath: "):
        place_container(path, "web", "stowage", systemd=False)


@pytest.mark.parametrize(
    ("path", "expected", "directory"),
    [
        ("", "system.slice:stowage:web", "system.slice/stowage-web.scope"),
        (":runc:web", "system.slice:runc:web", "system.slice/runc-web.scope"),
        ("machine.slice:libpod:1f", "machine.slice:libpod:1f", "machine.slice/libpod-1f.scope"),
        ("a-b.slice::web", "a-b.slice::web", "a.slice/a-b.slice/-web.scope"),
    ],
)
def test_a_scope_is_in_its_slice(path, expected, directory):
    assert place_container(path, "web", "stowage", systemd=True) == expected
    assert is_scope(expected)
    assert scope_path(expected) == directory


@pytest.mark.parametrize(
    "path",
    [
        "/a",
        "a:b",
        "a.slice:b:c:d",
        "a:b:c",
        "a--b.slice:b:c",
        "-a.slice:b:c",
        "a.slice:b:",
        "a.slice:b/:c",
        ".slice:b:c",
    ],
)
def test_what_is_no_scope_is_refused(path):
    with pytest.raises(InvalidOption, match='to be of format "slice:prefix:name" for systemd cgroups'):
        place_container(path, "web", "stowage", systemd=True)
