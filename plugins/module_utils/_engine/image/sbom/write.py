# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image's bill of materials, made out of what is unpacked of it, and written to a file of the host."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace

from ...errors import InvalidOption, KernelError, NotFound
from ...linux.files import remove_if_exists, write_atomic
from ..observe import observe_images
from .documents import make_document
from .packages import read_system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...model.sbom import Sbom
    from ...paths import Paths


def make_sbom(paths: Paths, wanted: Sbom) -> tuple[Sbom, bytes]:
    """The document that ``wanted`` asks for, with its digest. Raises NotFound, InvalidImage. Writes nothing."""
    image = observe_images(paths).get(wanted.image)
    if image is None or image.missing:
        raise NotFound("image", wanted.image, "pull or build it first")
    # All layers: what an opaque root hides is left out by the view itself.
    system = read_system([paths.layer(diff_id) for diff_id in image.layers])
    content = make_document(image, system, wanted.format)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    return replace(wanted, digest=digest, packages=len(system.packages)), content


def observe_sbom(path: str) -> Sbom | None:
    """The file as it is, whoever wrote it; None where there is none. Raises InvalidOption where it is no file."""
    from ...model.sbom import Sbom  # the name above is for types alone

    try:
        with open(path, "rb") as file:
            return Sbom(path, digest=f"sha256:{hashlib.sha256(file.read()).hexdigest()}")
    except FileNotFoundError:
        return None
    except IsADirectoryError as error:
        raise InvalidOption("path", path, "a file, not a directory") from error


def apply_sbom(paths: Paths, path: str, wanted: Sbom | None) -> None:
    """Write the document, or remove it. Raises KernelError, NotFound, InvalidImage."""
    try:
        if wanted is None:
            remove_if_exists(path)
        elif os.path.isdir(os.path.dirname(path)):
            write_atomic(path, make_sbom(paths, wanted)[1], mode=0o644)
        else:
            raise InvalidOption("path", path, "a file in a directory that is there")
    except OSError as error:
        raise KernelError("writing a bill of materials", error) from error
