# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a container gets unless told otherwise is what docker gives: held against facts of moby.

Facts are stated here, not its text. The list of capabilities, paths and device rules: moby, daemon/pkg/oci/defaults.go
and caps/defaults.go (2026). The seccomp profile: seccomp/default.json of github.com/moby/profiles (June 2026), of which
the verdicts for every system call are a fact: their digest stands here for each architecture. With a profile's path in
STOWAGE_TEST_MOBY_PROFILE the digests are computed from that file instead, as they must be anew where a table of system
calls has grown.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.capabilities import (
    CAPABILITIES,
    DEFAULT_CAPABILITIES,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.seccomp import compile_filter
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.seccomp_default import default_profile
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.seccomp_docker import oci_seccomp
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.seccomp_profile import ARCHITECTURES
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.syscalls import syscall_numbers
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.container import Container
from ansible_collections.stowage.engine.plugins.module_utils._engine.runtime.steps.devices import DEFAULT_DEVICES
from ansible_collections.stowage.engine.plugins.module_utils._engine.shim.provisions import (
    Provisions,
    observe_sysctls,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.shim.spec import oci_spec
from tests.unit.linux.bpf_machine import decode, run, seccomp_data

VERDICTS = {
    "x86_64": "2b542242065c193c359a772e4925035d",
    "aarch64": "a5b5d99fe524ce2aa74692101ea1fa6b",
    "riscv64": "1dbc76713de92e065cc329464fe5366a",
    "ppc64le": "9782adbb5519d1b89d677cf2e4ea35fc",
    "s390x": "fc7248732e0a020d69e1b06749d67aa3",
    "loongarch64": "b11be009c67e94205130cd4accbd55be",
}
# First arguments that rules look at: personalities, families of sockets, flags of clone.
PROBES = (0, 1, 8, 11, 38, 40, 0x20000, 0x20008, 0x10000011, 0xFFFFFFFF)
PROFILE = os.environ.get("STOWAGE_TEST_MOBY_PROFILE", "")


def profile_of(capabilities, arch):
    if PROFILE:
        return oci_seccomp(
            json.loads(Path(PROFILE).read_text()), capabilities=capabilities, architecture=arch, kernel=(6, 18)
        )
    return default_profile(capabilities, arch)


def verdicts(arch):
    """A digest of what every system call gets: with no capabilities, docker's, each further one, all."""
    number, _bits, order = ARCHITECTURES[arch]
    sets = [(), DEFAULT_CAPABILITIES, CAPABILITIES, *((*DEFAULT_CAPABILITIES, name) for name in CAPABILITIES)]
    seen: dict[bytes, str] = {}
    digest = hashlib.sha256()
    for capabilities in sets:
        program = compile_filter(profile_of(capabilities, arch), arch)
        if program not in seen:
            code = decode(program, order)
            found = {
                name: [run(code, seccomp_data(number, call, (probe, probe), order), order) for probe in PROBES]
                for name, call in sorted(syscall_numbers(arch).items())
            }
            seen[program] = json.dumps(found)
        digest.update(seen[program].encode())
    return digest.hexdigest()[:32]


@pytest.mark.parametrize("arch", VERDICTS)
def test_the_seccomp_profile_is_dockers(arch):
    assert verdicts(arch) == VERDICTS[arch]


def spec_of(provisions):
    container = Container("web", "site:1", args=("httpd",))
    return oci_spec(container, rootfs="/r", run_directory="/run", cgroups_path="/c", provisions=provisions)


SPEC = spec_of(Provisions(sysctls=observe_sysctls(own_ids=False)))


def test_capabilities_are_dockers():
    names = """
        AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE NET_RAW SETFCAP SETGID SETPCAP SETUID
        SYS_CHROOT
    """
    wanted = {f"CAP_{name}" for name in names.split()}
    found = SPEC["process"]["capabilities"]
    assert {kind: set(held) for kind, held in found.items()} == dict.fromkeys(
        ("bounding", "effective", "permitted"), wanted
    )


def test_what_is_hidden_is_what_docker_hides():
    masked = """
        /proc/acpi /proc/asound /proc/interrupts /proc/kcore /proc/keys /proc/latency_stats /proc/sched_debug /proc/scsi
        /proc/timer_list /proc/timer_stats /sys/devices/virtual/powercap /sys/firmware
    """
    assert sorted(SPEC["linux"]["maskedPaths"]) == masked.split()
    assert SPEC["linux"]["readonlyPaths"] == ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]


def test_what_tells_of_the_processors_is_hidden_where_it_is_there():
    path = "/sys/devices/system/cpu/cpu0/thermal_throttle"
    assert path in spec_of(Provisions(masked=[path]))["linux"]["maskedPaths"]


def test_devices_are_dockers():
    assert sorted(DEFAULT_DEVICES) == ["/dev/full", "/dev/null", "/dev/random", "/dev/tty", "/dev/urandom", "/dev/zero"]
    rules = SPEC["linux"]["resources"]["devices"]
    assert rules[0] == {"allow": False, "access": "rwm"}
    allowed = {(rule["major"], rule.get("minor")) for rule in rules[1:] if rule["allow"] and rule["access"] == "rwm"}
    # Docker's own, and what runc adds: terminals (136 is pts), ptmx. Not 5:1, which is the host's console: stricter.
    assert allowed == {(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2), (136, None)}


def test_mounts_are_dockers():
    mounts = {entry["destination"]: (entry["type"], entry["options"]) for entry in SPEC["mounts"]}
    assert mounts["/proc"] == ("proc", ["nosuid", "noexec", "nodev"])
    assert mounts["/dev"] == ("tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"])
    assert mounts["/sys"] == ("sysfs", ["nosuid", "noexec", "nodev", "ro"])
    assert mounts["/sys/fs/cgroup"] == ("cgroup", ["ro", "nosuid", "noexec", "nodev"])
    assert mounts["/dev/shm"] == ("tmpfs", ["nosuid", "noexec", "nodev", "mode=1777", "size=67108864"])
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
    assert mounts["/dev/pts"] == ("devpts", pts)


def test_settings_are_dockers():
    assert SPEC["linux"]["sysctl"] == {
        "net.ipv4.ip_unprivileged_port_start": "0",
        "net.ipv4.ping_group_range": "0 2147483647",
    }


def test_new_privileges_are_not_given_which_is_stricter_than_docker():
    assert SPEC["process"]["noNewPrivileges"] is True
