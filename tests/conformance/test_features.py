# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""features.md, features-linux.md: what a runtime says of itself is what it accepts."""

from __future__ import annotations

import json

import jsonschema
import pytest

from .schema import validate

item = pytest.mark.item


@pytest.fixture
def features(box):
    return json.loads(box.must("features"))


@item("features")
def test_the_structure_is_told(features):
    assert features


@item("features/schema")
def test_the_structure_fits_the_schema(features):
    validate("features-schema.json", features)


@item("features/{name}")
@pytest.mark.parametrize("name", ["ociVersionMin", "ociVersionMax"])
def test_the_versions_that_are_told_are_accepted(box, features, name):
    box.spec["ociVersion"] = features[name]
    assert box.sh("echo inside") == "inside"


@item("features/hooks")
def test_the_hooks_that_are_told_are_run(box, features):
    box.spec["hooks"] = {}
    for stage in features["hooks"]:
        where = "/data" if stage == "startContainer" else str(box.rootfs / "data")
        script = {"path": "/bin/sh", "args": ["sh", "-c", f"echo > {where}/{stage}"]}
        box.spec["hooks"][stage] = [script]
    box.sh("true")
    assert {path.name for path in (box.rootfs / "data").iterdir()} == set(features["hooks"])


@item("features/mountOptions")
def test_the_mount_options_that_are_told_are_known(box, features):
    (box.directory / "source").mkdir()
    alone = {"remount", "idmap", "ridmap", "tmpcopyup", "mand", "nomand", "bind", "rbind"}
    for option in features["mountOptions"]:
        if option not in alone:
            # A tmpfs would refuse an option that is passed on to it.
            box.mount(f"/data/{option}", option)
    box.sh("true")
    table = {"async", "bind", "ro", "rw", "nosuid", "noexec", "nodev", "rbind", "rprivate", "rslave", "sync", "rro"}
    assert table <= set(features["mountOptions"])


@item("features/linux/namespaces")
def test_the_namespaces_that_are_told_are_known(box, features):
    box.map_users()
    for kind in features["linux"]["namespaces"]:
        box.namespace(kind)
    assert box.sh("echo inside") == "inside"
    assert {"pid", "network", "mount", "ipc", "uts", "user", "cgroup"} <= set(features["linux"]["namespaces"])


@item("features/linux/capabilities")
def test_the_capabilities_that_are_told_are_known(box, features):
    box.process["capabilities"]["bounding"] = features["linux"]["capabilities"]
    said = box.run("true")
    assert "unknown" not in said.stderr.lower(), said.stderr
    assert len(features["linux"]["capabilities"]) >= 41


@item("features/linux/cgroup")
def test_the_versions_of_cgroups_are_told(features):
    cgroup = features["linux"]["cgroup"]
    assert cgroup["v1"] is True
    assert cgroup["v2"] is True
    assert isinstance(cgroup["systemd"], bool)


@item("features/linux/seccomp/{name}")
@pytest.mark.parametrize("name", ["actions", "operators", "archs", "supportedFlags"])
def test_what_is_told_of_seccomp_is_accepted(box, features, name):
    words = features["linux"]["seccomp"].get(name) or []
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}
    if name == "actions":
        words = [word for word in words if word != "SCMP_ACT_NOTIFY"]  # which takes a listener
        profile["syscalls"] = [{"names": [f"no_such_call_{word}"], "action": word} for word in words]
    elif name == "operators":
        profile["syscalls"] = [
            {
                "names": ["kill"],
                "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 1, "value": 99, "valueTwo": 1, "op": word}],
            }
            for word in words
        ]
    elif name == "archs":
        profile["architectures"] = words
    else:
        profile["flags"] = [word for word in words if not word.endswith("WAIT_KILLABLE_RECV")]  # of a listener
    box.linux["seccomp"] = profile
    assert box.sh("echo inside") == "inside"
    assert words or name == "supportedFlags"


@item("features/linux/{name}")
@pytest.mark.parametrize("name", ["apparmor", "selinux", "intelRdt", "netDevices", "mountExtensions", "memoryPolicy"])
def test_what_else_is_told(features, name):
    told = features["linux"][name]
    if name == "mountExtensions":
        told = told["idmap"]
    if name == "memoryPolicy":
        assert "MPOL_BIND" in told["modes"]
    else:
        assert isinstance(told["enabled"], bool)


@item("features/annotations")
def test_annotations_are_text(features):
    assert all(isinstance(value, str) for value in (features.get("annotations") or {}).values())


@item("features/potentiallyUnsafeConfigAnnotations")
def test_unsafe_annotations_are_a_list(features):
    assert all(isinstance(value, str) for value in features.get("potentiallyUnsafeConfigAnnotations") or [])


@item("config/schema/of the tests")
def test_the_schema_refuses_what_is_wrong(box):
    """The check itself can fail."""
    validate("config-schema.json", box.spec)
    box.process["cwd"] = 5
    with pytest.raises(jsonschema.ValidationError):
        validate("config-schema.json", box.spec)
