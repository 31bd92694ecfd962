# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What containers show to one another: whose names stand in whose /etc/hosts, and where published ports lead."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ansible_collections.stowage.engine.plugins.module_utils._engine.exposure import (
    apply_names,
    forwards_of,
    names_of,
    write_container_files,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.container import (
    Attachment,
    Container,
    ContainerState,
    Port,
)
from ansible_collections.stowage.engine.plugins.module_utils._engine.model.network import Network
from ansible_collections.stowage.engine.plugins.module_utils._engine.network.ports import Forward
from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

NETWORKS = {
    "front": Network("front", "10.1.0.0/24", "10.1.0.1", 1500, "10.1.0.0/24", names=(("remote", "10.1.9.9"),)),
    "back": Network("back", "10.2.0.0/24", "10.2.0.1", 1500, "10.2.0.0/24", names=(("db", "10.2.0.3"),)),
}
WEB = Container(
    "web",
    "site",
    hostname="www",
    networks=(Attachment("front", "10.1.0.2", ("shop",)), Attachment("back", "10.2.0.2")),
    ports=(Port(8080, 80), Port(53, 53, "udp", "192.0.2.1")),
    extra_hosts=(("ntp", "10.9.9.9"),),
)
DB = Container("db", "db", networks=(Attachment("back", "10.2.0.3", ("sql",)),))
ALONE = Container("alone", "site")


def test_ports_lead_to_the_address_on_the_first_network() -> None:
    assert forwards_of(WEB) == [
        Forward("tcp", "0.0.0.0", 8080, "10.1.0.2", 80),
        Forward("udp", "192.0.2.1", 53, "10.1.0.2", 53),
    ]
    assert forwards_of(replace(WEB, networks=())) == []


def test_a_container_knows_itself_its_neighbours_and_its_networks_names() -> None:
    assert names_of(WEB, NETWORKS, [WEB, DB, ALONE]) == [
        ("10.1.0.2", ["www", "web", "shop"]),
        ("10.2.0.2", ["www", "web"]),
        ("10.2.0.3", ["db", "sql"]),  # the network's own `db` says the same, once
        ("10.1.9.9", ["remote"]),
        ("10.9.9.9", ["ntp"]),
    ]


def test_a_container_does_not_know_who_is_on_other_networks() -> None:
    assert names_of(DB, NETWORKS, [WEB, DB]) == [("10.2.0.3", ["db", "sql"]), ("10.2.0.2", ["web"])]
    assert names_of(ALONE, NETWORKS, [WEB, DB, ALONE]) == []


def test_files_for_a_container_are_written_and_its_last_exit_forgotten(tmp_path: Path) -> None:
    paths = Paths(str(tmp_path / "root"), str(tmp_path / "run"))
    run = Path(paths.container_run("web"))
    run.mkdir(parents=True)
    (run / "exit.json").write_text("{}")
    write_container_files(paths, WEB, NETWORKS, [WEB])
    assert sorted(os.listdir(run)) == ["hostname", "hosts", "resolv.conf"]
    assert (run / "hostname").read_text() == "www\n"
    assert "10.1.0.2\twww web shop\n" in (run / "hosts").read_text()
    assert "nameserver 127." not in (run / "resolv.conf").read_text()


@pytest.mark.parametrize("running", [True, False])
def test_names_change_in_place_where_a_container_runs(tmp_path: Path, running: bool) -> None:
    paths = Paths(str(tmp_path / "root"), str(tmp_path / "run"))
    write_container_files(paths, WEB, NETWORKS, [WEB])
    hosts = Path(paths.container_run("web"), "hosts")
    inode, before = hosts.stat().st_ino, hosts.read_text()
    Path(paths.container_run("db")).mkdir()
    states = [ContainerState(WEB, pid=7 if running else 0), ContainerState(DB, pid=8)]
    apply_names(paths, NETWORKS, states)
    assert hosts.stat().st_ino == inode, "it is bind-mounted: another file would not be seen"
    assert ("10.2.0.3\tdb sql\n" in hosts.read_text()) == running
    assert (hosts.read_text() == before) != running
