# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The quickstart on two hosts over real SSH, step by step: what `make demo` tells, held to the letter."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import fleet, story

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def hosts() -> Iterator[fleet.Fleet]:
    fleet.down("quickstart")
    with fleet.up("quickstart", ["node-a", "node-b"]) as up:
        story.play(up, story.QUICKSTART)
        yield up
    assert fleet.leftovers_of("quickstart") == []


@pytest.fixture
def whole(hosts: fleet.Fleet) -> fleet.Fleet:
    """The hosts as the quickstart has them, whatever the test before did."""
    story.play(hosts, story.QUICKSTART)
    return hosts


def test_image_has_three_layers_and_is_shared(hosts: fleet.Fleet) -> None:
    told = hosts.node("node-a").run(["stowage", "images"]).stdout
    row = next(line for line in told.splitlines() if "quickstart:1" in line)
    assert int(row.split()[2]) >= 3, told


def test_cgroup_limits_are_in_the_kernel(hosts: fleet.Fleet) -> None:
    node = hosts.node("node-a")
    assert node.run(["cat", story.limit_file(node)]).stdout.strip() == str(96 * 1024 * 1024)


def test_client_reaches_web_by_address_and_by_name(hosts: fleet.Fleet) -> None:
    a, b = hosts.nodes
    address = story.containers(a)["web"]["networks"][0]["address"]
    assert "Hello" in story.fetch_inside(b, f"http://{address}/")
    assert "Hello" in story.fetch_inside(b, "http://web/")


def test_published_port_answers_from_outside(hosts: fleet.Fleet) -> None:
    assert "Hello" in story.fetch_outside(hosts.node("node-a").address, 8080)


def test_published_port_answers_on_the_host_itself(hosts: fleet.Fleet) -> None:
    a = hosts.node("node-a")
    for address in ("127.0.0.1", a.address):
        assert "Hello" in a.run(["busybox", "wget", "-q", "-O", "-", f"http://{address}:8080/"]).stdout


def test_second_run_changes_nothing(hosts: fleet.Fleet) -> None:
    again = story.play(hosts, story.QUICKSTART, "--diff")
    assert again.changed == {"node-a": 0, "node-b": 0}, again.output
    assert not any(again.subjects.values())


def test_drift_is_seen_exactly_and_repaired(whole: fleet.Fleet) -> None:
    a, b = whole.nodes
    pid = story.containers(b)["client"]["pid"]
    story.spoil_limit(a)
    story.spoil_fdb(a)
    story.kill_container(a, "web")
    before = story.state_of(a)

    check = story.play(whole, story.QUICKSTART, "--check", "--diff")
    assert check.subjects["node-a"] == {"cgroup quickstart", "network backplane", "container web"}
    assert check.subjects["node-b"] == set()
    assert check.changed == {"node-a": 3, "node-b": 0}
    assert story.state_of(a) == before

    real = story.play(whole, story.QUICKSTART, "--diff")
    assert real.subjects == check.subjects
    assert story.containers(b)["client"]["pid"] == pid
    assert "Hello" in story.fetch_inside(b, "http://web/")
    assert story.play(whole, story.QUICKSTART).changed == {"node-a": 0, "node-b": 0}


def test_check_mode_on_a_bare_host_tells_everything_and_writes_nothing(hosts: fleet.Fleet) -> None:
    look = "ls -lA /var/lib/stowage; ls -ld /run/stowage /usr/local/bin/stowage; ip -br link | grep '^s[bxv]-'"
    with fleet.up("bare", ["node-c"]) as bare:
        node = bare.node("node-c")
        before = node.run(["sh", "-c", look], check=False).stdout
        check = story.play(bare, story.QUICKSTART, "--check", "--diff")
        assert check.changed == {"node-c": 6}, check.output
        assert "image busybox:1 is not on this host" in check.output.replace("docker.io/library/", "")
        assert node.run(["sh", "-c", look], check=False).stdout == before


def test_commands_on_the_host(hosts: fleet.Fleet) -> None:
    a = hosts.node("node-a")
    assert "web" in a.run(["stowage", "ps"]).stdout
    story.fetch_outside(a.address, 8080)
    logs = a.run(["stowage", "logs", "web"])
    assert "GET" in logs.stdout + logs.stderr or "response:200" in logs.stdout + logs.stderr
    assert a.run(["stowage", "exec", "web", "cat", "/www/index.html"]).stdout.startswith("Hello")
    assert a.run(["stowage", "exec", "web", "sh", "-c", "exit 7"], check=False).returncode == 7


def test_picture(hosts: fleet.Fleet, tmp_path: Path) -> None:
    drawn = story.play(hosts, story.PICTURE, "-e", f"picture_file={tmp_path / 'p.mmd'}").output
    for word in ("node-a", "node-b", "● web", "● client", "backplane", "VXLAN 42"):
        assert word in drawn
    graph = (tmp_path / "p.mmd").read_text()
    assert graph.startswith("graph LR") and "<-->|VXLAN 42|" in graph


def test_installed_collection(hosts: fleet.Fleet, tmp_path: Path) -> None:
    """Build the collection, install it into an empty path, and run the quickstart from there."""
    galaxy = str(Path(sys.executable).with_name("ansible-galaxy"))
    subprocess.run([galaxy, "collection", "build", "--output-path", tmp_path], cwd=story.ROOT, check=True)
    tarball = next(tmp_path.glob("stowage-engine-*.tar.gz"))
    target = tmp_path / "collections"
    # Else it finds the tree itself, and has nothing to do.
    env = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(target)}
    subprocess.run([galaxy, "collection", "install", "--offline", "-p", target, tarball], env=env, check=True)
    assert (target / "ansible_collections/stowage/engine/MANIFEST.json").exists()
    assert story.play(hosts, story.QUICKSTART, collections=target).changed == {"node-a": 0, "node-b": 0}
