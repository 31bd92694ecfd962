# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images go from the controller to two hosts over real SSH, and of them only what each host lacks."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from .controller import LAYERS, Controller, Played, blobs_of, digest_of, incoming, layer

pytestmark = pytest.mark.root

PIECE = 64 << 20


def test_a_host_that_has_nine_layers_of_ten_is_sent_one(controller: Controller) -> None:
    first = controller.push("app:1", LAYERS[:9])
    told = controller.transfer(name=first).told
    assert {host: t["sent"]["blobs"] for host, t in told.items()} == {"node-a": 9, "node-b": 9}
    second = controller.push("app:2", LAYERS)
    before = [blobs_of(node) for node in controller.hosts.nodes]

    check = controller.transfer("--check", name=second)
    assert [t["changed"] for t in check.told.values()] == [True, True]
    one = {"digest": digest_of(LAYERS[9]), "size": len(LAYERS[9])}
    assert check.told["node-a"]["changes"][0]["after"]["sent"] == [one]
    assert check.told["node-b"]["sent"] == {"blobs": 1, "bytes": len(LAYERS[9])}
    assert [blobs_of(node) for node in controller.hosts.nodes] == before
    assert digest_of(LAYERS[9])[7:] not in controller.kept()

    real = controller.transfer(name=second)
    for node in controller.hosts.nodes:
        assert real.told[node.name]["sent"] == {"blobs": 1, "bytes": len(LAYERS[9])}
        assert real.told[node.name]["changes"] == check.told[node.name]["changes"]
        assert real.told[node.name]["image"]["layers"] == [digest_of(content) for content in LAYERS]
        assert real.told[node.name]["image"]["missing"] == []
        assert incoming(node) == ""
    assert "[node-a] sending " + second + ", 1 blobs: 0 B of 307 kB" in real.output
    again = controller.transfer(name=second)
    assert [(t["changed"], t["sent"]["blobs"]) for t in again.told.values()] == [(False, 0), (False, 0)]


def test_the_registry_is_asked_for_a_blob_once_for_all_hosts(controller: Controller) -> None:
    name = controller.push("once:1", LAYERS[:3])
    (controller.directory / "log").write_text("")
    told = controller.transfer(name=name).told
    assert {t["image"]["digest"] for t in told.values()} == {told["node-a"]["image"]["digest"]}
    asked = re.findall(r'"GET /v2/once/blobs/(sha256:[0-9a-f]{64})', (controller.directory / "log").read_text())
    assert sorted(asked) == sorted({*asked}) and {*map(digest_of, LAYERS[:3])} <= {*asked}


def test_check_mode_on_a_bare_fleet_keeps_nothing_anywhere(controller: Controller) -> None:
    name = controller.push("bare:1", LAYERS[:2])
    told = controller.transfer("--check", name=name).told
    assert {t["sent"]["bytes"] for t in told.values()} == {sum(map(len, LAYERS[:2]))}
    assert not controller.cache.exists()
    for node in controller.hosts.nodes:
        assert blobs_of(node) == set() and incoming(node) == ""


def test_what_came_before_a_break_is_not_sent_again(controller: Controller) -> None:
    """A blob that came whole, half of another, and a piece of a third that is not what it should be."""
    name = controller.push("resume:1", LAYERS[:4])
    node = controller.hosts.node("node-a")
    place = "/root/.ansible/tmp/stowage-incoming"
    node.run(["mkdir", "-p", place])
    pieces = {0: LAYERS[0], 1: LAYERS[1][:100_000]}
    for number, content in pieces.items():
        path = f"{place}/{digest_of(LAYERS[number]).replace(':', '-')}.0"
        subprocess.run(node.argv(["tee", path]), input=content, stdout=subprocess.DEVNULL, check=True)
    expected = sum(map(len, LAYERS[:4])) - sum(map(len, pieces.values()))
    assert controller.transfer("--check", name=name, hosts="node-a").told["node-a"]["sent"]["bytes"] == expected
    told = controller.transfer(name=name, hosts="node-a").told["node-a"]
    assert told["sent"] == {"blobs": 3, "bytes": expected}
    assert told["image"]["missing"] == [] and incoming(node) == ""

    node.run(["sh", "-c", "rm -rf /var/lib/stowage/images /var/lib/stowage/layers"])
    node.run(["mkdir", "-p", place])
    path = f"{place}/{digest_of(LAYERS[2]).replace(':', '-')}.0"
    subprocess.run(node.argv(["tee", path]), input=b"\1" * 1000, stdout=subprocess.DEVNULL, check=True)
    told = controller.transfer(name=name, hosts="node-a").told["node-a"]
    assert told["image"]["missing"] == [] and incoming(node) == ""


