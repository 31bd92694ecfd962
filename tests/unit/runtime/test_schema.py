"""Every property of runtime-spec 1.3 for Linux, in turn wrong in type, out of range and missing, and what is told."""

from __future__ import annotations

import copy
import json
import os

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import (
    InvalidOption,
    NotFound,
    RuntimeFailed,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.config.kinds import (
    Flag,
    List,
    Map,
    Number,
    Object,
    Text,
    Word,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.config.schema import CONFIG
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.config.validate import (
    read_config,
    validate_config,
    validate_process,
)

# A string that fits, by what the schema expects, and some that do not.
TEXTS = {
    "a string without NUL": ("text", ["a\0b", "half \ud800"]),
    "an absolute path": ("/a/path", ["a/path", "", "/nul\0"]),
    "an absolute path or nothing": ("/", ["relative"]),
    "at most 64 bytes": ("name", ["é" * 33, "a" * 65]),
    "one line": ("line", ["two\nlines"]),
    "numbers and ranges such as 0-3,7": ("0-3,7", ["a", "3-1", "1-", "-1", "1-2-3", "0:4", "12345678"]),
    "NAME=value": ("A=", ["A", "=b", ""]),
    "some of the letters rwm": ("rw", ["rx", "rwm "]),
    "the name of a file, without a slash": ("io.max", ["../a", "", "..", "a/b"]),
    "a size such as 2MB": ("2MB", ["2", "MB", "02MB", "2mb", "²MB", "2TB"]),
    "a path without ..": ("/a/b", ["/a/../b", ".."]),
    "one line MB:...": ("MB:0=20", ["L3:0=f", "MB:0\nMB:1"]),
    "a version 1.x": ("1.3.0", ["2.0.0", "", "1"]),
    "the path of a directory": ("rootfs", [""]),
    "a path in the container": ("/mnt", [""]),
    "a name": ("org.example", [""]),
}


def sample(kind):
    """A value that fits."""
    if isinstance(kind, Object):
        return {name: sample(kind.members[name]) for name in kind.required}
    if isinstance(kind, List):
        return [sample(kind.item)]
    if isinstance(kind, Map):
        return {sample(kind.name): sample(kind.item)}
    if isinstance(kind, Text):
        return TEXTS[kind.expected][0]
    if isinstance(kind, Word):
        return min(kind.words - {""})
    return True if isinstance(kind, Flag) else kind.low


def wrong_values(kind):
    """Values of other types, then some of the type that do not fit."""
    others = {Flag: [0, "true"], Number: ["1", 1.5, True], Text: [7, True, ["a"]], Word: [7, ["a"], {"a": 1}]}
    for name, values in others.items():
        if isinstance(kind, name):
            yield from [*values, {}]
    if isinstance(kind, (Object, Map)):
        yield from [[], "object", 0]
    if isinstance(kind, List):
        yield from [{}, "list", 0, sample(kind.item) if not isinstance(kind.item, List) else 0]
    if isinstance(kind, Number):
        yield from [kind.low - 1, kind.high + 1, 10**30]
    if isinstance(kind, Text):
        yield from TEXTS[kind.expected][1]
    if isinstance(kind, Word):
        yield from ["something", min(kind.words - {""}).swapcase()]


def places(kind, path=()):
    """Every property, as (its path, its kind). A number in a path is a place in a list."""
    yield path, kind
    if isinstance(kind, Object):
        for name, member in kind.members.items():
            yield from places(member, (*path, name))
    elif isinstance(kind, List):
        yield from places(kind.item, (*path, 0))
    elif isinstance(kind, Map):
        yield from places(kind.item, (*path, sample(kind.name)))


def at(path, value, kind=CONFIG):
    """A sample of ``kind`` with ``value`` at ``path``."""
    if not path:
        return value
    if isinstance(kind, List):
        return [at(path[1:], value, kind.item)]
    if isinstance(kind, Map):
        return {path[0]: at(path[1:], value, kind.item)}
    return {**sample(kind), path[0]: at(path[1:], value, kind.members[path[0]])}


def told(path):
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.lstrip(".") or "config.json"


PLACES = list(places(CONFIG))


def test_the_schema_has_every_property():
    """A number that only grows: 1.3 has so many for Linux."""
    assert len(PLACES) > 200


@pytest.mark.parametrize(("path", "kind"), PLACES, ids=[told(path) for path, _kind in PLACES])
def test_a_wrong_value_is_told_with_its_path(path, kind):
    if path:
        CONFIG.check(at(path, sample(kind)))
        CONFIG.check(at(path, None)) if not _required(path) else None
    for value in wrong_values(kind):
        with pytest.raises(InvalidOption) as caught:
            validate_config(at(path, value))
        assert caught.value.option == told(path)
        assert (caught.value.value, type(caught.value.value)) == (value, type(value))
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000


def _required(path):
    kind = CONFIG
    for part in path[:-1]:
        kind = kind.item if isinstance(kind, (List, Map)) else kind.members[part]
    return not isinstance(kind, Object) or path[-1] in kind.required


REQUIRED = [
    (path, name) for path, kind in PLACES if isinstance(kind, Object) for name in (*kind.required,)
]  # fmt: skip


@pytest.mark.parametrize(("path", "name"), REQUIRED, ids=[told((*path, name)) for path, name in REQUIRED])
@pytest.mark.parametrize("how", ["missing", "null"])
def test_what_is_required_is_missed(path, name, how):
    kind = dict(PLACES)[path]
    value = sample(kind)
    if how == "null":
        value[name] = None
    else:
        del value[name]
    with pytest.raises(InvalidOption) as caught:
        validate_config(at(path, value))
    assert (caught.value.option, caught.value.value) == (told((*path, name)), None)
    assert "required" in str(caught.value)


def test_a_fault_is_one_line_whatever_the_names_and_values():
    for path, value in ((("annotations",), {"a\nb" * 99: 1}), (("hostname",), "a\n" * 4000), (("mounts",), deep(800))):
        with pytest.raises(InvalidOption) as caught:
            validate_config(at(path, value))
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 700
        str(caught.value).encode()


def deep(levels):
    value = []
    for _level in range(levels):
        value = {"a": value}
    return value


BASE = {
    "ociVersion": "1.3.0",
    "root": {"path": "rootfs"},
    "process": {"cwd": "/", "args": ["true"], "user": {"uid": 0, "gid": 0}},
    "linux": {"namespaces": [{"type": "mount"}, {"type": "uts"}, {"type": "network"}]},
}


def changed(path, value):
    spec = copy.deepcopy(BASE)
    holder = spec
    for part in path.split(".")[:-1]:
        holder = holder.setdefault(part, {})
    holder[path.split(".")[-1]] = value
    return spec


TOGETHER = [
    ("process.args", [], "process.args"),
    ("process.args", [""], "process.args"),
    ("process.terminal", True, ""),
    ("process.rlimits", [{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}], "process.rlimits[0].soft"),
    ("process.rlimits", [{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}] * 2, "process.rlimits[1].type"),
    ("linux.namespaces", [{"type": "mount"}] * 2, "linux.namespaces[1].type"),
    ("linux.namespaces", [{"type": "mount"}, {"type": "user"}], "linux.uidMappings"),
    ("linux.namespaces", [{"type": "mount"}, {"type": "net", "path": "/proc/self/ns/uts"}], "linux.namespaces[1].type"),
    ("linux.uidMappings", [{"containerID": 0, "hostID": 0, "size": 1}], "linux.uidMappings"),
    ("linux.devices", [{"path": "/dev/a", "type": "c", "major": 1}], "linux.devices[0].minor"),
    ("linux.devices", [{"path": "/dev/a", "type": "b", "major": 4096, "minor": 0}], "linux.devices[0].major"),
    ("linux.devices", [{"path": "/dev/a", "type": "p"}], ""),
    ("linux.resources", {"cpu": {"quota": 1000, "burst": 1001}}, "linux.resources.cpu.burst"),
    ("linux.resources", {"cpu": {"quota": -1, "burst": 1001}}, ""),
    (
        "linux.resources",
        {"blockIO": {"weightDevice": [{"major": 8, "minor": 0}]}},
        "linux.resources.blockIO.weightDevice[0]",
    ),
    ("linux.resources", {"rdma": {"mlx5_1": {}}}, "linux.resources.rdma.mlx5_1"),
    ("linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "a"}, "linux.seccomp.listenerMetadata"),
    ("hostname", "a", ""),
    (
        "mounts",
        [{"destination": "/a", "uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]}],
        "mounts[0].gidMappings",
    ),
]


@pytest.mark.parametrize(("path", "value", "option"), TOGETHER)
def test_what_does_not_go_together(path, value, option):
    if not option:
        validate_config(changed(path, value))
        return
    with pytest.raises(InvalidOption) as caught:
        validate_config(changed(path, value))
    assert caught.value.option == option


@pytest.mark.parametrize(
    "path", ["/proc/self/ns/uts", "/nonexistent", "/etc/passwd", "/dev/null", "/", "/proc/self/ns/nothing"]
)
def test_a_namespace_of_another_type_is_refused(path):
    entries = [{"type": "mount"}, {"type": "network", "path": path}]
    with pytest.raises(InvalidOption, match=r"^linux\.namespaces\[1\]\.path: .* expected a network namespace"):
        validate_config(changed("linux.namespaces", entries))
    entries[1]["path"] = "/proc/self/ns/net"
    validate_config(changed("linux.namespaces", entries))


def test_a_fifo_for_a_path_keeps_nobody_waiting(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    with pytest.raises(RuntimeFailed, match="not a regular file"):
        read_config(str(tmp_path))
    with pytest.raises(InvalidOption, match="network namespace"):
        entries = [{"type": "mount"}, {"type": "network", "path": str(tmp_path / "config.json")}]
        validate_config(changed("linux.namespaces", entries))


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, "1" * 5000, "nul", '{"a": \x00}', "\ufeff{}", "{}{}"])
def test_what_is_not_json_is_one_line(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises((RuntimeFailed, InvalidOption)) as caught:
        read_config(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_bundle_without_a_configuration(tmp_path):
    with pytest.raises(NotFound, match=r"no config\.json"):
        read_config(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(BASE))
    assert read_config(str(tmp_path)) == BASE


def test_a_process_on_its_own_has_paths_of_its_own():
    validate_process(BASE["process"])
    for process, option in (
        ({"cwd": "/"}, "process.args"),
        ([], "process"),
        ({**BASE["process"], "env": ["A=b", 1]}, "process.env[1]"),
    ):
        with pytest.raises(InvalidOption) as caught:
            validate_process(process)
        assert caught.value.option == option
