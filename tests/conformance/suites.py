# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m tests.conformance.suites`: run the suites of other projects, and keep their results for the page (root).

--runtime-tools DIR   a checkout of opencontainers/runtime-tools; its validation programs are built with `go` from PATH
--runc DIR            a checkout of opencontainers/runc, with `make all test-binaries` done; takes `bats` from PATH
--bats-taps NAME=DIR  in its stead the outputs of `bats -t FILE.bats`, as FILE.tap, of an earlier run with runtime NAME,
                      or NAME@VERSION where that is not the one that is installed
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ansible_collections.stowage.engine.plugins.module_utils._engine.linux.inherited import set_child_subreaper

from .page import RESULTS, machine
from .programs import NAMES, Program, find_program, hide_unified, own_mounts

TIMEOUT = 120
FILE_TIMEOUT = 900
NOTE_TOOLS = """\
[opencontainers/runtime-tools](https://github.com/opencontainers/runtime-tools) {source}, its `validation` programs, run
by `python -m tests.conformance.suites` on {date}: {machine}. *pass*: exit status 0 and no `not ok`; *pass (empty)*: the
same from a program that has no test to count and tells no error; *tells an error*: no test to count, and an error is
told. What no runtime passes is mostly for the machine (controllers that are not mounted, files that Linux has no more,
root without CAP_SYS_RESOURCE) or for the program, which compares pointers, or holds runtimes against an older
specification: `poststart_fail`, `process_capabilities_fail` and `start` want what 1.3 forbids. `pidfile` kills `true`
after its start and wants it to be there still, which is luck: of 25 times each, runc 1.1.5 had it 11 times, native 3,
whose `start` waits for the program to be executed, to tell why it could not be. crun 1.8 refuses bundles of version
1.3; it gets them with the version lowered."""
NOTE_RUNC = """\
[opencontainers/runc](https://github.com/opencontainers/runc) {source}, `tests/integration`, on {date}: {machine}. A
cell is passed/failed/skipped. `run [/proc/self/exe clone]` looks for what runc's debug log tells of an overlay on its
own binary, which native, sealed otherwise (docs/architecture.md, trampoline), has no reason to say."""


def verdict(status: int, said: str) -> str:
    """Of one program, by its exit status and its TAP."""
    if status != 0 or re.search(r"^not ok(?!.*# (?:SKIP|TODO))", said, re.MULTILINE):
        return "fail"
    if re.search(r"^ok", said, re.MULTILINE):
        return "pass"
    return "tells an error" if '"error"' in said else "pass (empty)"


