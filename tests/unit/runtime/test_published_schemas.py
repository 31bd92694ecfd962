"""What we write, against JSON schemas of the runtime specification that Debian publishes.

Debian 12's golang-github-opencontainers-specs-dev has those of 1.0.2 and 118 commits, the eve of 1.1; it has none for
`features`, which came with 1.1. tests/conformance holds all three against those of 1.3.
"""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

from ansible_collections.stowage.engine.plugins.module_utils._engine.model.container import Container, Security
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.config.example import (
    example_spec,
    rootless_spec,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.config.validate import validate_config
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.state import State
from ansible_collections.stowage.engine.plugins.module_utils._engine.shim.spec import oci_spec

SCHEMAS = Path("/usr/share/gocode/src/github.com/opencontainers/runtime-spec/schema")

pytestmark = pytest.mark.skipif(
    not SCHEMAS.is_dir(), reason="golang-github-opencontainers-specs-dev is not installed: tests/setup.sh packages test"
)


def validator(name):
    files = {path.name: json.loads(path.read_text()) for path in SCHEMAS.glob("*.json")}
    registry = Registry().with_resources((name, Resource(content, DRAFT4)) for name, content in files.items())
    return jsonschema.Draft4Validator({"$ref": name}, registry=registry)


def container(**fields):
    return Container(name="web", image="shop:1", args=("httpd",), **fields)


CONFIGS = {
    "the engine's": lambda: oci_spec(container(), rootfs="/b/rootfs", run_directory="/r", cgroups_path="/web"),
    "the engine's, privileged": lambda: oci_spec(
        container(security=Security(privileged=True)), rootfs="/b/rootfs", run_directory="/r", cgroups_path="/web"
    ),
    "spec": example_spec,
    "spec --rootless": rootless_spec,
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_fits_the_schema_and_ours(name):
    spec = json.loads(json.dumps(CONFIGS[name]()))
    validator("config-schema.json").validate(spec)
    if name != "spec --rootless":  # which asks the host for ids that only root may have
        validate_config(spec)


def test_a_state_fits_the_schema(tmp_path):
    values = {"pid": 0, "started": 0, "bundle": "/b", "rootfs": "/b/rootfs", "created": "", "annotations": {"a": "b"}}
    state = State(str(tmp_path), "web", {**values, "creator": [0, 0], "cgroupsPath": ""})
    validator("state-schema.json").validate(json.loads(json.dumps(state.told())))


@pytest.mark.parametrize(("name", "path"), [("config-schema.json", "process"), ("state-schema.json", "id")])
def test_the_schemas_refuse_what_is_wrong(name, path):
    with pytest.raises(jsonschema.ValidationError):
        validator(name).validate({path: 7})
