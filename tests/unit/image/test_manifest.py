# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documents from elsewhere: every field that is used is checked; configurations merge as a Containerfile's would."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidImage
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.manifest import (
    Descriptor,
    Manifest,
    image_config,
    override_config,
    parse_config,
    parse_manifest,
    parse_platforms,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.image.platform import (
    choose_platform,
    host_architecture,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.image import ImageConfig

DIGEST = "sha256:" + "a" * 64
CONFIG = {"mediaType": "c", "digest": DIGEST, "size": 2}
LAYER = {"mediaType": "l", "digest": DIGEST, "size": 3}


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"[" * 100000,
        {"schemaVersion": 1},
        {"schemaVersion": 2, "layers": []},
        {"schemaVersion": 2, "config": CONFIG, "layers": {}},
        {"schemaVersion": 2, "config": CONFIG, "layers": [LAYER] * 501},
        {"schemaVersion": 2, "config": CONFIG, "layers": [{**LAYER, "digest": "sha256:../../x"}]},
        {"schemaVersion": 2, "config": CONFIG, "layers": [{**LAYER, "size": -1}]},
        {"schemaVersion": 2, "config": CONFIG, "layers": [{**LAYER, "size": True}]},
        {"schemaVersion": 2, "config": CONFIG, "layers": [{**LAYER, "size": "3"}]},
        {"schemaVersion": 2, "config": CONFIG, "layers": [None]},
    ],
)
def test_malformed_manifests_are_refused(document: object) -> None:
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    with pytest.raises(InvalidImage, match=r"what"):
        parse_manifest(content, "what")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(DIGEST),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["schemaVersion", "config", "layers", "digest", "size", "mediaType", "rootfs", "diff_ids"])
            | st.text(max_size=3),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["schemaVersion", "config", "layers", "rootfs", "manifests"]), json_values))
def test_any_json_is_parsed_or_refused(document: dict[str, object]) -> None:
    content = json.dumps(document).encode()
    manifest = Manifest(Descriptor("", DIGEST, 1), ())
    for parse in (parse_platforms, parse_manifest, lambda c, w: parse_config(c, manifest, w)):
        with contextlib.suppress(InvalidImage):
            parse(content, "what")
    image_config(document.get("config"))


@pytest.mark.parametrize("diff_ids", [None, [], [DIGEST, DIGEST], ["../../etc"], [5]])
def test_a_configuration_must_name_each_layer(diff_ids: object) -> None:
    manifest = Manifest(Descriptor("", DIGEST, 1), (Descriptor("", DIGEST, 1),))
    with pytest.raises(InvalidImage, match=r"what"):
        parse_config(json.dumps({"rootfs": {"diff_ids": diff_ids}}).encode(), manifest, "what")


def test_overrides_merge_with_the_base() -> None:
    base = {"Cmd": ["sh"], "Entrypoint": ["init"], "Env": ["A=1", "B=2"], "Labels": {"x": "1"}, "Healthcheck": {"a": 1}}
    kept = override_config(
        base, ImageConfig(env=(("B", "3"), ("C", "4=5")), labels=(("y", "2"),), exposed_ports=("80/tcp",))
    )
    assert kept["Env"] == ["A=1", "B=3", "C=4=5"]
    assert (kept["Cmd"], kept["Entrypoint"], kept["Healthcheck"]) == (["sh"], ["init"], {"a": 1})
    assert (kept["Labels"], kept["ExposedPorts"]) == ({"x": "1", "y": "2"}, {"80/tcp": {}})
    assert base["Env"] == ["A=1", "B=2"]


def test_a_new_entrypoint_drops_the_command_of_the_old_one() -> None:
    assert "Cmd" not in override_config({"Cmd": ["sh"]}, ImageConfig(entrypoint=("init",)))
    assert override_config({"Cmd": ["sh"]}, ImageConfig(entrypoint=("i",), command=("c",)))["Cmd"] == ["c"]


def test_the_image_for_this_host_is_chosen_and_else_the_others_are_told() -> None:
    one, two = Descriptor("", "sha256:" + "1" * 64, 1), Descriptor("", "sha256:" + "2" * 64, 1)
    there = [(one, {"os": "linux", "architecture": "vax", "variant": "v1"}), (two, {"os": "unknown"})]
    mine = Descriptor("", DIGEST, 1)
    variant = {"variant": "v8"} if host_architecture() == "arm64" else {}
    platform = {"os": "linux", "architecture": host_architecture(), **variant}
    assert choose_platform([*there, (mine, platform)], "x") == mine
    with pytest.raises(InvalidImage, match=r"x is not made for linux/.*is there for linux/vax/v1$"):
        choose_platform(there, "x")
