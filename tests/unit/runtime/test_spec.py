"""The configuration of a container of ours, and what a configuration is held to."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import (
    InvalidOption,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux import mount as m
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.cgroup import Limits
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.container import (
    Attachment,
    Container,
    Port,
    Security,
    Volume,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.config.validate import validate_config
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.steps.mount_options import (
    parse_mount_options,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.shim.bundle import parse_container
from ansible_collections.stowage.engine.plugins.module_utils._engine.shim.logs import format_log, parse_log
from ansible_collections.stowage.engine.plugins.module_utils._engine.shim.provisions import Provisions
from ansible_collections.stowage.engine.plugins.module_utils._engine.shim.spec import (
    oci_resources,
    oci_spec,
)

FULL = Container(
    name="web",
    image="shop:1",
    args=("httpd", "-f"),
    env=(("PATH", "/opt"), ("A", "b=c")),
    user="web",
    networks=(Attachment("backplane", "10.42.1.7", ("www",)),),
    ports=(Port(8080, 80),),
    volumes=(Volume("/srv", "/data", read_only=True),),
    tmpfs=("/scratch:size=1m",),
    limits=Limits(memory=1 << 26, memory_swap=1 << 27, cpu_quota=50_000, cpu_weight=100, pids=64, cpuset_cpus="0"),
    labels=(("tier", "front"),),
    extra_hosts=(("db", "10.0.0.9"),),
    security=Security(cap_drop=("CAP_MKNOD",), read_only=True),
)


def spec_of(container):
    return oci_spec(container, rootfs="/b/rootfs", run_directory="/r", cgroups_path="/stowage/web.scope")


def test_a_definition_survives_json():
    assert parse_container(json.loads(json.dumps(asdict(FULL)))) == FULL


@pytest.mark.parametrize(("named", "expected"), [("", "stowage-default"), ("web", "web"), ("unconfined", None)])
def test_a_profile_that_the_host_has_is_for_who_names_none(named, expected):
    container = replace(FULL, security=Security(apparmor=named))
    provisions = Provisions(apparmor="stowage-default")
    spec = oci_spec(container, rootfs="/b", run_directory="/r", cgroups_path="/c", provisions=provisions)
    assert spec["process"].get("apparmorProfile") == expected
    assert "apparmorProfile" not in spec_of(FULL)["process"], "a host without AppArmor"


def test_our_own_configurations_are_valid():
    for container in (FULL, Container(name="a", image="b", args=("true",), security=Security(privileged=True))):
        validate_config(json.loads(json.dumps(spec_of(container))))


def test_what_the_model_says_is_in_the_configuration():
    spec = spec_of(FULL)
    assert spec["process"]["env"] == ["PATH=/opt", "HOSTNAME=web", "A=b=c"]
    assert "CAP_MKNOD" not in spec["process"]["capabilities"]["bounding"]
    assert spec["process"]["noNewPrivileges"] and spec["root"]["readonly"]
    mounts = {entry["destination"]: entry for entry in spec["mounts"]}
    assert mounts["/data"]["options"] == ["rbind", "rprivate", "nodev", "ro"]
    assert mounts["/scratch"]["options"] == ["noexec", "nosuid", "nodev", "size=1m"]
    assert mounts["/etc/hosts"]["source"] == "/r/hosts"


@pytest.mark.parametrize(
    ("flags", "read_only", "options"),
    [
        ([], False, ["nodev", "rw"]),
        (["ro"], False, ["nodev", "ro"]),
        (["nosuid", "nodev", "noexec"], False, ["nodev", "rw", "nosuid", "noexec"]),
        (["nosuid"], True, ["nodev", "ro", "nosuid"]),
    ],
)
def test_a_volume_names_the_flags_of_its_mount(flags, read_only, options):
    container = replace(FULL, volumes=(Volume("/srv", "/data", read_only=read_only),))
    spec = oci_spec(container, rootfs="/b/rootfs", run_directory="/r", cgroups_path="/stowage/web.scope",
                    provisions=Provisions(flags={"/srv": flags}))  # fmt: skip
    found = next(entry["options"] for entry in spec["mounts"] if entry["destination"] == "/data")
    assert found == ["rbind", "rprivate", *options]


def test_limits_become_what_other_runtimes_read():
    limits = Limits(memory=1 << 26, memory_swap=1 << 27, memory_reservation=1 << 25, cpu_quota=50_000, cpu_weight=100,
                    pids=-1, cpuset_cpus="0-1", cpuset_mems="0")  # fmt: skip
    assert oci_resources(limits) == {
        "memory": {"limit": 1 << 26, "reservation": 1 << 25, "swap": 1 << 27},
        "cpu": {"cpus": "0-1", "mems": "0", "quota": 50_000, "period": 100_000, "shares": 1024},
        "pids": {"limit": -1},
    }
    assert oci_resources(Limits(memory=4096)) == {"memory": {"limit": 4096}}


def test_mount_options():
    options = parse_mount_options(["rbind", "ro", "nosuid", "rslave", "rro", "size=1m", "mode=700", "suid"])
    assert options.flags == m.MS_BIND | m.MS_REC | m.MS_RDONLY
    assert options.cleared & m.MS_NOSUID
    assert options.propagation == [m.MS_SLAVE | m.MS_REC]
    assert (options.recursive_set, options.data) == (1, "size=1m,mode=700")
    assert parse_mount_options(["ridmap"]).id_map == "ridmap"


def test_what_the_specification_does_not_know_is_ignored():
    validate_config({**spec_of(FULL), "com.example.thing": {"a": 1}})


@pytest.mark.parametrize("name", ["kernel.panic", "vm.swappiness", "net..ipv4", "kernel.hostname", "fs.file-max"])
def test_the_hosts_sysctls_are_refused(name):
    spec = spec_of(FULL)
    spec["linux"]["sysctl"] = {name: "1"}
    with pytest.raises(InvalidOption, match=r"linux\.sysctl"):
        validate_config(spec)


def test_log_lines_are_put_together_again():
    written = format_log("stdout", b"one\ntw", 0) + format_log("stderr", b"err\n", 1) + format_log("stdout", b"o\n", 2)
    assert written.startswith(b"1970-01-01T00:00:00.000000000Z stdout F one\n")
    lines = [(line.stream, line.text) for line in parse_log(iter(written.splitlines(keepends=True)))]
    assert lines == [("stdout", "one"), ("stderr", "err"), ("stdout", "two")]
    assert list(parse_log(iter([b"2026 stdout F"]))) == []
