# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine's sources as this process has them, the digest that names them, and a faster way to import them.

Ansible ships a module as a zip of sources and deletes it afterwards, so Python compiles all of them in every task.
Where the host has the very same engine installed, and compiled, it is imported from there.
"""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
import zlib

from .. import _engine
from .._engine.paths import Paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE = "stowage_engine"
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


def engine_files() -> dict[str, bytes]:
    """The engine's sources by path inside engine.pyz, read from wherever this very process has them."""
    archive = _archive()
    if archive:
        with zipfile.ZipFile(archive) as source:
            found = {name: source.read(info) for name, info in _members(source, archive).items()}
    else:
        found = files_in_directory(_directory())
    files = {f"{PACKAGE}/{name}": content for name, content in found.items()}
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
    """Let the engine's modules be imported from the installed copy, if that has the same files."""
    archive = _archive()
    if not archive:
        return
    with zipfile.ZipFile(archive) as source:
        sums = {f"{PACKAGE}/{n}": (info.file_size, info.CRC) for n, info in _members(source, archive).items()}
    sums["__main__.py"] = (len(MAIN), zlib.crc32(MAIN.encode()))
    app = os.path.join(Paths.from_environment().engines, _digest(sums), "app")
    try:
        whole = all(os.stat(os.path.join(app, name)).st_size == size for name, (size, _crc) in sums.items())
    except OSError:
        return
    if whole:
        sys.dont_write_bytecode = True  # check mode writes nothing, also where another Python compiled it
        _engine.__path__ = [os.path.join(app, PACKAGE)]


def _archive() -> str:
    return str(getattr(_engine.__spec__.loader if _engine.__spec__ else None, "archive", ""))


def _directory() -> str:
    return os.path.dirname(os.path.abspath(str(_engine.__file__)))


def _members(source: zipfile.ZipFile, archive: str) -> dict[str, zipfile.ZipInfo]:
    """The engine's sources in Ansible's zip, by path relative to the engine."""
    prefix = os.path.relpath(_directory(), archive) + "/"
    return {
        info.filename[len(prefix) :]: info
        for info in source.infolist()
        if info.filename.startswith(prefix) and info.filename.endswith(".py")
    }
