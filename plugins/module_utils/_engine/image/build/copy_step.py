# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""COPY and ADD as steps of a build: what they copy once their words are expanded, and the keys of their layers."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from ..layer.tar import end_of_archive
from .addresses import check_address, is_address, parse_checksum
from .archive import archive_chunks, is_archive
from .cache import step_key
from .containerfile_words import expand_document, unquote
from .copying import CopyJob, copy_members, find_destination, find_owner, members_digest
from .ignore import Ignore
from .members import tar_chunks
from .origins import find_sources, is_regular
from .view import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ...paths import Paths
    from .containerfile_instructions import Copy
    from .download import Downloads
    from .file_digests import FileDigests
    from .members import Members
    from .origins import Origin
    from .run_step import RunStep
    from .stage import StageState

_GIT = re.compile(r"git@|git://|ssh://|https?://[^?]*\.git(?:#|$)", re.IGNORECASE)


class LayerPlan(NamedTuple):
    """How a step's layer is made: of ``members``, of the ``chunks`` of an archive, or by ``run``ning the step."""

    key: str
    told: str
    members: Callable[[], Members] | None = None
    chunks: Callable[[], Iterable[bytes]] | None = None
    run: Callable[[], RunStep] | None = None


class CopyPlanner:
    """Plans the layers of COPY and ADD, with ``downloads`` for what is at an address."""

    def __init__(self, paths: Paths, digests: FileDigests, epoch: int, *, escape: str, downloads: Downloads) -> None:
        self._paths = paths
        self._digests = digests
        self._epoch = epoch
        self._escape = escape
        self._downloads = downloads

    def plan(self, state: StageState, copy: Copy, origin: Origin) -> LayerPlan | None:
        """Out of the context, of addresses, of archives, and of the Containerfile itself. None: not known yet.

        The key has all that is copied in it. Raises ValueError, OSError.
        """
        sources = self._sources(state, copy)
        checksum = state.expand(copy.checksum)
        job = self._job(state, copy, sources)
        if job is None:
            return None
        view = View() if copy.link else state.view(self._paths)
        local = [text for text in sources if not is_address(text)]
        packed = {text: self._archives(copy, origin, text) for text in local}
        archives = [path for paths in packed.values() for path in paths]
        local = [text for text in local if not packed[text]]
        documents = [*job.documents]
        for address in filter(is_address, sources):
            path = self._downloads.fetch(address, checksum)
            if path is None:
                return None
            if copy.unpack and is_archive(path):
                archives.append(os.fsencode(path))
            else:
                documents.append((_file_name(address, copy.dest), path, 0o600))
        job = job._replace(sources=local, documents=documents)
        members = copy_members(job, origin, view, self._epoch * 10**9) if local or documents else {}
        digest = members_digest(members, self._digests)
        parts = [[] if copy.link else state.diff_ids, digest]
        told = _told(copy)
        if not archives:
            return LayerPlan(step_key("members", *parts), told, members=lambda: self._unchanged(members, digest))
        dest = find_destination(job.dest.rstrip("/") + "/", view)
        key = step_key(
            "archives",
            *parts,
            [self._digests.digest(path) for path in archives],
            os.fsdecode(dest),
            job.owner,
            self._epoch,
        )

        def chunks() -> Iterator[bytes]:
            written = set(members)
            yield from tar_chunks(members)
            for path in archives:
                yield from archive_chunks(path, dest, view, self._epoch * 10**9, job.owner, written)
            yield end_of_archive()

        return LayerPlan(key, told, chunks=chunks)

    def plan_from(self, state: StageState, copy: Copy, origin: Origin, other: StageState) -> LayerPlan | None:
        """Out of another stage or image, which is what its layers are: no file is read to know the key."""
        sources = [self._expand_source(state, text) for text in copy.sources]
        job = self._job(state, copy, sources)
        if job is None:
            return None
        below = [] if copy.link else state.diff_ids
        words = [job.dest, job.owner, job.chmod, list(copy.exclude), job.parents, self._epoch]
        key = step_key("copy", below, other.diff_ids, sources, words)

        def members() -> Members:
            view = View() if copy.link else state.view(self._paths)
            return copy_members(job, origin, view, self._epoch * 10**9)

        return LayerPlan(key, _told(copy), members=members)

    def check(self, state: StageState, copy: Copy, origin: Origin) -> None:
        """Raise ValueError for what cannot be copied, whatever the layers below come to."""
        for text in self._sources(state, copy):
            if not is_address(text):
                find_sources(origin, text)

    def _job(self, state: StageState, copy: Copy, sources: list[str]) -> CopyJob | None:
        """The copy with its words expanded; None where its owner is somebody of a layer that is not there yet."""
        dest = state.absolute(state.expand(copy.dest))
        if len(sources) + len(copy.heredocs) > 1 and not dest.endswith("/"):
            raise ValueError(f"with more than one source, the destination {dest!r} has to end with a slash")
        chown = state.expand(copy.chown)
        if state.pending and re.search(r"[^0-9:]", chown):
            return None
        documents = []
        for document in copy.heredocs:
            content = document.chomped
            if document.expands:
                content = expand_document(content, state.variables, self._escape)
            documents.append((document.name, content.encode("utf-8", "surrogateescape"), 0o644))
        return CopyJob(
            sources=sources,
            dest=dest,
            documents=documents,
            owner=find_owner(chown, state.view(self._paths)) if chown else None,
            chmod=state.expand(copy.chmod),
            exclude=Ignore([state.expand(text) for text in copy.exclude], "--exclude"),
            parents=copy.parents,
        )

    def _sources(self, state: StageState, copy: Copy) -> list[str]:
        """The sources with their words expanded. Raises ValueError for those that nothing can come of."""
        sources = [self._expand_source(state, text) for text in copy.sources]
        if copy.name == "ADD":
            for address in filter(is_address, sources):
                check_address(address)
        if copy.checksum:
            every = [*sources, *(document.name for document in copy.heredocs)]
            if len(every) > 1:
                raise ValueError("--checksum is for one source alone")
            if not is_address(every[0]):
                raise ValueError(f"--checksum is for a source that is an address; {every[0]} is none")
            parse_checksum(state.expand(copy.checksum))
        return sources

    def _expand_source(self, state: StageState, text: str) -> str:
        if _GIT.match(unquote(text, self._escape)):
            raise ValueError(f"{text}: git repositories are not supported; check one out and copy it from the context")
        return state.expand(text)

    def _archives(self, copy: Copy, origin: Origin, text: str) -> list[bytes]:
        """The archives that a source of ADD names: they are unpacked, unless that is not wanted."""
        if copy.name != "ADD" or copy.unpack is False:
            return []
        found = [source.found for source in find_sources(origin, text)]
        paths = [one.path for one in found if is_regular(one) and is_archive(one.path)]
        return paths if len(paths) == len(found) else []

    def _unchanged(self, members: Members, digest: str) -> Members:
        """What was hashed is what is stored: refuse files that were changed in between. Raises ValueError."""
        if members_digest(members, self._digests) != digest:
            raise ValueError("files changed while they were copied; run again")
        return members


def _told(copy: Copy) -> str:
    """The history's entry."""
    return " ".join(copy.text.split())


def _file_name(address: str, dest: str) -> str:
    """What a file at an address is called, where the destination does not say it."""
    path = re.sub(r"[?#].*", "", address.split("://", 1)[1])
    name = path.rpartition("/")[2] if "/" in path else ""
    if not name and dest.endswith("/"):
        raise ValueError(f"{address} has no file name; end the destination with one")
    return name