def test_a_large_blob_goes_in_pieces(controller: Controller) -> None:
    big = layer(99, PIECE + 5_000_000)
    layout = controller.layout("big:1", [big])
    played = controller.transfer(name="big:1", src=str(layout), hosts="node-b")
    assert played.told["node-b"]["sent"] == {"blobs": 1, "bytes": len(big)}
    assert played.told["node-b"]["image"]["layers"] == [digest_of(big)]
    assert controller.kept() == set()  # a layout is sent from where it is


@pytest.mark.parametrize("form", ["oci-archive", "docker-archive"])
def test_an_archive_on_the_controller(controller: Controller, form: str) -> None:
    layout = controller.layout("example.com/carried:1", LAYERS[:3])
    path = controller.directory / "carried.tar"
    source = f"oci:{layout}:example.com/carried:1"
    subprocess.run(["skopeo", "copy", "-q", source, f"{form}:{path}:example.com/carried:1"], check=True)
    told = controller.transfer(name="example.com/carried:1", src=str(path)).told
    for node in controller.hosts.nodes:
        assert told[node.name]["image"]["layers"] == [digest_of(content) for content in LAYERS[:3]]
    again = controller.transfer(name="example.com/carried:1", src=str(path)).told
    assert not any(t["changed"] for t in again.values())


def test_a_tag_that_moves_is_followed_when_asked_for(controller: Controller) -> None:
    name = controller.push("moving:1", LAYERS[:1])
    first = controller.transfer(name=name).told["node-a"]["image"]["digest"]
    controller.push("moving:1", LAYERS[:2])
    kept = controller.transfer(name=name).told
    assert not any(t["changed"] for t in kept.values())
    moved = controller.transfer(name=name, pull="always").told
    digests = {t["image"]["digest"] for t in moved.values()}
    assert len(digests) == 1 and first not in digests
    assert {t["sent"]["blobs"] for t in moved.values()} == {1}


def test_a_host_with_a_policy_takes_what_it_accepts_alone(controller: Controller) -> None:
    name = controller.push("strict:1", LAYERS[:1])
    policy = {"stowage.engine.image_policy": {"default": "reject"}}
    controller.play([{**policy, "register": "told"}], hosts="node-b")
    try:
        refused = controller.transfer(name=name, failing=True)
        assert "node-b" not in refused.told and refused.told["node-a"]["changed"]
        assert "the policy rejects it" in refused.output
        assert blobs_of(controller.hosts.node("node-b")) == set()
    finally:
        policy = {"stowage.engine.image_policy": {"state": "absent"}}
        controller.play([{**policy, "register": "told"}], hosts="node-b")


def test_errors_say_what_to_do_and_no_secret(controller: Controller) -> None:
    name = f"{controller.registry}/nowhere:1"
    failed = controller.transfer("-vvv", name=name, username="u", password="s3cret-word", failing=True)
    assert "on the controller: " in failed.output and "nowhere" in failed.output
    name = controller.push("quiet:1", LAYERS[:1])
    told = controller.transfer("-vvv", name=name, username="u", password="s3cret-word")
    assert "s3cret-word" not in failed.output + told.output
    failed = controller.transfer(name="x:1", src="nowhere.tar", failing=True)
    assert "nowhere.tar" in failed.output


