# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Preflight's findings, on fake roots and on this very host: what is there is told, what is missing says what to do."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine import preflight
from ansible_collections.stowage.engine.plugins.module_utils._engine.preflight import (
    FAILED,
    OK,
    WARNING,
    Finding,
    observe_findings,
)

RELEASE = os.uname().release
FEATURES = ("overlay", "bridge", "veth", "vxlan", "nf_tables")


def write(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())


def features(root: Path) -> dict[str, Finding]:
    found = {finding.check: finding for finding in observe_findings("stowage-test", str(root))}
    return {name: found[f"kernel feature {name}"] for name in FEATURES}


def test_every_finding_says_what_was_found_and_a_bad_one_what_to_do() -> None:
    findings = observe_findings("stowage-test")
    checks = [finding.check for finding in findings]
    assert checks[:5] == ["privilege", "kernel", "python", "namespaces", "seccomp"]
    assert checks[-3:] == ["cgroups", "pyroute2", "nftables"]
    assert len(set(checks)) == len(checks)
    for finding in findings:
        assert finding.status in (OK, WARNING, FAILED)
        assert finding.found
        assert bool(finding.advice) == (finding.status != OK)


def test_this_host_has_what_its_tests_need() -> None:
    found = {finding.check: finding for finding in observe_findings("stowage-test")}
    assert found["kernel"].status == OK
    assert found["kernel"].found.startswith(f"Linux {RELEASE}")
    assert found["namespaces"].status == OK
    assert found["seccomp"].status == OK


@pytest.mark.parametrize(
    ("release", "status"), [("5.18.0-1-amd64", WARNING), ("5.19.0", OK), ("6.1.0-18-amd64", OK), ("unknown", WARNING)]
)
def test_kernels_that_mount_layers_with_other_ids(release: str, status: str) -> None:
    found = preflight._own_ids(release)
    assert found.status == status
    assert status == OK or "Linux 5.19 or newer" in found.advice


@pytest.mark.parametrize("release", ["5.3", "5.10.0-28-amd64", "6.18.0", "10.0+", "6.1+custom"])
def test_kernels_that_are_new_enough(release: str) -> None:
    assert preflight._kernel(release).status == OK


@pytest.mark.parametrize("release", ["5.2.9", "4.18.0-553.el8", "3.10", "odd"])
def test_kernels_that_are_too_old(release: str) -> None:
    assert preflight._kernel(release) == Finding("kernel", FAILED, f"Linux {release}", "Linux 5.3 or newer is needed")


def test_who_is_not_root_is_told_how_to_become_it() -> None:
    assert preflight._privilege(0).status == OK
    assert preflight._privilege(1000) == Finding("privilege", FAILED, "user id 1000", "run with become: true")


def test_an_empty_root_has_nothing(tmp_path: Path) -> None:
    found = {finding.check: finding for finding in observe_findings("stowage-test", str(tmp_path))}
    assert found["namespaces"].status == FAILED
    assert found["namespaces"].found == "missing: mnt, pid, uts, ipc, net, cgroup, user"
    assert found["seccomp"].status == FAILED
    assert {finding.status for finding in features(tmp_path).values()} == {WARNING}
    assert features(tmp_path)["overlay"].found == "unknown: no kernel configuration to read"


def test_user_namespaces_may_be_missing(tmp_path: Path) -> None:
    for name in ("mnt", "pid", "uts", "ipc", "net", "cgroup"):
        write(tmp_path, f"proc/self/ns/{name}", "")
    found = {finding.check: finding for finding in observe_findings("stowage-test", str(tmp_path))}
    assert found["namespaces"].status == WARNING
    assert found["namespaces"].found == "missing: user"


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("proc/config.gz", "CONFIG_OVERLAY_FS=m\nCONFIG_VETH=y\n# CONFIG_VXLAN is not set\n"),
        (f"boot/config-{RELEASE}", "CONFIG_OVERLAY_FS=y\nCONFIG_VETH=m\n"),
        (
            f"lib/modules/{RELEASE}/modules.dep",
            "kernel/fs/overlayfs/overlay.ko.xz:\nkernel/drivers/net/veth.ko: x.ko\n",
        ),
        (f"lib/modules/{RELEASE}/modules.builtin", "kernel/fs/overlayfs/overlay.ko\nkernel/drivers/net/veth.ko\n"),
    ],
)
def test_features_are_found_wherever_a_host_keeps_them(tmp_path: Path, file: str, text: str) -> None:
    write(tmp_path, file, text)
    found = features(tmp_path)
    assert (found["overlay"].status, found["veth"].status) == (OK, OK)
    assert (found["vxlan"].status, found["vxlan"].found) == (WARNING, "missing")
    assert "overlay networks" in found["vxlan"].advice


def test_a_module_with_a_dash_in_its_file_is_found(tmp_path: Path) -> None:
    write(tmp_path, f"lib/modules/{RELEASE}/modules.dep", "kernel/net/netfilter/nf-tables.ko:\n")
    assert features(tmp_path)["nf_tables"].status == OK


def test_without_overlayfs_there_are_no_containers(tmp_path: Path) -> None:
    write(tmp_path, "proc/config.gz", "CONFIG_VETH=y\n")
    assert (features(tmp_path)["overlay"].status, features(tmp_path)["overlay"].found) == (FAILED, "missing")


def test_what_is_loaded_is_there_without_a_configuration(tmp_path: Path) -> None:
    write(tmp_path, "proc/filesystems", "nodev\tproc\nnodev\toverlay\n\text4\n")
    write(tmp_path, "sys/module/veth/refcnt", "0\n")
    found = features(tmp_path)
    assert (found["overlay"].status, found["veth"].status, found["vxlan"].status) == (OK, OK, WARNING)
