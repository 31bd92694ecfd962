# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A profile in docker's form becomes OCI's: its conditions are looked at once, and what is no profile is refused."""

from __future__ import annotations

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.errors import InvalidOption
from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.seccomp_docker import oci_seccomp


def fitted(*rules, capabilities=("CAP_CHOWN",), architecture="x86_64", kernel=(6, 1), **profile):
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": list(rules), **profile}
    return oci_seccomp(profile, capabilities=capabilities, architecture=architecture, kernel=kernel)


def rule(name, **more):
    return {"names": [name], "action": "SCMP_ACT_ALLOW", **more}


@pytest.mark.parametrize(
    ("condition", "applies"),
    [
        ({}, True),
        ({"includes": {}, "excludes": None}, True),
        ({"includes": {"caps": ["CAP_CHOWN"]}}, True),
        ({"includes": {"caps": ["CAP_CHOWN", "CAP_KILL"]}}, False),
        ({"excludes": {"caps": ["CAP_CHOWN", "CAP_KILL"]}}, False),
        ({"excludes": {"caps": ["CAP_KILL"]}}, True),
        ({"includes": {"arches": ["amd64", "arm64"]}}, True),
        ({"includes": {"arches": ["s390x"]}}, False),
        ({"excludes": {"arches": ["amd64"]}}, False),
        ({"includes": {"minKernel": "4.8"}}, True),
        ({"includes": {"minKernel": "6.1"}}, True),
        ({"includes": {"minKernel": "6.10"}}, False),
        ({"excludes": {"minKernel": "6.1"}}, False),
        ({"excludes": {"minKernel": "6.2"}}, True),
        ({"includes": {"caps": ["CAP_CHOWN"]}, "excludes": {"arches": ["amd64"]}}, False),
    ],
)
def test_conditions(condition, applies):
    assert fitted(rule("read", **condition))["syscalls"] == ([rule("read")] if applies else [])


def test_architectures_are_this_machine_s_and_those_that_go_with_it():
    entries = [
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        {"architecture": "SCMP_ARCH_RISCV64", "subArchitectures": None},
    ]
    assert fitted(archMap=entries)["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert fitted(archMap=entries, architecture="riscv64")["architectures"] == ["SCMP_ARCH_RISCV64"]
    assert fitted(archMap=entries, architecture="s390x")["architectures"] == []
    assert fitted(architectures=["SCMP_ARCH_X86"])["architectures"] == ["SCMP_ARCH_X86"]


def test_what_is_oci_s_goes_through_and_what_is_a_comment_does_not():
    given = rule("socket", errnoRet=1, args=[{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}])
    found = fitted({**given, "comment": "why"}, {"name": "read", "action": "SCMP_ACT_LOG"}, defaultErrnoRet=38)
    assert found["syscalls"] == [given, {"names": ["read"], "action": "SCMP_ACT_LOG"}]
    assert (found["defaultAction"], found["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 38)


@pytest.mark.parametrize(
    ("profile", "option"),
    [
        ([], "defaultAction"),
        ({}, "defaultAction"),
        ({"defaultAction": 1}, "defaultAction"),
        ({"syscalls": {}}, "syscalls"),
        ({"syscalls": ["read"]}, "syscalls"),
        ({"archMap": "x86"}, "archMap"),
        ({"syscalls": [rule("read", includes=[])]}, "syscalls[0].includes"),
        ({"syscalls": [rule("read"), rule("write", excludes={"caps": 1})]}, "syscalls[1].excludes"),
        ({"syscalls": [rule("read", includes={"minKernel": "new"})]}, "syscalls[0].includes.minKernel"),
    ],
)
def test_what_is_no_profile_is_refused(profile, option):
    if isinstance(profile, dict) and profile and "defaultAction" not in profile:
        profile = {"defaultAction": "SCMP_ACT_ALLOW", **profile}
    with pytest.raises(InvalidOption) as caught:
        oci_seccomp(profile, capabilities=(), architecture="x86_64", kernel=(6, 1))
    assert caught.value.option == option
