# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make demo`: the quickstart on two hosts made of namespaces, told as a story. `--clean` takes all of it away."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.fleet import fleet, story
from tests.fleet.errors import FleetError

NAME = "demo"
DRIFT = {"cgroup quickstart", "network backplane", "container web"}


class Teller:
    """Writes the story, with the time that each step took."""

    def __init__(self) -> None:
        self._began = self._step = time.monotonic()
        self._number = 0

    def step(self, title: str) -> None:
        self._number += 1
        self._step = time.monotonic()
        sys.stdout.write(f"\n\033[1m{self._number}. {title}\033[0m\n")
        sys.stdout.flush()

    def say(self, text: str) -> None:
        sys.stdout.write("".join(f"   {line}\n" for line in text.rstrip("\n").split("\n")))
        sys.stdout.flush()

    def done(self, text: str = "") -> None:
        self.say(f"\033[32m✓\033[0m {text + ' ' if text else ''}({time.monotonic() - self._step:.1f} s)")

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began


def expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise FleetError(otherwise)


def tell() -> None:
    """The whole story. Raises FleetError where something is not as it says."""
    teller = Teller()
    fleet.down(NAME)
    teller.step("Two hosts, node-a and node-b: namespaces of this machine, each with its own sshd, joined by a cable")
    hosts = fleet.up(NAME, ["node-a", "node-b"])
    teller.say("\n".join(f"{node.name}  {node.address}" for node in hosts.nodes))
    teller.done()
    _tell_quickstart(teller, hosts)
    _tell_drift(teller, hosts)
    _tell_what_is_there(teller, hosts)
    sys.stdout.write(
        f"\nAll of it took {teller.seconds:.0f} s. The hosts are still up; look around:\n"
        f"   ssh -F {hosts.ssh_config.relative_to(story.ROOT)} node-a stowage ps\n"
        "   make demo-clean     takes all of it away\n"
    )


def _tell_quickstart(teller: Teller, hosts: fleet.Fleet) -> None:
    a, b = hosts.nodes
    teller.step("The quickstart (playbooks/quickstart.yml): engine, image, cgroup, overlay network, containers")
    played = story.play(hosts, story.QUICKSTART)
    teller.done(f"changed: {played.changed}")

    teller.step("Containers on two hosts talk to one another")
    web = story.containers(a)["web"]["networks"][0]["address"]
    for url in (f"http://{web}/", "http://web/"):
        teller.say(f"node-b, in container client, {url}: {story.fetch_inside(b, url).strip()}")
    teller.say(f"this machine, http://{a.address}:8080/: {story.fetch_outside(a.address, 8080).strip()}")
    teller.done()

    teller.step("The same play again: nothing to do")
    played = story.play(hosts, story.QUICKSTART)
    expect(not any(played.changed.values()), f"the second run changed something: {played.changed}\n{played.output}")
    teller.done(f"changed: {played.changed}")


def _tell_drift(teller: Teller, hosts: fleet.Fleet) -> None:
    a, b = hosts.nodes
    teller.step("Someone meddles with node-a: another memory limit, a forwarding entry deleted, web's process killed")
    client = story.containers(b)["client"]["pid"]
    story.spoil_limit(a)
    story.spoil_fdb(a)
    story.kill_container(a, "web")
    before = story.state_of(a)
    teller.done()

    teller.step("--check --diff sees exactly these three, and writes nothing")
    played = story.play(hosts, story.QUICKSTART, "--check", "--diff")
    differs = [line for line in played.output.splitlines() if line[:1] in ("+", "-") and line[:3] not in ("+++", "---")]
    teller.say("\n".join(differs))
    expect(played.subjects.get("node-a") == DRIFT, f"check mode saw {played.subjects}, expected {DRIFT} on node-a")
    expect(not played.subjects.get("node-b"), f"check mode saw drift on node-b: {played.subjects}")
    expect(story.state_of(a) == before, "check mode wrote something on node-a")
    teller.done()

    teller.step("A real run repairs them; what was not touched goes on")
    played = story.play(hosts, story.QUICKSTART)
    expect(story.containers(b)["client"]["pid"] == client, "the untouched container has another process")
    teller.say(f"client on node-b still has pid {client}; web answers: {story.fetch_inside(b, 'http://web/').strip()}")
    teller.done(f"changed: {played.changed}")


def _tell_what_is_there(teller: Teller, hosts: fleet.Fleet) -> None:
    node = hosts.node("node-a")
    teller.step("On the host: stowage ps, stowage logs, stowage exec")
    for argv in (["stowage", "ps"], ["stowage", "logs", "--tail", "3", "web"], ["stowage", "exec", "web", "ps"]):
        teller.say(f"\033[2mnode-a# {' '.join(argv)}\033[0m")
        done = node.run(argv)
        teller.say(done.stdout + done.stderr)
    teller.done()

    teller.step("What runs where")
    picture = hosts.directory / "picture.mmd"
    found = story.play(hosts, story.PICTURE, "-e", f"picture_file={picture}")
    drawn = [line for line in found.output.splitlines() if any(corner in line for corner in "┌│└║")]
    teller.say("\n".join(line.strip().removeprefix("- ").strip("'\",") for line in drawn))
    teller.done(f"as a Mermaid graph: {picture.relative_to(story.ROOT)}")


def clean() -> None:
    """Take the demo's hosts away, and say what is left (nothing)."""
    fleet.down(NAME)
    found = fleet.leftovers_of(NAME)
    expect(not found, "left behind:\n" + "\n".join(found))
    sys.stdout.write("The demo's hosts are gone, and nothing of them is left.\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clean", action="store_true", help="take away all that the demo made")
    try:
        clean() if parser.parse_args().clean else tell()
    except FleetError as error:
        sys.stderr.write(f"\nThe demo stopped: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
