# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Platforms have one spelling, and an index gives the one that is meant, or the best that runs there."""

from __future__ import annotations

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidImage, InvalidOption
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.manifest import Descriptor
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.platform import (
    check_platform,
    choose_platform,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.platform import (
    parse_platform,
    same_platform,
)


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v3", "linux/amd64/v3"),
        ("LINUX/ARM64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/aarch64", "linux/arm64"),
        ("arm64", "linux/arm64"),
        ("arm64/v8", "linux/arm64"),
        ("linux/arm", "linux/arm"),
        ("linux/arm/v7", "linux/arm"),
        ("linux/arm/6", "linux/arm/v6"),
        ("linux/armel", "linux/arm/v6"),
        ("linux/i386", "linux/386"),
        ("windows/amd64", "windows/amd64"),
        ("riscv64", "linux/riscv64"),
    ],
)
def test_one_spelling(text: str, platform: str) -> None:
    assert str(parse_platform("platform", text)) == platform
    assert str(parse_platform("platform", platform)) == platform


@pytest.mark.parametrize("text", ["", "/", "linux/", "linux//v8", "a/b/c/d", "linux/am d64", "linux/../x"])
def test_what_is_no_platform(text: str) -> None:
    with pytest.raises(InvalidOption, match=r"platform: .* not valid; expected os/architecture"):
        parse_platform("platform", text)


def test_an_image_that_names_no_variant_may_be_any() -> None:
    assert same_platform("linux/arm/v6", "linux/arm")
    assert same_platform("", "linux/arm") and same_platform("linux/arm", "")
    assert not same_platform("linux/arm", "linux/arm/v6")
    assert not same_platform("linux/arm64", "linux/amd64")
    assert not same_platform("linux/arm", "linux/arm64")


def index(*platforms: str) -> list[tuple[Descriptor, dict[str, str]]]:
    entries = []
    for platform in platforms:
        fields = dict(zip(("os", "architecture", "variant"), platform.split("/")))
        entries.append((Descriptor(platform, "sha256:" + "0" * 64, 1), fields))
    return entries


@pytest.mark.parametrize(
    ("wanted", "there", "chosen"),
    [
        ("linux/arm64", ("linux/amd64", "linux/arm64/v8"), "linux/arm64/v8"),
        ("linux/arm64", ("linux/arm64", "linux/arm64/v8"), "linux/arm64"),
        ("linux/arm", ("linux/arm/v6", "linux/arm/v7"), "linux/arm/v7"),
        ("linux/arm", ("linux/arm/v5", "linux/arm/v6"), "linux/arm/v6"),
        ("linux/arm/v6", ("linux/arm/v7", "linux/arm/v5"), "linux/arm/v5"),
        ("linux/amd64", ("windows/amd64", "linux/amd64"), "linux/amd64"),
        ("windows/amd64", ("windows/amd64", "linux/amd64"), "windows/amd64"),
        ("linux/amd64", ("unknown/unknown", "linux/amd64"), "linux/amd64"),
    ],
)
def test_choice(wanted: str, there: tuple[str, ...], chosen: str) -> None:
    assert choose_platform(index(*there), "x", wanted).media_type == chosen


def test_what_is_not_there_is_told_with_what_is() -> None:
    with pytest.raises(InvalidImage, match=r"^x is not made for linux/arm/v6; it is there for linux/amd64, linux/arm$"):
        choose_platform(index("linux/amd64", "linux/arm/v7", "unknown/unknown"), "x", "linux/arm/v6")
    with pytest.raises(InvalidImage, match="it is there for no platform"):
        choose_platform(index("unknown/unknown"), "x", "linux/arm")
    with pytest.raises(InvalidImage, match="x is not made for linux/arm64; it is there for linux/amd64"):
        check_platform({"os": "linux", "architecture": "amd64"}, "linux/arm64", "x")
    check_platform({"os": "linux", "architecture": "arm64", "variant": "v8"}, "linux/arm64", "x")
    check_platform({}, "linux/arm64", "x")
