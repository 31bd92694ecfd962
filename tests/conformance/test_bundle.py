# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundle, and the parts of config.json that are not about its process (bundle.md, config.md)."""

from __future__ import annotations

import json

import pytest

item = pytest.mark.item


@item("bundle/config.json")
def test_a_bundle_without_config_json_is_refused(box):
    done = box.call("create", "--bundle", str(box.directory), box.id)
    assert done.returncode != 0
    assert box.call("state", box.id).returncode != 0


@item("bundle/config.json/not JSON")
def test_a_config_that_is_not_json_is_refused(box):
    (box.directory / "config.json").write_text('{"ociVersion": ')
    assert box.call("create", "--bundle", str(box.directory), box.id).returncode != 0
    assert box.call("state", box.id).returncode != 0


@item("config/ociVersion/{version}")
@pytest.mark.parametrize("version", ["1.0.0", "1.0.2", "1.1.0", "1.2.0", "1.2.1", "1.3.0"])
def test_versions_of_this_major_version_are_accepted(box, version):
    box.spec["ociVersion"] = version
    assert box.sh("echo inside") == "inside"


@item("config/ociVersion/{wrong}")
@pytest.mark.parametrize("wrong", ["2.0.0", "invalid"])
def test_other_versions_are_refused(box, wrong):
    box.spec["ociVersion"] = wrong
    box.refuse()


@item("config/ociVersion/missing")
def test_a_version_is_required(box):
    del box.spec["ociVersion"]
    box.refuse()


@item("config/root/path/relative")
def test_a_relative_root_is_in_the_bundle(box):
    (box.rootfs / "mark").write_text("here")
    assert box.sh("cat /mark") == "here"


@item("config/root/path/absolute")
def test_an_absolute_root(box):
    (box.rootfs / "mark").write_text("here")
    box.spec["root"]["path"] = str(box.rootfs)
    assert box.sh("cat /mark") == "here"


@item("config/root/path/missing directory")
def test_the_root_has_to_exist(box):
    box.spec["root"]["path"] = "nowhere"
    box.refuse()


@item("config/root/path/a file")
def test_the_root_has_to_be_a_directory(box):
    (box.directory / "file").write_text("")
    box.spec["root"]["path"] = "file"
    box.refuse()


@item("config/root/missing")
def test_a_root_is_required(box):
    del box.spec["root"]
    box.refuse()


@item("config/root/readonly/true")
def test_a_read_only_root(box):
    box.spec["root"]["readonly"] = True
    assert box.run("touch", "/new").returncode != 0
    assert not (box.rootfs / "new").exists()


@item("config/root/readonly/false")
def test_a_root_is_writable_by_default(box):
    box.sh("touch /new")
    assert (box.rootfs / "new").exists()


@item("config/annotations")
def test_annotations_are_told_in_the_state(box):
    box.spec["annotations"] = {"com.example.key": "value", "com.example.empty": ""}
    box.create()
    assert box.state()["annotations"] == {"com.example.key": "value", "com.example.empty": ""}


@item("config/annotations/unknown org.opencontainers key")
def test_unknown_annotation_keys_are_ignored(box):
    box.spec["annotations"] = {"org.opencontainers.image.nothing": "1", "org.criu.config": ""}
    assert box.sh("echo inside") == "inside"


@item("config/annotations/not a string")
def test_annotations_are_strings(box):
    box.spec["annotations"] = {"com.example.key": 5}
    box.refuse()


@item("config/extensibility")
def test_unknown_properties_are_ignored(box):
    box.spec["unknown"] = {"deep": [1, 2]}
    box.process["unknown"] = 5
    box.linux["unknown"] = "text"
    box.spec["mounts"][0]["unknown"] = None
    assert box.sh("echo inside") == "inside"


@item("config/platform-specific/other platforms")
def test_parts_for_other_platforms_are_ignored(box):
    box.spec["solaris"] = {"milestone": "svc:/milestone/container:default"}
    box.spec["freebsd"] = {}
    assert box.sh("echo inside") == "inside"


WRONG = {
    "process is a list": lambda spec: spec.update(process=[]),
    "mounts is an object": lambda spec: spec.update(mounts={}),
    "root.path is a number": lambda spec: spec["root"].update(path=5),
    "process.user.uid is a string": lambda spec: spec["process"]["user"].update(uid="0"),
    "process.user.uid is negative": lambda spec: spec["process"]["user"].update(uid=-1),
    "process.terminal is a number": lambda spec: spec["process"].update(terminal=1),
    "linux.namespaces is a string": lambda spec: spec["linux"].update(namespaces="pid"),
    "linux.resources is a list": lambda spec: spec["linux"].update(resources=[1]),
    "linux.resources.memory.limit is a string": lambda spec: spec["linux"].update(
        resources={"memory": {"limit": "1G"}}
    ),
    "linux.rootfsPropagation is unknown": lambda spec: spec["linux"].update(rootfsPropagation="sideways"),
    "hooks is a list": lambda spec: spec.update(hooks=[]),
    "hostname is a number": lambda spec: spec.update(hostname=7),
}


@item("config/valid values/{wrong}")
@pytest.mark.parametrize("wrong", WRONG)
def test_invalid_values_are_refused(box, wrong):
    WRONG[wrong](box.spec)
    box.write()
    assert json.loads((box.directory / "config.json").read_text()) == box.spec
    done = box.call("create", "--bundle", str(box.directory), box.id)
    assert done.returncode != 0
    assert box.call("state", box.id).returncode != 0
    assert box.cgroups() == []
