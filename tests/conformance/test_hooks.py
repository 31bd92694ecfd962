# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""config.md, POSIX-platform hooks; runtime.md, Lifecycle: when hooks run, where, with what, and what if they fail."""

from __future__ import annotations

import json
import os
import time

import pytest

from tests.waiting import wait_for

from .box import Refused

item = pytest.mark.item

STAGES = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
IN_CONTAINER = ("createContainer", "startContainer")


@pytest.fixture
def hooked(box):
    """A box whose hooks write to a directory that the container has as /shared."""
    (box.directory / "shared").mkdir()
    box.bind(box.directory / "shared", "/shared")
    box.spec["hooks"] = {}
    return box


def shared(box, stage):
    """The shared directory as a hook of that stage sees it: startContainer's runs after pivot_root(2)."""
    return "/shared" if stage == "startContainer" else str(box.directory / "shared")


def hook(box, stage, script, **more):
    """One more hook: a shell script, in which $S is the shared directory."""
    entry = {"path": "/bin/sh", "args": ["sh", "-c", script], "env": [f"S={shared(box, stage)}", "PATH=/bin:/usr/bin"]}
    box.spec["hooks"].setdefault(stage, []).append({**entry, **more})


def told(box, name="log"):
    path = box.directory / "shared" / name
    return path.read_text().split() if path.exists() else []


def live(box, script="true"):
    """A whole life, a command at a time; with all that was told at the end of each."""
    seen = {}
    box.create(script=script)
    seen["create"] = told(box)
    box.must("start", box.id)
    seen["start"] = told(box)
    box.wait()
    box.must("delete", box.id)
    seen["delete"] = told(box)
    return seen


CALLED_IN = {
    "prestart": "create",
    "createRuntime": "create",
    "createContainer": "create",
    "startContainer": "start",
    "poststart": "start",
    "poststop": "delete",
}


@item("config/hooks/{stage}")
@pytest.mark.parametrize("stage", STAGES)
def test_a_hook_runs_in_its_operation(hooked, stage):
    hook(hooked, stage, "echo hook >> $S/log")
    seen = live(hooked)
    operations = list(seen)
    when = operations.index(CALLED_IN[stage])
    assert [len(seen[operation]) for operation in operations] == [int(n >= when) for n in range(3)]


@item("config/hooks/{stage}/order")
@pytest.mark.parametrize("stage", STAGES)
def test_hooks_run_in_the_listed_order(hooked, stage):
    for number in range(3):
        hook(hooked, stage, f"echo {number} >> $S/log")
    assert live(hooked)["delete"] == ["0", "1", "2"]


@item("runtime/lifecycle/order of hooks")
def test_stages_come_in_the_order_of_the_lifecycle(hooked):
    for stage in STAGES:
        hook(hooked, stage, f"echo {stage} >> $S/log")
    live(hooked, "echo program >> /shared/log; sleep 0.3")
    found = told(hooked)
    assert [word for word in found if word != "program"] == list(STAGES)
    assert found.index("startContainer") < found.index("program")


STATUS = {
    "prestart": {"creating", "created"},
    "createRuntime": {"creating", "created"},
    "createContainer": {"creating", "created"},
    "startContainer": {"creating", "created"},
    "poststart": {"running"},
    "poststop": {"stopped"},
}


@item("config/hooks/{stage}/state on stdin")
@pytest.mark.parametrize("stage", STAGES)
def test_the_state_is_on_the_standard_input(hooked, stage):
    hooked.spec["annotations"] = {"com.example.key": "value"}
    hook(hooked, stage, "cat > $S/state; echo done >> $S/log")
    hooked.start()
    pid = hooked.pid()
    hooked.must("kill", hooked.id, "KILL")
    hooked.wait()
    hooked.must("delete", hooked.id)
    state = json.loads((hooked.directory / "shared/state").read_text())
    assert state["id"] == hooked.id
    assert state["bundle"] == str(hooked.directory)
    assert state["ociVersion"]
    assert state["annotations"]["com.example.key"] == "value"
    assert state["status"] in STATUS[stage]
    if stage in IN_CONTAINER:
        assert state["pid"] == 1  # "the pid as seen by the container"
    elif stage != "poststop":
        assert state["pid"] == pid


@item("config/hooks/{stage}/namespace")
@pytest.mark.parametrize("stage", STAGES)
def test_a_hook_runs_in_its_namespace(hooked, stage):
    hook(hooked, stage, "for kind in mnt net; do readlink /proc/self/ns/$kind; done > $S/log")
    hooked.start()
    inside = {os.readlink(f"/proc/{hooked.pid()}/ns/{kind}") for kind in ("mnt", "net")}
    outside = {os.readlink(f"/proc/self/ns/{kind}") for kind in ("mnt", "net")}
    hooked.must("kill", hooked.id, "KILL")
    hooked.wait()
    hooked.must("delete", hooked.id)
    assert set(told(hooked)) == (inside if stage in IN_CONTAINER else outside)


