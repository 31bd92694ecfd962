# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse a Containerfile: all that Dockerfile's reference lists, syntax 1. Pure: no file is read, nothing is expanded.

What is malformed or unknown is InvalidContainerfile, with file and line.
"""

from __future__ import annotations

import re

from ...errors import InvalidContainerfile
from .addresses import check_address
from .containerfile_flags import parse_duration, parse_flags, parse_mount
from .containerfile_instructions import (
    Command,
    Containerfile,
    Copy,
    From,
    Healthcheck,
    Instruction,
    Onbuild,
    Pairs,
    Run,
    Stage,
    Words,
)
from .containerfile_lines import Line, parse_heredoc, read_lines
from .containerfile_words import parse_json_list, split_flags, split_name, split_words, unquote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Flags = dict[str, tuple[str, ...]]

_ALIAS = re.compile(r"[a-z][a-z0-9_.-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NOT_TRIGGERS = ("FROM", "ONBUILD", "MAINTAINER")


def parse_containerfile(text: str, file: str = "Containerfile") -> Containerfile:
    """All stages of ``text``; ``file`` is its name for errors. Raises InvalidContainerfile."""
    lines = read_lines(text, file)
    parser = InstructionParser(file, lines.directives["escape"])
    arguments: list[Pairs] = []
    stages: list[tuple[From, list[Instruction]]] = []
    for line in lines.lines:
        instruction = parser.parse(line)
        if isinstance(instruction, From):
            stages.append((instruction, []))
        elif stages:
            stages[-1][1].append(instruction)
        elif isinstance(instruction, Pairs) and instruction.name == "ARG":
            arguments.append(instruction)
        else:
            raise InvalidContainerfile(file, line.number, f"{instruction.name} stands in front of the first FROM")
    if not stages:
        raise InvalidContainerfile(file, 0, "it has no FROM, with which an image begins")
    made = tuple(Stage(number, base, tuple(steps)) for number, (base, steps) in enumerate(stages))
    return Containerfile(file, made, tuple(arguments), lines.directives["escape"], lines.directives)


def parse_trigger(text: str, file: str, escape: str) -> Instruction:
    """The instruction that an ONBUILD of a base image keeps. Raises InvalidContainerfile."""
    lines = read_lines(text, file).lines
    if len(lines) != 1:
        raise InvalidContainerfile(file, 0, f"the ONBUILD trigger {text!r} is not one instruction")
    return InstructionParser(file, escape).parse(lines[0])


class InstructionParser:
    """Turns lines into instructions."""

    def __init__(self, file: str, escape: str) -> None:
        self._file = file
        self._escape = escape
        self._parsers: dict[str, Callable[[str, Line, str, Flags], Instruction]] = {
            "FROM": self._from,
            "RUN": self._run,
            **dict.fromkeys(("COPY", "ADD"), self._copy),
            **dict.fromkeys(("CMD", "ENTRYPOINT", "SHELL"), self._command),
            **dict.fromkeys(("ENV", "LABEL"), self._pairs),
            "ARG": self._arg,
            **dict.fromkeys(("EXPOSE", "VOLUME"), self._several),
            **dict.fromkeys(("USER", "WORKDIR", "STOPSIGNAL", "MAINTAINER"), self._single),
            "HEALTHCHECK": self._healthcheck,
            "ONBUILD": self._onbuild,
        }

    def parse(self, line: Line) -> Instruction:
        """One instruction. Raises InvalidContainerfile."""
        name, rest = split_name(line.text)
        parser = self._parsers.get(name)
        try:
            if parser is None:
                raise ValueError(_unknown(name, list(self._parsers)))
            flags, rest = ([], rest) if name == "ONBUILD" else split_flags(rest, self._escape)
            if not rest:
                raise ValueError(f"{name} lacks its arguments")
            return parser(name, line, rest, parse_flags(name, flags))
        except ValueError as error:
            raise InvalidContainerfile(self._file, line.number, str(error)) from error

    def _from(self, name: str, line: Line, rest: str, flags: Flags) -> From:
        words = split_words(rest, self._escape)
        if len(words) not in (1, 3) or (len(words) == 3 and words[1].upper() != "AS"):
            raise ValueError("FROM takes an image, and perhaps AS and a name: FROM image AS name")
        alias = words[2].lower() if len(words) == 3 else ""
        if alias and not _ALIAS.fullmatch(alias):
            raise ValueError(
                f"the stage name {alias!r} is not a letter with letters, digits, '_', '.' and '-' behind it"
            )
        return From(name, line.number, line.text, words[0], flags.get("platform", ("",))[0], alias)

    def _run(self, name: str, line: Line, rest: str, flags: Flags) -> Run:
        if "device" in flags:
            raise ValueError("RUN --device is not supported: builds get no devices of the host")
        words = parse_json_list(rest)
        if words == ():
            raise ValueError("RUN has an empty list; the first item is the program")
        network, security = flags.get("network", ("default",))[0], flags.get("security", ("sandbox",))[0]
        if network not in ("default", "none", "host"):
            raise ValueError(f"--network={network}: it can be default, none or host")
        if security not in ("sandbox", "insecure"):
            raise ValueError(f"--security={security}: it can be sandbox or insecure")
        mounts = tuple(parse_mount(text) for text in flags.get("mount", ()))
        return Run(
            *(name, line.number, line.text, words or (rest,), words is None),
            heredocs=line.heredocs,
            mounts=mounts,
            network=network,
            security=security,
        )

    def _copy(self, name: str, line: Line, rest: str, flags: Flags) -> Copy:
        listed = parse_json_list(rest)
        words = split_words(rest, self._escape) if listed is None else list(listed)
        documents = [word for word in words[:-1] if listed is None and parse_heredoc(word, self._escape)]
        if len(words) < 2 or len(documents) < len(line.heredocs):
            raise ValueError(f"{name} takes at least one source, and at its end where that goes")
        for word in words[:-1]:
            if name == "ADD" and word.lower().startswith(("http://", "https://")) and "$" not in word:
                check_address(word)  # before anybody tells the line
        if "keep-git-dir" in flags:
            raise ValueError("ADD --keep-git-dir is not supported: ADD takes no git repositories here")
        origin = flags.get("from", ("",))[0]
        if "$" in origin:
            raise ValueError(f"--from={origin} takes no variables; name a stage: FROM image AS name")
        if origin and documents:
            raise ValueError("COPY --from and here-documents do not go together")
        return Copy(
            *(name, line.number, line.text),
            sources=tuple(word for word in words[:-1] if word not in documents),
            dest=words[-1],
            heredocs=line.heredocs,
            origin=origin,
            chown=flags.get("chown", ("",))[0],
            chmod=flags.get("chmod", ("",))[0],
            checksum=flags.get("checksum", ("",))[0],
            exclude=flags.get("exclude", ()),
            link="link" in flags,
            parents="parents" in flags,
            unpack=_asked(line.text, "unpack", flags),
        )

    def _command(self, name: str, line: Line, rest: str, flags: Flags) -> Command:
        words = parse_json_list(rest)
        if name == "SHELL" and not words:
            raise ValueError('SHELL takes a list, as in SHELL ["/bin/sh", "-c"]')
        return Command(name, line.number, line.text, (rest,) if words is None else words, words is None)

    def _pairs(self, name: str, line: Line, rest: str, flags: Flags) -> Pairs:
        words = split_words(rest, self._escape)
        if "=" not in words[0]:
            # The old form: a name, and all the rest of the line.
            key, value = rest.split(None, 1) if len(words) > 1 else (words[0], "")
            if not value:
                raise ValueError(f"{name} {key} lacks a value: {name} {key}=...")
            return Pairs(name, line.number, line.text, ((key, value),))
        pairs = []
        for word in words:
            key, equals, value = word.partition("=")
            if not equals or not unquote(key, self._escape):
                raise ValueError(f"{name} has {word!r}, which is no name=value")
            pairs.append((key, value))
        return Pairs(name, line.number, line.text, tuple(pairs))

    def _arg(self, name: str, line: Line, rest: str, flags: Flags) -> Pairs:
        pairs = []
        for word in split_words(rest, self._escape):
            key, equals, value = word.partition("=")
            if not _VARIABLE.fullmatch(key):
                raise ValueError(f"ARG {word}: {key!r} is no name of a variable")
            pairs.append((key, value if equals else None))
        return Pairs(name, line.number, line.text, tuple(pairs))

    def _several(self, name: str, line: Line, rest: str, flags: Flags) -> Words:
        listed = parse_json_list(rest) if name == "VOLUME" else None
        words = tuple(split_words(rest, self._escape)) if listed is None else listed
        if not all(words) or not words:
            raise ValueError(f"{name} has an empty item")
        return Words(name, line.number, line.text, words)

    def _single(self, name: str, line: Line, rest: str, flags: Flags) -> Words:
        return Words(name, line.number, line.text, (rest,))

    def _healthcheck(self, name: str, line: Line, rest: str, flags: Flags) -> Healthcheck:
        kind, rest = split_name(rest)
        if kind == "NONE" and not rest and not flags:
            return Healthcheck(name, line.number, line.text, (), disabled=True)
        if kind != "CMD" or not rest:
            raise ValueError("HEALTHCHECK takes NONE alone, or CMD and a command")
        words = parse_json_list(rest)
        if words == ():
            raise ValueError("HEALTHCHECK CMD has an empty list; the first item is the program")
        times = {flag: parse_duration(flag, values[0]) for flag, values in flags.items() if flag != "retries"}
        retries = flags.get("retries", ("0",))[0]
        if not retries.isascii() or not retries.isdigit() or len(retries) > 9:
            raise ValueError(f"--retries={retries}: it is no number")
        return Healthcheck(
            *(name, line.number, line.text, words or (rest,), words is None),
            interval=times.get("interval", 0),
            timeout=times.get("timeout", 0),
            start_period=times.get("start-period", 0),
            start_interval=times.get("start-interval", 0),
            retries=int(retries),
        )

    def _onbuild(self, name: str, line: Line, rest: str, flags: Flags) -> Onbuild:
        inner = split_name(rest)[0]
        if inner in _NOT_TRIGGERS:
            raise ValueError(f"ONBUILD {inner} cannot be")
        self.parse(line._replace(text=rest))
        documents = "".join(f"\n{document.content}{document.name}" for document in line.heredocs)
        return Onbuild(name, line.number, line.text, rest + documents)


def _asked(text: str, name: str, flags: Flags) -> bool | None:
    """A switch that is on, off, or not mentioned."""
    return True if name in flags else False if f"--{name}=" in text else None


def _unknown(name: str, known: list[str]) -> str:
    import difflib  # 4 ms that only the mistaken pay

    close = difflib.get_close_matches(name, known, 1, 0.7)
    shown = name if len(name) <= 40 else name[:40] + "..."
    return f"the instruction {shown!r} is unknown" + (f"; is {close[0]} meant?" if close else "")
