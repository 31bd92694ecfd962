# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts the engine on a host: <root>/engine/<digest>/ and the commands `stowage` and `stowage-runtime`.

When a module ends, Ansible deletes the zip that it ran from, so whatever outlives the module runs from here. A new
version stands beside the old under its own digest: running containers keep theirs. ``engine.pyz`` is the engine as
one file, ``app/`` the same files unpacked and compiled, which start in half the time.
"""

from __future__ import annotations

import io
import marshal
import os
import py_compile
import shutil
import sys
import zipfile

from .._engine.linux.files import read_json, remove_if_exists, sync_directory, sync_filesystem, write_atomic, write_json
from .sources import FOLDERS, PACKAGE, engine_digest, engine_files, files_in_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    # Ansible ships what it finds imported by name. All of it must go along with every module, so that all of them
    # install the same: what `main` does not reach is named here.
    from .._engine import depot, preflight  # noqa: F401
    from .._engine.cli import main
    from .._engine.image.build import containerfile  # noqa: F401
    from .._engine.paths import Paths
    from .._engine.plan import lock, overlay  # noqa: F401
    from . import controller, installed  # noqa: F401
    from .nouns import (  # noqa: F401
        cgroup,
        container,
        engine,
        image,
        image_archive,
        image_bootstrap,
        image_build,
        image_commit,
        image_policy,
        image_prune,
        image_push,
        image_sbom,
        image_sign,
        image_tag,
        image_transfer,
        network,
    )

COMMANDS = ("stowage", "stowage-runtime")

# zip's own epoch: the same sources give the same bytes.
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def build_engine(files: dict[str, bytes]) -> bytes:
    """The engine as one runnable file (zipapp): ``python3 engine.pyz``, or by its name as a command."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            if not name.startswith(FOLDERS["_ansible"]):  # there is no Ansible where it runs
                archive.writestr(zipfile.ZipInfo(name, _ZIP_DATE), content, zipfile.ZIP_DEFLATED)
    return b"#!/usr/bin/env -S python3 -ISE\n" + buffer.getvalue()


def build_pack(files: dict[str, bytes]) -> bytes:
    """All modules as code of this Python, without docstrings, in one file; see _engine/packed.py."""
    index, codes = {}, b""
    for path, content in files.items():
        if "/" not in path:  # __main__.py, which finds the pack
            continue
        code = marshal.dumps(compile(content, path, "exec", dont_inherit=True, optimize=2))
        index[path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")] = (len(codes), len(code), path)
        codes += code
    finder = compile(files[f"{PACKAGE}/packed.py"], f"{PACKAGE}/packed.py", "exec", dont_inherit=True, optimize=2)
    header = marshal.dumps((finder, index))
    return b"%d\n" % len(header) + header + codes


def install_engine(paths: Paths) -> str:
    """Have this engine on the host and return its digest. Whole or not at all: made aside, then renamed."""
    files = engine_files()
    digest = engine_digest(files)
    target = os.path.join(paths.engines, digest)
    if not os.path.exists(target):
        aside = os.path.join(paths.engines, f".{digest}.new")
        shutil.rmtree(aside, ignore_errors=True)
        _unpack(os.path.join(aside, "app"), files)
        write_atomic(os.path.join(aside, "app", f"{sys.implementation.cache_tag}.pack"), build_pack(files), mode=0o644)
        write_atomic(os.path.join(aside, "engine.pyz"), build_engine(files), mode=0o755)
        sync_filesystem(aside)
        os.rename(aside, target)
        sync_directory(paths.engines)
    return digest


def _is_whole(target: str, digest: str) -> bool:
    """Whether an installed engine is, to the byte, what its digest says."""
    unpacked = files_in_directory(os.path.join(target, "app"))
    return (
        os.path.exists(os.path.join(target, "engine.pyz")) and engine_digest(dict(sorted(unpacked.items()))) == digest
    )


def _unpack(app: str, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        path = os.path.join(app, name)
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        # Unchecked: the sources never change under one digest, so Python need not look at them.
        py_compile.compile(path, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)


def engine_command(paths: Paths, digest: str | None = None) -> list[str]:
    """The command line that runs the installed engine, lean: no site packages, no environment, no user directory.

    The script itself, not its directory: for that, Python would import runpy and importlib.util first (3 ms).
    """
    digest = digest or engine_digest(engine_files())
    return [_interpreter(), "-I", "-S", "-E", os.path.join(paths.engines, digest, "app", "__main__.py")]


def _interpreter() -> str:
    return os.path.realpath(sys.executable or shutil.which("python3") or "/usr/bin/python3")


# The commands ------------------------------------------------------------------------------------


def command_script(paths: Paths, command: str, digest: str) -> bytes:
    """What stands in, say, /usr/local/bin/stowage: a shell line that runs the installed engine with its paths."""
    engine = " ".join(engine_command(paths, digest))
    roots = "".join(f'export {name}="${{{name}:-{value}}}"\n' for name, value in paths.environment().items())
    return f'#!/bin/sh\n{roots}exec {engine} {command} "$@"\n'.encode()


def observe_engine(paths: Paths, directory: str) -> dict[str, str]:
    """{"digest", "directory"} of the engine whose commands stand whole in ``directory``; empty where none does."""
    record = read_json(os.path.join(paths.engines, "installed.json")) or {}
    digest = record.get("digest", "")
    if not digest or not _is_whole(os.path.join(paths.engines, digest), digest):
        return {}
    for command in COMMANDS:
        try:
            with open(os.path.join(directory, command), "rb") as file:
                if file.read() != command_script(paths, command, digest):
                    return {}
        except FileNotFoundError:
            return {}
    return {"digest": digest, "directory": directory}


def apply_install(paths: Paths, directory: str) -> None:
    """Install this engine and its commands in ``directory``."""
    os.makedirs(paths.engines, mode=0o755, exist_ok=True)
    target = os.path.join(paths.engines, engine_digest(engine_files()))
    if not _is_whole(target, os.path.basename(target)):
        shutil.rmtree(target, ignore_errors=True)
    digest = install_engine(paths)
    os.makedirs(directory, mode=0o755, exist_ok=True)
    for command in COMMANDS:
        write_atomic(os.path.join(directory, command), command_script(paths, command, digest), mode=0o755)
    write_json(os.path.join(paths.engines, "installed.json"), {"digest": digest}, mode=0o644)


def apply_uninstall(paths: Paths, directory: str) -> None:
    """Remove the engine and its commands. Monitors that run from it have it in memory already."""
    for command in COMMANDS:
        remove_if_exists(os.path.join(directory, command))
    shutil.rmtree(paths.engines, ignore_errors=True)


def main(argv: list[str]) -> int:
    """`make engine`: write the commands as single files into a directory."""
    os.makedirs(argv[1], exist_ok=True)
    engine = build_engine(engine_files())
    for command in COMMANDS:
        write_atomic(os.path.join(argv[1], command), engine, mode=0o755)
        sys.stdout.write(f"{os.path.join(argv[1], command)}  {len(engine)} bytes\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
