# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that are built out of a Containerfile: what a user asks for, and what a build would come to."""

from __future__ import annotations

from dataclasses import dataclass, field

from .container import DEFAULT_SHM_SIZE
from .registry import Access

MAX_SECRET = 1 << 20  # bytes: secrets are kept in memory


@dataclass(frozen=True)
class Secret:
    """What a RUN step may see while it runs: the content of a file of the host (``path``), or ``value``.

    It has MAX_SECRET bytes at most.
    """

    id: str
    path: str = ""
    value: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Build:
    """``name`` is normalised. ``context`` is a directory of the host; empty: there is none.

    ``content`` is the text of the Containerfile; None: it is in ``file``, a path of the host, or where that is empty
    in the context, under its usual names. ``epoch`` is in seconds,
    None where nobody said one: then files get the epoch itself, and the image no date. ``network``: host or none.
    ``pull``: missing or always. ``platform`` is spelled as in model/platform.py, empty for this host's.
    """

    name: str
    context: str = ""
    file: str = ""
    content: str | None = None
    target: str = ""
    args: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    secrets: tuple[Secret, ...] = ()
    extra_hosts: tuple[tuple[str, str], ...] = ()
    platform: str = ""
    network: str = "host"
    shm_size: int = DEFAULT_SHM_SIZE
    privileged: bool = False
    cache: bool = True
    pull: str = "missing"
    epoch: int | None = None
    access: Access = Access()


@dataclass(frozen=True)
class Step:
    """One instruction of a build. ``outcome``: cached (its layer is there), built (in a forecast: would be), or
    configured (it only says something about the image)."""

    stage: str
    line: int
    text: str
    outcome: str


@dataclass(frozen=True)
class Forecast:
    """What a build would do: ``digest`` is what its image would have, empty where a step has to run to know that;
    ``pulls`` are the images that are fetched first."""

    digest: str = ""
    steps: tuple[Step, ...] = ()
    pulls: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
