# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images by name and digest (OCI image-spec 1.1), and recipes out of which an image is assembled on the host."""

from __future__ import annotations

from dataclasses import dataclass

from .registry import Access


@dataclass(frozen=True)
class Entry:
    """One file of a content layer: ``content`` bytes, or a symbolic link to ``target``, or a directory."""

    path: str
    content: bytes | None = None
    target: str | None = None
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class LayerSource:
    """Where a layer comes from: a directory or tar archive on the host (``path``), or ``entries`` said in full.

    ``dest`` is where a directory's content goes in the image.
    """

    path: str = ""
    dest: str = "/"
    entries: tuple[Entry, ...] = ()


@dataclass(frozen=True)
class ImageConfig:
    """What a container of the image does unless told otherwise (image-spec, config.md). None: as the base has it."""

    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] | None = None
    env: tuple[tuple[str, str], ...] = ()
    working_dir: str | None = None
    user: str | None = None
    stop_signal: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    exposed_ports: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """An image assembled on the host: ``base`` (the name of an image that is there, or nothing) and layers on it."""

    base: str = ""
    layers: tuple[LayerSource, ...] = ()
    config: ImageConfig = ImageConfig()


@dataclass(frozen=True)
class Limits:
    """What an image that is pulled may come to, all its layers together: ``size`` in bytes, unpacked, and ``entries``.
    Without ``devices`` one that brings a device node is refused, without ``setuid`` one that brings a file with a
    set-user-ID or set-group-ID bit or capabilities."""

    size: int = 64 << 30
    entries: int = 4_000_000
    devices: bool = True
    setuid: bool = True


@dataclass(frozen=True)
class Image:
    """An image of this host.

    ``name`` is normalised (``docker.io/library/quickstart:1``). ``digest`` names the manifest; in a desired state
    the empty string means that any will do. ``layers`` are the diff_ids from the lowest to the topmost.
    ``missing`` are the diff_ids whose unpacked directory this host lacks, ``damaged`` those that were looked
    at and are not what their archive says. ``platform`` is spelled as in
    model/platform.py; in a desired state the empty string means this host's. ``access`` is how its registry is spoken
    to, ``verified`` a digest whose signatures the controller has seen to, ``limits`` what it may hold when
    it is pulled.
    """

    name: str
    digest: str = ""
    layers: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    damaged: tuple[str, ...] = ()
    size: int = 0
    created: str = ""
    config: ImageConfig = ImageConfig()
    recipe: Recipe | None = None
    platform: str = ""
    access: Access = Access()
    verified: str = ""
    limits: Limits = Limits()
