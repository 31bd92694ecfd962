# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""runtime.md: the state of a container, its lifecycle, and the operations."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.waiting import wait_for

from .box import Refused
from .schema import validate

item = pytest.mark.item


# State


@item("runtime/state/{name}")
@pytest.mark.parametrize("name", ["ociVersion", "id", "status", "pid", "bundle"])
def test_what_a_state_has(box, name):
    box.create()
    state = box.state()
    wanted = {"id": box.id, "status": "created", "bundle": str(box.directory)}
    assert state[name]
    assert state[name] == wanted.get(name, state[name])
    if name == "pid":
        assert os.path.exists(f"/proc/{state['pid']}")
    if name == "ociVersion":
        assert state[name].startswith("1.")


@item("runtime/state/bundle/absolute")
def test_the_bundle_is_told_by_its_absolute_path(box):
    box.write()
    box.must("create", "--bundle", ".", box.id)
    assert box.state()["bundle"] == str(box.directory)


@item("runtime/state/status/{status}")
@pytest.mark.parametrize("status", ["created", "running", "stopped"])
def test_the_status(box, status):
    box.create(script="exec sleep 60")
    if status != "created":
        box.must("start", box.id)
    if status == "stopped":
        box.must("kill", box.id, "KILL")
        box.wait("stopped")
    assert box.status() == status


@item("runtime/state/schema")
def test_the_state_fits_the_schema(box):
    box.spec["annotations"] = {"com.example.key": "value"}
    box.start()
    validate("state-schema.json", box.state())
    box.must("kill", box.id, "KILL")
    box.wait()
    validate("state-schema.json", box.state())


@item("config/schema")
def test_the_runtimes_own_example_fits_the_schema(box):
    box.must("spec", "--bundle", str(box.directory))
    validate("config-schema.json", json.loads((box.directory / "config.json").read_text()))


# Query state


@item("runtime/operations/state/without an id")
def test_state_takes_an_id(box):
    assert box.call("state").returncode != 0


@item("runtime/operations/state/no such container")
def test_state_of_nothing_is_an_error(box):
    assert box.call("state", box.id).returncode != 0


# Create


@item("runtime/operations/create/without an id")
def test_create_takes_an_id(box):
    box.write()
    assert box.call("create", "--bundle", str(box.directory)).returncode != 0


@item("runtime/operations/create/without a bundle")
def test_create_takes_a_bundle(box):
    assert box.call("create", box.id, cwd="/").returncode != 0
    assert box.call("create", "--bundle", "/nowhere", box.id).returncode != 0


@item("runtime/operations/create/id in use")
def test_an_id_is_used_once(box):
    box.create()
    pid = box.pid()
    with pytest.raises(Refused):
        box.create()
    assert box.pid() == pid
    assert box.status() == "created"


@item("runtime/operations/create/invalid id")
@pytest.mark.parametrize("identity", ["../escape"])
def test_an_invalid_id_is_refused(box, identity):
    box.write()
    assert box.call("create", "--bundle", str(box.directory), identity).returncode != 0
    assert not (box.directory / "escape").exists()


@item("runtime/operations/create/process is not run")
def test_the_program_does_not_run_before_start(box):
    box.create(script="echo ran > /data/mark")
    assert not (box.rootfs / "data/mark").exists()
    box.must("start", box.id)
    wait_for((box.rootfs / "data/mark").exists, "mark of the program")


@item("runtime/operations/create/later changes of config.json")
def test_changes_of_the_config_have_no_effect(box):
    box.create(script="echo first > /data/mark")
    box.process["args"] = ["sh", "-c", "echo second > /data/mark"]
    box.spec["hostname"] = "second"
    box.write()
    box.must("start", box.id)
    box.wait()
    assert (box.rootfs / "data/mark").read_text() == "first\n"


@item("runtime/operations/create/config.json may be gone")
def test_a_created_container_does_not_need_its_config(box):
    box.create(script="echo first > /data/mark")
    (box.directory / "config.json").unlink()
    box.must("start", box.id)
    box.wait()
    box.must("delete", box.id)
    assert (box.rootfs / "data/mark").read_text() == "first\n"


@item("runtime/operations/create/without process")
def test_a_container_without_a_process_can_be_created(box):
    del box.spec["process"]
    box.create()
    assert box.status() == "created"


@item("runtime/operations/create/an error leaves nothing")
def test_a_failed_create_leaves_nothing(box):
    box.mount("/data/inner", kind="nothingfs", source="nothingfs")
    box.refuse()
    assert not box.state_root.exists() or os.listdir(box.state_root) == []


# Start


@item("runtime/operations/start/without an id")
def test_start_takes_an_id(box):
    assert box.call("start").returncode != 0


@item("runtime/operations/start/no such container")
def test_start_of_nothing_is_an_error(box):
    assert box.call("start", box.id).returncode != 0


