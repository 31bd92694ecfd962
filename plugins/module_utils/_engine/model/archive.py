# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An archive of images: what one file or directory holds, by name."""

from __future__ import annotations

from dataclasses import dataclass

OCI_ARCHIVE, OCI_DIRECTORY, DOCKER_ARCHIVE = "oci-archive", "oci-dir", "docker-archive"
FORMATS = (OCI_ARCHIVE, OCI_DIRECTORY, DOCKER_ARCHIVE)
COMPRESSIONS = ("none", "gzip")


@dataclass(frozen=True)
class Archive:
    """``images`` are pairs of name and digest, sorted: of the manifest, or of the configuration in a docker-archive,
    which has no manifests. ``whole``: all content is what its digest says, and there is nothing else."""

    path: str
    format: str = OCI_ARCHIVE
    compression: str = "none"
    images: tuple[tuple[str, str], ...] = ()
    whole: bool = True