def test_a_lock_holds_all_hosts_to_the_same_bytes(controller: Controller) -> None:
    name = controller.push("locked:1", LAYERS[:1])
    file = controller.directory / "images.lock.json"

    def lock(*arguments: str, **options: Any) -> Played:
        options = {"cache": str(controller.cache), "insecure": True, "name": name, **options}
        return controller.play([{"stowage.engine.image_lock": options, "register": "told"}], *arguments)

    check = lock("--check").told
    assert all(told["changed"] for told in check.values()) and not file.exists() and not controller.cache.exists()
    written = lock().told
    assert sorted(told["changed"] for told in written.values()) == [False, True]  # whoever came first wrote it
    content = file.read_bytes()
    digest = check["node-a"]["changes"][0]["after"]["digest"]
    assert json.loads(content) == {"images": {name: digest}, "version": 1}
    assert ".images.lock.json.tmp" not in os.listdir(controller.directory)

    controller.push("locked:1", LAYERS[:2])
    assert not any(told["changed"] for told in lock().told.values())
    assert file.read_bytes() == content
    moved = lock("--check", update=True).told
    assert all(told["changes"][0]["before"]["digest"] == digest for told in moved.values())
    assert file.read_bytes() == content

    pinned = written["node-a"]["images"][name]["pinned"]
    sent = controller.transfer(name=f"{{{{ lookup('stowage.engine.locked', '{name}') }}}}").told
    for told in sent.values():
        assert (told["image"]["digest"], told["image"]["name"]) == (digest, pinned)

    updated = lock(update=True).told
    assert sorted(told["changed"] for told in updated.values()) == [False, True]
    assert json.loads(file.read_bytes())["images"][name] == moved["node-b"]["changes"][0]["after"]["digest"] != digest
    gone = lock(state="absent").told
    assert any(told["changed"] for told in gone.values()) and json.loads(file.read_bytes())["images"] == {}
    failed = controller.transfer(name=f"{{{{ lookup('stowage.engine.locked', '{name}') }}}}", failing=True)
    assert f"does not lock {name}" in failed.output


def test_an_ordinary_login_user_who_becomes_root(controller: Controller) -> None:
    """Blobs come to the login user's home; root takes them from there."""
    node = controller.hosts.node("node-a")
    node.run(["sh", "-c", "id deploy 2>/dev/null || useradd --create-home --shell /bin/sh deploy"])
    node.run(["sh", "-c", "chmod 0644 /etc/stowage-fleet/authorized_keys; chmod 0755 /etc/stowage-fleet"])
    node.run(["chpasswd"], stdin="root:letmein\n")
    layout = controller.layout("deployed:1", LAYERS[:2])
    login = {"ansible_user": "deploy", "ansible_become": True, "ansible_become_method": "ansible.builtin.su"}
    more = ["--extra-vars", json.dumps({**login, "ansible_become_password": "letmein"})]
    played = controller.transfer(*more, name="deployed:1", src=str(layout), hosts="node-a")
    assert played.told["node-a"]["image"]["missing"] == []
    assert node.run(["sh", "-c", "ls -A /home/deploy/.ansible/tmp"]).stdout == ""
    assert "letmein" not in played.output


def descendants(pid: int) -> list[int]:
    """The process and all below it: Ansible's workers have sessions of their own."""
    children: list[str] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(found for child in children for found in descendants(int(child)))]


def test_killed_in_the_middle_it_goes_on_where_it_ended(controller: Controller) -> None:
    big = layer(7, 4 * PIECE)
    layout = controller.layout("broken:1", [big])
    node = controller.hosts.node("node-b")
    assert node.process
    directory = Path(f"/proc/{node.process.pid}/root/root/.ansible/tmp/stowage-incoming")  # ssh would come too late

    def come() -> int:
        with contextlib.suppress(FileNotFoundError):
            return sum(path.stat().st_size for path in directory.iterdir())
        return 0

    task = {"name": "broken:1", "src": str(layout), "cache": str(controller.cache)}
    controller.write([{"stowage.engine.image_transfer": task}], "node-b")
    process = controller.start()
    deadline = time.monotonic() + 60
    while come() <= PIECE and time.monotonic() < deadline:
        time.sleep(0.005)
    for pid in descendants(process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(10)
    left = -1
    while (found := come()) != left:  # sshd's end of it writes what it has still got
        left = found
        time.sleep(0.5)
    assert PIECE < left < len(big)
    assert "broken" not in node.run(["sh", "-c", "cat /var/lib/stowage/images/index.json 2>/dev/null || true"]).stdout
    told = controller.transfer(name="broken:1", src=str(layout), hosts="node-b").told["node-b"]
    assert told["sent"]["bytes"] <= len(big) - PIECE
    assert told["image"]["layers"] == [digest_of(big)] and told["image"]["missing"] == []
    assert incoming(node) == ""