@item("runtime/operations/start/running")
def test_a_running_container_is_not_started(box):
    box.start(script="echo ran >> /data/mark; exec sleep 60")
    wait_for((box.rootfs / "data/mark").exists, "mark of the program")
    assert box.call("start", box.id).returncode != 0
    assert box.status() == "running"
    assert (box.rootfs / "data/mark").read_text() == "ran\n"


@item("runtime/operations/start/stopped")
def test_a_stopped_container_is_not_started(box):
    box.start(script="echo ran >> /data/mark")
    box.wait()
    assert box.call("start", box.id).returncode != 0
    assert (box.rootfs / "data/mark").read_text() == "ran\n"


@item("runtime/operations/start/without process")
def test_start_without_a_process_is_an_error(box):
    del box.spec["process"]
    box.refuse_to_run()


# Kill


@item("runtime/operations/kill/without an id")
def test_kill_takes_an_id(box):
    assert box.call("kill").returncode != 0


@item("runtime/operations/kill/no such container")
def test_kill_of_nothing_is_an_error(box):
    assert box.call("kill", box.id, "KILL").returncode != 0


@item("runtime/operations/kill/stopped")
def test_a_stopped_container_gets_no_signal(box):
    box.start(script="true")
    box.wait()
    assert box.call("kill", box.id, "KILL").returncode != 0
    assert box.status() == "stopped"


@item("runtime/operations/kill/created")
def test_a_created_container_gets_the_signal(box):
    box.create()
    box.must("kill", box.id, "KILL")
    box.wait()


@item("runtime/operations/kill/the signal that is named")
@pytest.mark.parametrize("word", [["USR1", "SIGUSR2", str(int(signal.SIGHUP)), "TERM"]])
def test_the_signal_that_is_named(box, word):
    box.start(
        script='for s in USR1 USR2 HUP TERM; do trap "echo $s" $s; done; echo ready; while :; do sleep 0.05; done'
    )
    wait_for(lambda: "ready" in box.output(), "word from the container")
    for name, told in zip(word, ["USR1", "USR2", "HUP", "TERM"]):
        box.must("kill", box.id, name)
        wait_for(lambda told=told: told in box.output().split(), f"SIG{told} in the container")


@item("runtime/operations/kill/unknown signal")
def test_an_unknown_signal_is_an_error(box):
    box.start()
    assert box.call("kill", box.id, "NOTHING").returncode != 0
    assert box.status() == "running"


# Delete


@item("runtime/operations/delete/without an id")
def test_delete_takes_an_id(box):
    assert box.call("delete").returncode != 0


@item("runtime/operations/delete/no such container")
def test_delete_of_nothing_is_an_error(box):
    assert box.call("delete", box.id).returncode != 0


@item("runtime/operations/delete/running")
def test_a_running_container_is_not_deleted(box):
    box.start()
    assert box.call("delete", box.id).returncode != 0
    assert box.status() == "running"


@item("runtime/operations/delete/created")
def test_a_created_container_is_not_deleted(box):
    box.create()
    assert box.call("delete", box.id).returncode != 0
    assert box.status() == "created"


@item("runtime/operations/delete/stopped")
def test_a_stopped_container_is_deleted(box):
    box.start(script="true")
    box.wait()
    box.must("delete", box.id)
    assert box.call("state", box.id).returncode != 0


@item("runtime/operations/delete/resources")
def test_delete_takes_all_that_create_made(box):
    box.mount("/data")
    box.create(script="true")
    box.must("start", box.id)
    box.wait()
    box.must("delete", box.id)
    assert box.cgroups() == []
    assert not box.state_root.exists() or os.listdir(box.state_root) == []
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        assert not [line for line in mounts if f"{box.directory}/" in line]


@item("runtime/operations/delete/resources of others")
def test_delete_leaves_what_create_did_not_make(boxes):
    other, box = boxes(), boxes()
    other.start()
    box.namespace("network", f"/proc/{other.pid()}/ns/net")
    (box.directory / "volume").mkdir()
    (box.directory / "volume/mark").write_text("")
    box.bind(box.directory / "volume", "/data")
    box.start(script="true")
    box.wait()
    box.must("delete", box.id)
    assert (box.directory / "volume/mark").exists()
    assert other.status() == "running"


@item("runtime/operations/delete/the id is free again")
def test_an_id_is_free_after_delete(box):
    for _round in range(2):
        box.start(script="true")
        box.wait()
        box.must("delete", box.id)


@item("runtime/lifecycle/exit")
def test_a_container_stops_when_its_process_exits(box):
    box.start(script="sleep 60 & exit 3")
    box.wait()


@item("runtime/scope/the same entity can use all operations")
def test_whoever_creates_can_do_the_rest(box):
    box.create()
    box.must("start", box.id)
    box.must("kill", box.id, "KILL")
    box.wait()
    box.must("delete", box.id)
