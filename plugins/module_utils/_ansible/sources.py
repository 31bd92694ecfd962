# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's sources as this process has them, the digest that names them, and a faster way to import them.

Ansible ships a module as a zip of sources and deletes it afterwards, so Python compiles all of them in every task.
Where the host has the very same sources installed, and compiled, they are imported from there. These are the engine and
what is between it and Ansible, so that most tasks need not ship them at all (installed.py).
"""

from __future__ import annotations

import hashlib
import marshal
import os
import sys
import zipfile
import zlib

from .. import _engine
from .._engine.packed import use_pack
from .._engine.paths import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE = "stowage_engine"
# What is installed: folders here, and what they are called there.
FOLDERS = {"_engine": PACKAGE, "_ansible": "stowage_ansible"}
# The path is set here because of -I, which takes the script's own directory from it. The pack is read as
# _engine/packed.py says; where it is missing, or of another Python, the modules beside it are imported.
MAIN = f"""\
import marshal, sys
directory = __file__.rpartition("/")[0]
sys.path.insert(0, directory)
try:
    name = directory + "/" + sys.implementation.cache_tag + ".pack"
    with open(name, "rb") as pack:
        code, index = marshal.loads(pack.read(int(pack.readline())))
        space = {{"__name__": "{PACKAGE}.packed"}}
        exec(code, space)
        space["use_pack"](name, pack.tell(), index, directory)
except OSError:
    pass
from {PACKAGE}.cli.main import main
sys.exit(main(sys.argv))
"""


# The digest of the installed engine that this process imports, where it does.
_used: list[str] = []


def engine_files() -> dict[str, bytes]:
    """All that is installed, by path there, read from wherever this very process has it."""
    archive = _archive()
    if archive:
        with zipfile.ZipFile(archive) as source:
            files = {name: source.read(info) for name, info in _members(source, archive).items()}
    else:
        files = {
            f"{package}/{name}": content
            for folder, package in FOLDERS.items()
            for name, content in files_in_directory(os.path.join(_directory(), folder)).items()
        }
    files["__main__.py"] = MAIN.encode()
    return dict(sorted(files.items()))


def files_in_directory(directory: str) -> dict[str, bytes]:
    """Every Python source below ``directory``, by relative path."""
    found = {}
    for folder, _folders, names in os.walk(directory):
        for name in names:
            if name.endswith(".py"):
                path = os.path.join(folder, name)
                with open(path, "rb") as file:
                    found[os.path.relpath(path, directory)] = file.read()
    return found


def engine_digest(files: Mapping[str, bytes]) -> str:
    """16 hex digits that name these sources."""
    return _digest({name: (len(content), zlib.crc32(content)) for name, content in files.items()})


def _digest(sums: Mapping[str, tuple[int, int]]) -> str:
    """Out of sizes and CRC-32, which a zip's directory has, so that its files need not be read."""
    lines = (f"{name} {size} {crc}\n" for name, (size, crc) in sorted(sums.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def prefer_installed_engine() -> None:
    """Import from the installed copy, if that has the same files."""
    archive = _archive()
    if not archive:
        return
    with zipfile.ZipFile(archive) as source:
        sums = {name: (info.file_size, info.CRC) for name, info in _members(source, archive).items()}
    sums["__main__.py"] = (len(MAIN), zlib.crc32(MAIN.encode()))
    digest = _digest(sums)
    app = _app(digest)
    try:
        whole = all(os.stat(os.path.join(app, name)).st_size == size for name, (size, _crc) in sums.items())
    except OSError:
        return
    if whole:
        use_installed_engine(digest)


def use_installed_engine(digest: str) -> bool:
    """Import from the installed copy of that digest from now on; False where there is none."""
    app = _app(digest)
    if not os.path.isdir(app):
        return False
    sys.dont_write_bytecode = True  # check mode writes nothing, also where another Python compiled it
    parent = _engine.__name__.rpartition(".")[0]
    for folder, package in FOLDERS.items():
        sys.modules[f"{parent}.{folder}"].__path__ = [os.path.join(app, package)]
    _use_pack(os.path.join(app, f"{sys.implementation.cache_tag}.pack"), parent)
    _used[:] = [digest]
    return True


def used_engine() -> str:
    """The digest of the installed engine that this process imports; empty where it imports what Ansible shipped."""
    return "".join(_used)


def _use_pack(name: str, parent: str) -> None:
    """Import from the pack first, under the names that modules have here. Another Python has none."""
    try:
        with open(name, "rb") as pack:
            _code, index = marshal.loads(pack.read(int(pack.readline())))
            start = pack.tell()
    except FileNotFoundError:
        return
    here = {package: f"{parent}.{folder}" for folder, package in FOLDERS.items()}
    names = (module.partition(".") for module in index)
    renamed = {here[package] + dot + rest: index[package + dot + rest] for package, dot, rest in names}
    use_pack(name, start, renamed, os.path.dirname(name))


def _app(digest: str) -> str:
    return os.path.join(Paths.from_environment().engines, digest, "app")


def _archive() -> str:
    return str(getattr(_engine.__spec__.loader if _engine.__spec__ else None, "archive", ""))


def _directory() -> str:
    """The folder of FOLDERS."""
    return os.path.dirname(os.path.dirname(os.path.abspath(str(_engine.__file__))))


def _members(source: zipfile.ZipFile, archive: str) -> dict[str, zipfile.ZipInfo]:
    """What of Ansible's zip is to be installed, by path there."""
    prefix = os.path.relpath(_directory(), archive) + "/"
    found = {}
    for info in source.infolist():
        if info.filename.startswith(prefix) and info.filename.endswith(".py"):
            folder, _slash, name = info.filename[len(prefix) :].partition("/")
            if folder in FOLDERS:
                found[f"{FOLDERS[folder]}/{name}"] = info
    return found
