# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host's end of a transfer: say what of an image is lacking, and take what has come.

Blobs come as pieces in a directory of whoever the controller logs in as: a file a piece, named after the blob's digest
and the offset of its first byte. Promises: nothing is believed of what comes; a blob that is whole is stored at once,
its pieces go, and it need not be sent again whatever happens; the name means the image only once all of it is stored
and unpacked. Pieces that make another blob than they should are removed, so that the next try sends them anew.
"""

from __future__ import annotations

import contextlib
import os
import stat

from ...errors import DigestMismatch, InvalidImage, KernelError
from ...model.reference import parse_reference
from ...model.transfer import Transfer, arrived, parse_piece_name, piece_name
from .. import diff_ids
from ..layer.directories import install_layers, observe_layers
from ..manifest import OCI_CONFIG, Descriptor, image_of, parse_config, parse_manifest
from ..store import Store, read_chunks, verify, write_store
from ..trust.check import check_image
from ..trust.policy import effective_policy
from .signatures import Carried

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from ...model.transfer import Offer
    from ...paths import Paths
    from ..manifest import Manifest


def resolve_transfer(paths: Paths, offer: Offer) -> Transfer:
    """What having the offered image takes; only reads. Raises InvalidImage, DigestMismatch, Untrusted."""
    manifest, config = _documents(offer)
    signed = [offer.digest, *filter(None, [offer.index])]
    policy = effective_policy(paths)
    reference = parse_reference("name", offer.name)
    check_image(policy, reference, signed, lambda: Carried(offer.signatures), verified=offer.verified)
    store, unpacked = Store(paths.images), observe_layers(paths)
    lacking = {}
    for blob, diff_id in zip(manifest.layers, config["rootfs"]["diff_ids"]):
        # A blob whose layer is to be unpacked or checked is read anyway: one that was damaged is sent again.
        known = diff_id in unpacked and diff_ids.is_known(store, blob, diff_id)
        if not (store.has_blob(blob) if known else store.is_intact(blob)):
            lacking[blob.digest] = blob.size
    image = image_of(offer.name, offer.digest, len(offer.manifest), manifest, config)
    return Transfer(image, offer, tuple(lacking.items()))


def receive_image(paths: Paths, transfer: Transfer, incoming: str) -> None:
    """Store the blobs that have come to the directory ``incoming``, unpack the image and let its name mean it.

    Raises InvalidImage where a blob has not come whole (those that have stay), DigestMismatch, KernelError.
    """
    offer = transfer.offer
    manifest, config = _documents(offer)
    blobs = {blob.digest: blob for blob in manifest.layers}
    with write_store(paths) as store, _opened(incoming if transfer.lacking else "") as directory:
        for digest, _size in transfer.lacking:
            _take(store, directory, blobs[digest])
        store.put_blob(manifest.config.media_type or OCI_CONFIG, offer.config, manifest.config.digest)
        layers = zip(manifest.layers, config["rootfs"]["diff_ids"])
        install_layers(paths, store, layers, transfer.image.limits)
        store.put_blob(offer.media_type, offer.manifest, offer.digest)
        store.tag(offer.name, Descriptor(offer.media_type, offer.digest, len(offer.manifest)))


def _documents(offer: Offer) -> tuple[Manifest, dict[str, Any]]:
    what = f"the manifest of {offer.name}"
    verify(offer.manifest, offer.digest, what)
    manifest = parse_manifest(offer.manifest, what)
    verify(offer.config, manifest.config.digest, f"the configuration of {offer.name}")
    return manifest, parse_config(offer.config, manifest, f"the configuration of {offer.name}")


@contextlib.contextmanager
def _opened(directory: str) -> Iterator[int]:
    """A descriptor of the directory; -1 where none is needed."""
    if not directory:
        yield -1
        return
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise KernelError("reading what was sent", error) from error
    try:
        yield fd
    finally:
        os.close(fd)


def _take(store: Store, directory: int, blob: Descriptor) -> None:
    pieces = _pieces(directory, blob.digest)
    offsets = arrived(pieces, blob.size)
    size = sum(pieces[offset] for offset in offsets)
    if size < blob.size:
        raise InvalidImage(f"of blob {blob.digest} {size} bytes have come, of {blob.size}; run again to send the rest")
    try:
        chunks = _chunks(directory, blob.digest, offsets)
        store.put_stream(blob.media_type, chunks, expected=blob.digest, what=f"blob {blob.digest}, as it was sent")
    except DigestMismatch:
        _remove(directory, blob.digest, pieces)
        raise
    _remove(directory, blob.digest, pieces)


def _pieces(directory: int, digest: str) -> dict[int, int]:
    """The pieces of a blob: offset to size."""
    found = {}
    for name in os.listdir(directory):
        piece = parse_piece_name(name)
        if piece is not None and piece[0] == digest:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            found[piece[1]] = status.st_size if stat.S_ISREG(status.st_mode) else 0
    return found


def _chunks(directory: int, digest: str, offsets: list[int]) -> Iterator[bytes]:
    """The directory is another user's: what is no plain file there is not opened as one."""
    for offset in offsets:
        name = piece_name(digest, offset)
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        with open(fd, "rb", buffering=0) as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise InvalidImage(f"{name} is no file")
            yield from read_chunks(file)


def _remove(directory: int, digest: str, offsets: dict[int, int]) -> None:
    for offset in offsets:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(piece_name(digest, offset), dir_fd=directory)