def build_tools(checkout: Path, into: Path) -> list[Path]:
    """The validation programs; beside them what they take from their working directory."""
    environment = {**os.environ, "GOFLAGS": "-mod=vendor", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    (into / "bin").mkdir()
    for target, package in (("bin/", "./validation/..."), ("runtimetest", "./cmd/runtimetest")):
        subprocess.run(["go", "build", "-o", into / target, package], cwd=checkout, env=environment, check=True)
    for archive in checkout.glob("rootfs-*.tar.gz"):
        shutil.copy(archive, into)
    return sorted((into / "bin").iterdir())


def lower_version(program: Program, into: Path) -> str:
    """A command that gives an old runtime its bundles with an ociVersion that it accepts."""
    if program.oci_version == "1.3.0":
        return program.command
    command = into / f"{program.name}-lowered"
    command.write_text(
        '#!/bin/sh\nprevious=\nfor word in "$@"; do\n'
        '  if [ "$previous" = --bundle ] && [ -f "$word/config.json" ]; then\n'
        f'    sed -i \'s/"ociVersion": *"1[^"]*"/"ociVersion":"{program.oci_version}"/\' "$word/config.json"\n'
        f'  fi\n  previous=$word\ndone\nexec {program.command} "$@"\n'
    )
    command.chmod(0o755)
    return str(command)


def run_tools(programs: list[Path], command: str, into: Path) -> dict[str, str]:
    """The verdict of every program on one runtime."""
    found = {}
    for path in programs:
        environment = {**os.environ, "RUNTIME": command, "TMPDIR": str(into)}
        try:
            done = subprocess.run(
                [path], cwd=path.parents[1], env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                timeout=TIMEOUT, check=False,
            )  # fmt: skip
            found[path.name] = verdict(done.returncode, done.stdout.decode(errors="replace"))
        except subprocess.TimeoutExpired:
            found[path.name] = "fail"
        sys.stdout.write(f"  {path.name}: {found[path.name]}\n")
        sys.stdout.flush()
    return found


def in_child(work: Any, *, hidden: bool) -> Any:
    """Do ``work`` in a child with a mount namespace of its own, for crun without v2; what it returns, as JSON.

    Runtimes leave mounts where a container has no mount namespace (linux_ns_itype), and what is mounted is not to be
    removed with the directory that it is in.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            own_mounts()
            if hidden:
                hide_unified()
            os.write(writer, json.dumps(work()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as stream:
        said = stream.read()
    os.waitpid(pid, 0)
    return json.loads(said)


def run_runtime_tools(checkout: Path, programs: list[Program], into: Path) -> None:
    """All programs on all runtimes; writes results/runtime-tools.json."""
    built = build_tools(checkout, into)
    results: dict[str, dict[str, str]] = {path.name: {} for path in built}
    totals = {}
    for program in programs:
        sys.stdout.write(f"==> runtime-tools on {program.name}\n")
        command = lower_version(program, into)
        found = in_child(lambda command=command: run_tools(built, command, into), hidden=program.name == "crun")
        for name, word in found.items():
            results[name][program.name] = word
        words = list(found.values())
        passed = words.count("pass") + words.count("pass (empty)")
        totals[program.name] = f"{passed} of {len(words)}, {passed + words.count('tells an error')} by `not ok` alone"
    note = NOTE_TOOLS.format(source=source_of(checkout), date=today(), machine=machine())
    versions = {program.name: program.version for program in programs}
    write("runtime-tools", "runtime-tools", note, "Program", versions, totals, results)


def run_bats(checkout: Path, program: Program, into: Path) -> Path:
    """runc's suite on one runtime, a file at a time, on a terminal as its tests want it; the directory of the TAPs."""
    directory = checkout / "tests/integration"
    into.mkdir()
    temporary = into / "tmp"
    temporary.mkdir()
    environment = {**os.environ, "RUNC": program.command, "TMPDIR": str(temporary)}
    # checkpoint.bats writes it, and leaves it where criu fails: criu of others would log into where it is called then.
    criu, before = Path("/etc/criu/default.conf"), os.path.exists("/etc/criu/default.conf")
    for path in sorted(directory.glob("*.bats")):
        tap = into / f"{path.stem}.tap"
        limit = {} if path.stem == "events" else {"BATS_TEST_TIMEOUT": "60"}  # it waits for all children of its shell
        command = ["timeout", "-k", "10", str(FILE_TIMEOUT), "script", "-qec", f"bats -t {path.name} >{tap} 2>&1"]
        run_reaped([*command, "/dev/null"], cwd=directory, env={**environment, **limit})
        sys.stdout.write(f"  {path.name}: {'/'.join(map(str, count_tap(tap.read_text(errors='replace'))))}\n")
        sys.stdout.flush()
        if not before:
            criu.unlink(missing_ok=True)
    return into


def run_reaped(command: list[str], **options: Any) -> None:
    """Run a suite whose tests want a process that is killed to be gone in two seconds, where process 1 of the machine
    may take longer to reap it: here we do."""
    pid = os.fork()
    if pid == 0:
        try:
            set_child_subreaper()
            streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
            suite = subprocess.Popen(command, **streams, **options)
            while os.wait()[0] != suite.pid:
                pass
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


def count_tap(said: str) -> tuple[int, int, int]:
    """Passed, failed, skipped."""
    lines = said.splitlines()
    skipped = sum(1 for line in lines if re.match(r"ok .*# skip", line))
    passed = sum(1 for line in lines if line.startswith("ok ")) - skipped
    return passed, sum(1 for line in lines if line.startswith("not ok ")), skipped


def write_bats(source: str, versions: dict[str, str], taps: dict[str, Path]) -> None:
    """Writes results/runc.json."""
    results: dict[str, dict[str, str]] = {}
    sums: dict[str, list[int]] = {}
    for name, directory in taps.items():
        for path in sorted(directory.glob("*.tap")):
            counts = count_tap(path.read_text(errors="replace"))
            results.setdefault(path.stem, {})[name] = "/".join(map(str, counts))
            sums[name] = [a + b for a, b in zip(sums.get(name, [0, 0, 0]), counts)]
    totals = {name: "/".join(map(str, counts)) for name, counts in sums.items()}
    note = NOTE_RUNC.format(source=source, date=today(), machine=machine())
    shown = {name: versions[name] for name in taps}
    write("runc", "runc's integration tests", note, "File", shown, totals, dict(sorted(results.items())))


def write(
    name: str, title: str, note: str, of: str, versions: dict[str, str], totals: dict[str, str], results: dict[str, Any]
) -> None:
    """The form that page.py shows."""
    suite = {"title": title, "note": note, "of": of, "runtimes": versions}
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({**suite, "totals": totals, "results": results}, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    sys.stdout.write(f"{title}: {totals}\n")


def source_of(checkout: Path) -> str:
    told = subprocess.run(
        ["git", "-C", checkout, "describe", "--tags", "--always"], capture_output=True, text=True, check=False
    )
    return told.stdout.strip() or "of an unknown version"


def today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.suites")
    parser.add_argument("--runtime-tools", type=Path, metavar="DIR")
    parser.add_argument("--runc", type=Path, metavar="DIR")
    parser.add_argument("--bats-taps", action="append", default=[], metavar="NAME=DIR")
    parser.add_argument("--runtimes", nargs="+", default=NAMES, choices=NAMES)
    options = parser.parse_args()
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="stowage-suites-", dir=parent) as temporary:
        into = Path(temporary)
        into.chmod(0o755)
        programs = []
        for name in options.runtimes:
            (into / name).mkdir()
            programs.append(find_program(name, into / name))
        if options.runtime_tools:
            run_runtime_tools(options.runtime_tools, programs, into)
        versions = {program.name: program.version for program in programs}
        taps: dict[str, Path] = {}
        for word in options.bats_taps:
            label, _equals, path = word.partition("=")
            name, _at, version = label.partition("@")
            taps[name], versions[name] = Path(path), version or versions[name]
        if options.runc and not taps:
            for program in programs:
                if program.name != "crun":  # it is runc's suite, and of its command line
                    sys.stdout.write(f"==> runc's suite on {program.name}\n")
                    taps[program.name] = run_bats(options.runc, program, into / f"bats-{program.name}")
        if options.runc and taps:
            write_bats(source_of(options.runc), versions, taps)
    return 0


if __name__ == "__main__":
    sys.exit(main())
