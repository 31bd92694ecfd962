# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line: `python -m tests.fleet up|down|exec|status|leftovers`."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from . import fleet
from .errors import FleetError
from .state import State
from .traces import leftovers


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fleet", description="Test hosts, reached over real SSH.")
    parser.add_argument("--name", default="default", help="the fleet's name (default: %(default)s)")
    named = argparse.ArgumentParser(add_help=False)
    named.add_argument("--name", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", parents=[named], help="make the hosts; prints the path of the inventory")
    up.add_argument("--backend", choices=fleet.BACKENDS, default="namespace")
    up.add_argument("hosts", nargs="+", metavar="HOST")
    commands.add_parser("down", parents=[named], help="end them and remove everything of them")
    commands.add_parser("status", help="list all fleets of this tree")
    run = commands.add_parser("exec", parents=[named], help="run a program on a host: exec HOST -- ARGV...")
    run.add_argument("host")
    run.add_argument("argv", nargs=argparse.REMAINDER)
    left = commands.add_parser(
        "leftovers",
        help="list what bears a name of Stowage's or a fleet's on this machine; status 1 when anything does",
    )
    left.add_argument("--only", metavar="NAME", help="of all that, only what belongs to this fleet")
    return parser.parse_args(argv)


def run_up(name: str, backend: str, hosts: list[str]) -> int:
    start = time.monotonic()
    made = fleet.up(name, hosts, backend=backend)
    took = time.monotonic() - start
    sys.stderr.write(f"{', '.join(hosts)} up in {took:.1f} s ({backend}); ssh -F {made.ssh_config} {hosts[0]}\n")
    sys.stdout.write(f"{made.inventory}\n")
    return 0


def run_status() -> int:
    row = "{:<12} {:<10} {:<16} {:<16} {:<8} {}\n".format
    sys.stdout.write(row("FLEET", "BACKEND", "HOST", "ADDRESS", "PID", "STATE"))
    for path in sorted(fleet.BUILD.glob("*/state.json")):
        state = State.load(path.parent)
        if not state:
            continue  # taken down meanwhile
        for host in state.hosts:
            told = "up" if host.alive and state.ready else "half made" if host.alive else "dead"
            sys.stdout.write(
                row(state.name, state.backend, host.name, host.address, host.process.pid if host.process else "-", told)
            )
    return 0


def run_exec(name: str, host: str, argv: list[str]) -> int:
    found = fleet.load(name)
    if not found:
        raise FleetError(f"fleet {name} is not up; make it: python -m tests.fleet --name {name} up {host}")
    argv = argv[1:] if argv[:1] == ["--"] else argv
    return subprocess.run(found.node(host).argv(argv or ["/bin/sh", "-i"]), check=False).returncode


def main() -> int:
    options = parse_arguments(sys.argv[1:])
    try:
        if options.command == "up":
            return run_up(options.name, options.backend, options.hosts)
        if options.command == "exec":
            return run_exec(options.name, options.host, options.argv)
        if options.command == "status":
            return run_status()
        if options.command == "down":
            fleet.down(options.name)
            return 0
        found = fleet.leftovers_of(options.only) if options.only else leftovers()
        sys.stdout.write("".join(f"{item}\n" for item in found))
        return 1 if found else 0
    except FleetError as error:
        sys.stderr.write(f"fleet: {error}\n")
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