@item("config/hooks/{stage}/path is the {namespace} namespace's")
@pytest.mark.parametrize(
    ("stage", "namespace"), [(stage, "container" if stage == "startContainer" else "runtime") for stage in STAGES]
)
def test_the_path_is_resolved_in_its_namespace(hooked, stage, namespace):
    there = hooked.rootfs if namespace == "container" else hooked.directory
    (there / "only-here").write_text('#!/bin/sh\necho "$0" > $S/log\n')
    (there / "only-here").chmod(0o755)
    path = "/only-here" if namespace == "container" else str(hooked.directory / "only-here")
    hook(hooked, stage, "", path=path, args=[path])
    assert live(hooked)["delete"] == [path]


@item("config/hooks/args")
def test_the_arguments_of_a_hook(hooked):
    hook(hooked, "createRuntime", "", args=["sh", "-c", 'printf "%s|" "$0" "$@" > $S/log', "name", "a", "b"])
    assert live(hooked)["create"] == ["name|a|b|"]


@item("config/hooks/args/argv[0]")
def test_the_first_argument_is_the_hooks_name(hooked):
    hook(hooked, "createRuntime", "", args=["another-name", "-c", "cat /proc/$$/cmdline | tr '\\0' ' ' > $S/log"])
    assert live(hooked)["create"][0] == "another-name"


@item("config/hooks/env")
def test_the_environment_of_a_hook_is_exactly_what_is_given(hooked):
    words = ["ONE=1", f"S={shared(hooked, 'createRuntime')}"]
    hook(hooked, "createRuntime", "exec /bin/cat /proc/self/environ > $S/log", env=words)
    live(hooked)
    found = set((hooked.directory / "shared/log").read_text().split("\0")) - {""}
    # PWD and the like are the shell's own.
    assert {word for word in found if word.split("=")[0] not in ("PWD", "OLDPWD", "SHLVL", "_")} == set(words)


@item("config/hooks/timeout")
def test_a_hook_that_takes_too_long_is_ended_and_fails(hooked):
    hook(hooked, "createRuntime", "echo $$ > $S/log; exec sleep 30", timeout=1)
    started = time.monotonic()
    with pytest.raises(Refused):
        hooked.create()
    assert time.monotonic() - started < 10
    pid = told(hooked)[0]
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "end of the hook")


@item("config/hooks/timeout/not positive")
def test_a_timeout_is_greater_than_zero(hooked):
    hook(hooked, "createRuntime", "true", timeout=-1)
    hooked.refuse()


@item("config/hooks/path/relative")
def test_the_path_of_a_hook_is_absolute(hooked):
    hook(hooked, "createRuntime", "true", path="bin/sh")
    hooked.refuse()


@item("config/hooks/path/missing")
def test_a_hook_has_a_path(hooked):
    hooked.spec["hooks"] = {"createRuntime": [{"args": ["true"]}]}
    hooked.refuse()


@item("runtime/lifecycle/{stage} hook fails")
@pytest.mark.parametrize("stage", ["prestart", "createRuntime", "createContainer"])
def test_a_failing_hook_of_create_ends_the_container(hooked, stage):
    hook(hooked, stage, "exit 3")
    hook(hooked, stage, "echo second >> $S/log")
    hook(hooked, "poststop", "echo poststop >> $S/log")
    hooked.refuse()
    assert told(hooked) == ["poststop"]


@item("runtime/lifecycle/{stage} hook fails")
@pytest.mark.parametrize("stage", ["startContainer", "poststart"])
def test_a_failing_hook_of_start_ends_the_container(hooked, stage):
    hook(hooked, stage, "exit 3")
    hook(hooked, stage, "echo second >> $S/log")
    hook(hooked, "poststop", "echo poststop >> $S/log")
    hooked.create(script="echo program >> /shared/log; exec sleep 60")
    pid = hooked.pid()
    with pytest.raises(Refused):
        hooked.must("start", hooked.id)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "end of the container")
    assert hooked.call("state", hooked.id).returncode != 0, "the container was not destroyed"
    assert [word for word in told(hooked) if word != "program"] == ["poststop"]
    if stage == "startContainer":
        assert "program" not in told(hooked)


@item("runtime/lifecycle/poststop hook fails")
def test_a_failing_hook_of_delete_is_a_warning(hooked):
    hook(hooked, "poststop", "exit 3")
    hook(hooked, "poststop", "echo second >> $S/log")
    assert live(hooked)["delete"] == ["second"]
    assert hooked.call("state", hooked.id).returncode != 0
