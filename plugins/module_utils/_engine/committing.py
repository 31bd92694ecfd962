# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images out of containers: where image, runtime and cgroups meet.

A container that runs is paused while it is read, so that nobody changes a file, or puts a link in a directory's place,
meanwhile; whoever was paused before stays so. Should we be killed, another process lets it go on.
"""

from __future__ import annotations

import contextlib
import os

from .errors import Conflict, EngineError, NotFound
from .image.build.container_image import Source, resolve_commit, store_commit
from .runtime.state import load_state
from .shim.bundle import read_definition
from .shim.spec import mount_targets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .cgroup.interface import Cgroups
    from .image.build.commit import Owner
    from .model.commit import Commit
    from .model.container import Container, IdMap
    from .model.image import Image
    from .paths import Paths

_STARTED = ("running", "paused")


def forecast_commit(paths: Paths, cgroups: Cgroups, commit: Commit) -> Image:
    """The image that committing would give now. Stores nothing. Raises NotFound, Conflict, KernelError."""
    with _at_rest(paths, cgroups, commit.container) as source:
        return resolve_commit(paths, commit, source)


def commit_container(paths: Paths, cgroups: Cgroups, commit: Commit) -> Image:
    """Make the image, and let its name mean it. Raises as forecast_commit() does. The caller holds the host's lock."""
    with _at_rest(paths, cgroups, commit.container) as source:
        return store_commit(paths, commit, source)


@contextlib.contextmanager
def _at_rest(paths: Paths, cgroups: Cgroups, name: str) -> Iterator[Source]:
    definition = read_definition(paths, name)
    container = definition.container
    if not container.image_digest:
        raise Conflict(f"container {name!r} is not whole; make it again before it is committed")
    upper = os.path.join(paths.container(name), "upper")
    source = Source(container.image_digest, upper, mount_targets(container), _owner_of(container))
    with _paused(cgroups, definition.cgroups_path) if _runs(paths, name) else contextlib.nullcontext():
        yield source


def _runs(paths: Paths, name: str) -> bool:
    try:
        return load_state(paths.runtime_root, name).status() in _STARTED
    except NotFound:
        return False


@contextlib.contextmanager
def _paused(cgroups: Cgroups, cgroups_path: str) -> Iterator[None]:
    if cgroups.is_frozen(cgroups_path):
        yield
        return
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _let_go_after(reader, writer, lambda: cgroups.freeze(cgroups_path, False))
    os.close(reader)
    try:
        cgroups.freeze(cgroups_path, True)
        yield
    finally:
        os.close(writer)
        os.waitpid(pid, 0)


def _let_go_after(reader: int, writer: int, let_go: Callable[[], None]) -> None:
    """In a fork: wait until our parent is done, or gone, then let the container go on. Never returns."""
    try:
        os.setsid()  # what ends our parent and all of its group does not end us
        os.close(writer)
        os.read(reader, 1)
        with contextlib.suppress(EngineError, OSError):  # it ended meanwhile
            let_go()
    finally:
        os._exit(0)


def _owner_of(container: Container) -> Owner:
    """Turns a file's owner on the host into its owner in the container."""
    spaces = container.namespaces

    def owner(uid: int, gid: int) -> tuple[int, int]:
        return _inside(spaces.uid_map, uid), _inside(spaces.gid_map, gid)

    return owner


def _inside(ids: IdMap, number: int) -> int:
    if not ids:
        return number
    for inside, outside, size in ids:
        if outside <= number < outside + size:
            return inside + number - outside
    raise Conflict(f"a file of the container is of {number} of this host, who is nobody in it; give it an owner there")
