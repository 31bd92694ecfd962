# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``stowage-runtime --help`` and ``stowage-runtime COMMAND --help`` print."""

from __future__ import annotations

from .oci_options import HELP, OPTIONS

# Command: what comes after its name, and what it does.
_COMMANDS = {
    "create": ("ID", "make a container out of a bundle, up to the moment before its program runs"),
    "start": ("ID", "let the program of a created container run"),
    "run": ("ID", "create and start; without -d stay until it ends, remove it and exit with its status"),
    "state": ("ID", "print a container's state as JSON"),
    "kill": ("ID [SIGNAL]", "send the container's init a signal, SIGTERM where none is named"),
    "delete": ("ID", "remove a container that does not run; with -f kill it first"),
    "exec": ("ID PROGRAM [ARGUMENT ...]", "run one more program in a container; or: exec -p FILE ID"),
    "list": ("", "print the containers of --root"),
    "ps": ("ID [OPTION OF PS ...]", "print the processes of a container, as ps(1) tells of them"),
    "pause": ("ID", "stop all processes of a container where they are"),
    "resume": ("ID", "let the processes of a paused container go on"),
    "update": ("ID", "change the limits of a container that runs"),
    "events": ("ID", "print what a container uses, again and again; with --stats once"),
    "spec": ("", "write a config.json to start from into the bundle"),
    "features": ("", "print what this runtime can do as JSON"),
    "checkpoint": ("ID", "write a container's processes to files with criu(8) and stop it"),
    "restore": ("ID", "make a container out of such files and let it go on"),
}
_GLOBAL = """\
   --root DIR            where the state of containers is kept; below $STOWAGE_RUN_ROOT or /run/stowage
   --log FILE            append errors to this file as well
   --log-format FORMAT   text or json
   --debug               log each step
   --systemd-cgroup      have systemd make the cgroup; cgroupsPath is slice:prefix:name then
   --rootless WHETHER    true, false or auto: do without cgroups that may not be made
   --criu FILE           the program for checkpoint and restore
   --version, -v         print the version
   --help, -h            print this, or after a command, its options"""


def general_help() -> str:
    """All commands."""
    commands = "\n".join(f"   {name:<12}{told}" for name, (_words, told) in _COMMANDS.items())
    return f"""\
NAME:
   stowage-runtime - what has the command line of runc - Open Container Initiative runtime

USAGE:
   stowage-runtime [global options] COMMAND [options of the command] ...

COMMANDS:
{commands}

GLOBAL OPTIONS:
{_GLOBAL}
"""


def command_help(name: str) -> str:
    """One command and its options."""
    words, told = _COMMANDS[name]
    names: dict[str, list[str]] = {}
    for option, kept in {**OPTIONS[name], **HELP}.items():
        names.setdefault(kept, []).append(f"--{option}" if len(option) > 1 else f"-{option}")
    options = "\n".join(
        "   " + ", ".join(given) + {"=": " VALUE", "+": " VALUE (may be given many times)"}.get(kept[-1], "")
        for kept, given in names.items()
    )
    usage = f"stowage-runtime {name} [options] {words}".rstrip()
    return f"NAME:\n   stowage-runtime {name} - {told}\n\nUSAGE:\n   {usage}\n\nOPTIONS:\n{options}\n"
