# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry, over HTTP (OCI distribution-spec 1.1), on Python's standard library.

Imported only where a registry is spoken to: http.client and ssl cost 50 ms. Reading goes to the mirrors that the host
has, and then to where the image's name leads; writing goes there alone. Every failure is a RegistryError that names the
registry, the image and the status, never a credential.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from ...errors import DigestMismatch, EngineError, RegistryError
from ...model.registry import Access
from ..manifest import digest_of
from .connections import Body
from .documents import Document, get_manifest
from .download import Download, all_failed
from .endpoint import DELAYS, Endpoint
from .mirrors import Place, find_places, find_push_place
from .upload import Blob, Uploads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ...model.reference import Reference

T = TypeVar("T")

_NO_ACCESS = Access()


class Registry:
    """One repository of one registry. Making one connects to nothing. Several threads may use it at once.

    ``notes`` are what a user should hear of mirrors that were passed over.
    """

    def __init__(self, reference: Reference, *, access: Access = _NO_ACCESS, delays: Sequence[float] = DELAYS) -> None:
        self._reference = reference
        self._access = access
        self._delays = delays
        self.notes: list[str] = []
        self._readers: list[tuple[Place, Endpoint]] = []
        self._home: Endpoint | None = None
        self._writer: tuple[Endpoint, Uploads] | None = None

    # Pulling, and content discovery ---------------------------------------------------------------

    def head_manifest(self, version: str, known: str = "") -> Document:
        """What kind of manifest a tag or digest has, and its digest, as the registry says; one request, no body.

        A mirror's word for a digest other than ``known`` is taken once that manifest was read somewhere: a mirror that
        has mixed up what it keeps would hide what others have.
        """
        return self._read(version, lambda endpoint: self._head_manifest(endpoint, version, known))

    def _head_manifest(self, endpoint: Endpoint, version: str, known: str) -> Document:
        document = get_manifest(endpoint, version, head=True)
        if endpoint is not self._home and document.digest not in ("", known, version):
            try:
                self.get_manifest(document.digest)
            except (RegistryError, DigestMismatch) as error:
                told = f"it says that manifests/{version} is {document.digest}, which is not to be had"
                lie = endpoint.error(told, error)
                self.notes.append(f"{lie}; what others have is taken")
                raise lie from error
        return document

    def get_manifest(self, version: str) -> Document:
        """A manifest or index, verified. Raises DigestMismatch too."""
        return self._read(version, lambda endpoint: get_manifest(endpoint, version))

    def get_blob(self, digest: str, size: int, offset: int = 0, urls: tuple[str, ...] = ()) -> Iterator[bytes]:
        """A blob's content from ``offset`` on, a piece at a time, not yet verified; never more than ``size`` bytes.

        What breaks off is taken up again. ``urls`` are other places that have it (image-spec, descriptor.md), for when
        the registry has not.
        """
        return self.open_blob(digest, size, urls).read(offset)

    def open_blob(self, digest: str, size: int, urls: tuple[str, ...] = ()) -> Download:
        """The same for whoever verifies what comes, and goes on with another place where it is wrong."""
        return Download([endpoint for _place, endpoint in self._serving(digest)], digest, size, urls)

    def read_blob(self, digest: str, size: int, what: str) -> bytes:
        """A small blob, verified. Raises DigestMismatch, calling it ``what``, and RegistryError."""
        download = self.open_blob(digest, size)
        while True:
            content = b"".join(download.read())
            found = digest_of(content, digest.partition(":")[0])
            if found == digest:
                return content
            error = download.blame(DigestMismatch(what, digest, found))
            if error is not None:
                raise error

    def has_blob(self, digest: str) -> bool:
        """Whether the registry itself has the blob; one request without a body."""
        return self._exists(f"blobs/{digest}")

    def list_tags(self) -> list[str]:
        """All tags of the repository."""
        from .discovery import list_tags  # pulls do without

        return self._read("tag", list_tags)

    def referrers(self, digest: str, artifact_type: str = "") -> list[dict[str, object]]:
        """Descriptors of what says that it belongs to a manifest: signatures, for one ("Listing Referrers")."""
        from .discovery import list_referrers  # pulls do without

        return self._read("digest", lambda endpoint: list_referrers(endpoint, digest, artifact_type))

    # Pushing, and content management --------------------------------------------------------------

    def put_blob(self, blob: Blob, chunk_size: int = 0) -> None:
        """Send a blob, in chunks of ``chunk_size`` bytes where that is given, else in one piece."""
        self._write[1].put(blob, chunk_size)

    def mount_blob(self, digest: str, repository: str) -> bool:
        """Whether the registry has taken a blob over from another of its repositories."""
        return self._write[1].mount(digest, repository)

    def put_manifest(self, version: str, media_type: str, content: bytes) -> None:
        """Let a tag mean a manifest, or have it under its digest. What it names must be there already."""
        endpoint, uploads = self._write
        body = Body(len(content), lambda: iter((content,)))
        with endpoint.request(
            "PUT",
            f"manifests/{version}",
            headers={"Content-Type": media_type},
            body=body,
            scopes=uploads.scopes,
            expect=(201,),
        ) as response:
            told = response.headers.get("OCI-Subject")
        if not told and b'"subject"' in content:
            from .discovery import add_referrer  # most manifests have no subject

            add_referrer(endpoint, uploads.scopes, media_type, content)

    def find_digest(self, version: str) -> str | None:
        """The digest that a version has where it would be pushed to, None where there is none."""
        endpoint, _uploads = self._write
        try:
            document = get_manifest(endpoint, version, head=True)
            if not document.digest:  # the header is not a must
                document = get_manifest(endpoint, version)
        except RegistryError as error:
            if error.status == 404:
                return None
            raise
        return document.digest

    def delete_manifest(self, version: str) -> None:
        """Remove a manifest by its digest, with all tags that mean it, or a tag where the registry allows that."""
        self._delete(f"manifests/{version}")

    def delete_blob(self, digest: str) -> None:
        """Remove a blob from the repository."""
        self._delete(f"blobs/{digest}")

    def close(self) -> None:
        """Give up uploads that were opened and not used."""
        if self._writer is not None:
            self._writer[1].cancel()

    def _delete(self, path: str) -> None:
        endpoint, _uploads = self._write
        endpoint.request("DELETE", path, scopes=(endpoint.scope("delete"),), expect=(202, 200, 204)).close()

    def _exists(self, path: str) -> bool:
        endpoint, _uploads = self._write
        try:
            endpoint.request("HEAD", path).close()
        except RegistryError as error:
            if error.status == 404:
                return False
            raise
        return True

    # Places -----------------------------------------------------------------------------------------

    def _read(self, version: str, ask: Callable[[Endpoint], T]) -> T:
        """The first answer of the places that have any; one that gave one is asked first from then on."""
        errors: list[EngineError] = []
        for place, endpoint in self._serving(version):
            try:
                answer = ask(endpoint)
            except (RegistryError, DigestMismatch) as error:
                errors.append(error)
                continue
            if errors:
                self._readers.sort(key=lambda reader: reader[0] != place)
            return answer
        raise all_failed(errors)

    def _serving(self, version: str) -> list[tuple[Place, Endpoint]]:
        kind = "digest" if ":" in version or version == "digest" else "tag"
        if not self._readers:
            places = find_places(self._reference.registry, self._reference.repository)
            self._readers = [(place, self._endpoint(place, alone=len(places) == 1)) for place in places]
            self._home = self._readers[-1][1]
        return [(place, endpoint) for place, endpoint in self._readers if kind in place.serves]

    @property
    def _write(self) -> tuple[Endpoint, Uploads]:
        if self._writer is None:
            endpoint = self._endpoint(find_push_place(self._reference.registry, self._reference.repository))
            self._writer = endpoint, Uploads(endpoint)
        return self._writer

    def _endpoint(self, place: Place, *, alone: bool = True) -> Endpoint:
        access = self._access
        own = place.registry == self._reference.registry
        if not own:  # what a task says of a registry is not for its mirrors
            access = Access(auth_file=access.auth_file, proxy=access.proxy, timeout=access.timeout)
        access = replace(access, insecure=(own and access.insecure) or place.insecure)
        # Where another place can be asked, none is waited for long.
        delays = self._delays if alone or own else self._delays[:1]
        return Endpoint(place.registry, place.repository, self._reference.name, access, delays)
