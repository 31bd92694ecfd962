"""A thousand configurations with faults of all kinds: never a traceback, never a hang, never a leak.

All go through the validation; some through a real ``create``, and all that this makes must be gone afterwards.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import time
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import EngineError
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.mount import observe_mounts
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.config.validate import (
    read_config,
    validate_process,
)
from tests.unit.runtime.test_schema import PLACES, sample, wrong_values

VALIDATED, CREATED = 1000, 80

# What stands in for a value. Strings name nothing that there is, so that nothing of the host is ever at stake.
STRINGS = ("", "a", "no-such-name", "/no/such/path", "../no/such", "a\0b", "a\nb", "é" * 40, "%s%n", "x" * 5000, "-1")
NUMBERS = (
    0,
    1,
    -1,
    2,
    100,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**63 - 1,
    2**63,
    2**64,
    10**40,
    -(2**63),
)
OTHERS = (None, True, False, 1.5, 1e400, [], {}, [[]], [None], {"": None}, [0], ["a"], {"a": "b"}, "\ud800")
VALUES = (*STRINGS, *NUMBERS, *OTHERS)
# Where a string could mean a place on the host whatever it says.
GUARDED = {("root", "path"): ("nowhere", "", "config.json", *OTHERS), ("linux", "cgroupsPath"): ("a:b", *OTHERS)}


def all_paths(value, path=()):
    yield path
    if isinstance(value, dict):
        for name, item in value.items():
            yield from all_paths(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from all_paths(item, (*path, index))


def replace(value, path, new):
    """``value`` with ``new`` at ``path``; what is missing on the way, or is of no use there, becomes an object."""
    if not path:
        return new
    if isinstance(path[0], int):
        items = list(value) if isinstance(value, list) else []
        index = min(path[0], len(items))
        old = items[index] if index < len(items) else None
        return [*items[:index], replace(old, path[1:], new), *items[index + 1 :]]
    members = dict(value) if isinstance(value, dict) else {}
    return {**members, path[0]: replace(members.get(path[0]), path[1:], new)}


def remove(value, path):
    value = copy.deepcopy(value)
    holder = value
    for part in path[:-1]:
        holder = holder[part]
    del holder[path[-1]]
    return value


def is_guarded(path, new):
    return any(path[: len(guard)] == guard[: len(path)] and new not in safe for guard, safe in GUARDED.items())


@st.composite
def mutations(draw, base):
    """The base with one to three faults, or none that matters."""
    spec = base
    for _count in range(draw(st.integers(1, 3))):
        paths = [path for path in all_paths(spec) if path]
        how = draw(st.sampled_from(["replace", "remove", "repeat", "rename", "add", "add wrong"]))
        path = draw(st.sampled_from(paths))
        if how == "replace":
            new = draw(st.sampled_from(VALUES))
            spec = spec if is_guarded(path, new) else replace(spec, path, new)
        elif how == "remove":
            spec = spec if is_guarded(path, None) and path != ("linux",) else remove(spec, path)
        elif how == "repeat":
            items = value_at(spec, path)
            if isinstance(items, list) and items:
                spec = replace(spec, path, [*items, *items[: draw(st.integers(1, 3))]])
        elif how == "rename":
            if isinstance(path[-1], str) and path[0] not in ("root", "linux"):
                old = value_at(spec, path)
                spec = replace(remove(spec, path), (*path[:-1], draw(st.sampled_from(STRINGS))), old)
        else:
            path, kind = draw(st.sampled_from(PLACES))
            if path and path[0] in ("process", "linux", "mounts", "hostname", "domainname") and len(path) > 1:
                new = sample(kind) if how == "add" else draw(st.sampled_from(list(wrong_values(kind))))
                spec = spec if is_guarded(path, new) else replace(spec, path, new)
    return spec


def value_at(value, path):
    for part in path:
        value = value[part]
    return value


@pytest.fixture
def base(runtime):
    """What `spec` writes, with what docker and podman add to it."""
    spec = json.loads((runtime.bundle / "config.json").read_text())
    limits = {"memory": {"limit": 1 << 28}, "cpu": {"shares": 1024, "quota": 50000}, "pids": {"limit": 99}}
    spec["linux"]["resources"].update(limits)
    spec["linux"]["sysctl"] = {"net.ipv4.ip_unprivileged_port_start": "0"}
    comparison = {"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}
    spec["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [
            {"names": ["kcmp", "bpf"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "args": [comparison]},
            {"names": ["read", "write", "exit"], "action": "SCMP_ACT_ALLOW"},
        ],
    }
    spec["annotations"] = {"org.example.key": "value"}
    return spec


def write(runtime, spec):
    (runtime.bundle / "config.json").write_text(json.dumps(spec))


def test_the_base_is_fine(runtime, base):
    write(runtime, replace(base, ("process", "args"), ["true"]))
    done = runtime("run", "-b", str(runtime.bundle), runtime.id)
    assert (done.returncode, done.stderr) == (0, "")


def told_by(check):
    """The one line that is told, or nothing."""
    try:
        check()
    except EngineError as error:
        told = str(error)
        assert told and told.isprintable() and len(told) < 2000, told
        return told
    return ""


def test_validation_tells_one_line_or_nothing(runtime, base):
    outcomes = {"valid": 0, "refused": 0}

    @settings(max_examples=VALIDATED, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(mutations(base))
    def hold(spec):
        write(runtime, spec)
        started = time.monotonic()
        outcomes["refused" if told_by(lambda: read_config(str(runtime.bundle))) else "valid"] += 1
        told_by(lambda: validate_process(json.loads(json.dumps(spec)).get("process")))  # as exec --process has it
        assert time.monotonic() - started < 5

    hold()
    assert min(outcomes.values()) > VALIDATED / 20, outcomes


def traces(runtime, identity):
    """What a container could leave: its state, cgroups, mounts and processes."""
    states = os.listdir(runtime.root) if os.path.isdir(runtime.root) else []
    cgroups = [d for d, _dirs, _files in os.walk("/sys/fs/cgroup") if identity in d]
    mounts = [path for path in observe_mounts() if str(runtime.bundle) in path]
    processes = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if identity.encode() in Path("/proc", pid, "cmdline").read_bytes():
                processes.append(int(pid))
        except OSError:
            continue
    return {"states": states, "cgroups": cgroups, "mounts": mounts, "processes": processes}


NOTHING = {"states": [], "cgroups": [], "mounts": [], "processes": []}


def test_create_makes_a_container_or_nothing(runtime, base):
    """Of the faults that validation finds a few will do: what comes after it is what makes things."""
    outcomes = {"created": 0, "failed": 0, "refused": 0}
    descriptors = len(os.listdir("/proc/self/fd"))

    def check(spec):
        identity = f"stowage-test-{uuid.uuid4().hex[:12]}"
        if isinstance(spec.get("linux"), dict) and spec["linux"].get("cgroupsPath"):
            spec = replace(spec, ("linux", "cgroupsPath"), f"/{identity}")
        write(runtime, spec)
        valid = not told_by(lambda: read_config(str(runtime.bundle)))
        if sum(outcomes.values()) >= CREATED or (not valid and outcomes["refused"] >= CREATED / 8):
            return
        status, told = create(runtime, identity)
        if status == 0:
            outcomes["created"] += 1
            assert valid
            assert json.loads(runtime("state", identity).stdout)["status"] == "created"
            assert runtime("delete", "--force", identity).returncode == 0
        else:
            outcomes["failed" if valid else "refused"] += 1
            lines = [line for line in told.splitlines() if "level=warning" not in line]
            assert (status, len(lines)) == (1, 1), told
            assert lines[0].isprintable() and "Error:" not in lines[0], told
        wait_for_nothing(runtime, identity)

    @settings(max_examples=5 * CREATED, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(mutations(base))
    def hold(spec):
        check(spec)

    # One that is valid and fails, which chance does not always bring.
    check(replace(base, ("process", "args"), ["/no/such/program"]))
    assert outcomes["failed"] == 1
    hold()
    assert min(outcomes.values()) > 0, outcomes
    assert len(os.listdir("/proc/self/fd")) == descriptors


def create(runtime, identity):
    """Status and stderr, which is a file, because a container keeps it."""
    with (runtime.bundle / "stderr").open("w+") as errors:
        command = [runtime.command, "--root", runtime.root, "create", "-b", str(runtime.bundle), identity]
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": errors}
        status = subprocess.run(command, **streams, timeout=30, check=False).returncode
        errors.seek(0)
        return status, errors.read()


def wait_for_nothing(runtime, identity):
    deadline = time.monotonic() + 5
    while traces(runtime, identity) != NOTHING and time.monotonic() < deadline:
        time.sleep(0.02)
    assert traces(runtime, identity) == NOTHING
