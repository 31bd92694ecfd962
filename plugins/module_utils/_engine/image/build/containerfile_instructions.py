# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Containerfile says, instruction by instruction. Words are as written: variables, quotes and escapes are on
them until an instruction's turn comes (containerfile_words.py), save where it says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .containerfile_lines import Heredoc


@dataclass(frozen=True)
class Instruction:
    """``name`` is in capitals; ``text`` is all of it on one line; ``line`` is where it begins, from 1."""

    name: str
    line: int
    text: str


@dataclass(frozen=True)
class From(Instruction):
    image: str
    platform: str = ""
    alias: str = ""


@dataclass(frozen=True)
class Pairs(Instruction):
    """ARG, ENV, LABEL. An ARG without a default has None."""

    pairs: tuple[tuple[str, str | None], ...]


@dataclass(frozen=True)
class Words(Instruction):
    """EXPOSE, MAINTAINER, STOPSIGNAL, USER, VOLUME, WORKDIR."""

    words: tuple[str, ...]


@dataclass(frozen=True)
class Command(Instruction):
    """CMD, ENTRYPOINT, SHELL: an exec form's words, never expanded; or (``shell``) one text for the shell."""

    words: tuple[str, ...]
    shell: bool = False


@dataclass(frozen=True)
class Mount:
    """``RUN --mount``: ``options`` under their long names."""

    kind: str
    options: Mapping[str, str]

    def flag(self, name: str) -> bool:
        return self.options.get(name, "false") in ("", "true", "1")


@dataclass(frozen=True)
class Run(Command):
    """``network``: default, none or host. ``security``: sandbox or insecure."""

    heredocs: tuple[Heredoc, ...] = ()
    mounts: tuple[Mount, ...] = ()
    network: str = "default"
    security: str = "sandbox"


@dataclass(frozen=True)
class Copy(Instruction):
    """COPY and ADD. ``heredocs`` are sources besides. ``origin`` is ``--from``. ``unpack``: None as ADD has it."""

    sources: tuple[str, ...]
    dest: str
    heredocs: tuple[Heredoc, ...] = ()
    origin: str = ""
    chown: str = ""
    chmod: str = ""
    checksum: str = ""
    exclude: tuple[str, ...] = ()
    link: bool = False
    parents: bool = False
    unpack: bool | None = None


@dataclass(frozen=True)
class Healthcheck(Command):
    """Times are in nanoseconds, 0 where none is said. NONE has no words and ``disabled``."""

    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0
    disabled: bool = False


@dataclass(frozen=True)
class Onbuild(Instruction):
    """``trigger`` is kept in the image, here-documents included, for the build that has it as base."""

    trigger: str


@dataclass(frozen=True)
class Stage:
    """One FROM and what follows it. ``number`` counts from 0; ``name`` is in small letters, empty without AS."""

    number: int
    base: From
    instructions: tuple[Instruction, ...] = ()

    @property
    def name(self) -> str:
        return self.base.alias

    @property
    def told(self) -> str:
        """What people call it."""
        return self.name or f"stage {self.number}"


@dataclass(frozen=True)
class Containerfile:
    """``file`` is its name for errors; ``arguments`` are the ARGs in front of the first FROM."""

    file: str
    stages: tuple[Stage, ...]
    arguments: tuple[Pairs, ...] = ()
    escape: str = "\\"
    directives: Mapping[str, str] = field(default_factory=dict)
