# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stage while it is built: its layers, its configuration, its history and its variables; and what the instructions
that make no layer do to them (image-spec, config.md; fields that only docker has are of moby's image-spec v1.2).

What cannot be is ValueError with a reason.
"""

from __future__ import annotations

import copy
import json
import posixpath
import re

from ..manifest import image_config
from .containerfile_instructions import Command, Healthcheck, Onbuild, Pairs, Words
from .containerfile_words import expand, expand_words
from .view import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ...paths import Paths
    from ..layer.tar import Member
    from ..manifest import Descriptor
    from .containerfile_instructions import Instruction

    Layer = tuple[Descriptor, str]

DEFAULT_SHELL = ("/bin/sh", "-c")
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Build arguments that need no ARG, and of which nothing remembers the value (Dockerfile reference, "Predefined ARGs").
PROXIES = frozenset(
    name
    for proxy in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (proxy, proxy.lower())
)
_PORT = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_SIGNAL = re.compile(r"(?:SIG)?[A-Za-z][A-Za-z0-9+-]*|[0-9]{1,2}")


class StageState:
    """What a stage has come to. ``is_known``: all its layers are; else a step has to run first.

    ``document`` has the fields of the image's configuration beside ``config``, ``rootfs`` and ``history``.
    ``pending`` has the members of layers that only a forecast knows, by diff_id.
    """

    def __init__(self, escape: str = "\\") -> None:
        self.layers: list[Layer] = []
        self.pending: dict[str, Mapping[bytes, Member]] = {}
        self.is_known = True
        self.config: dict[str, Any] = {}
        self.document: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.arguments: dict[str, str] = {}
        self.created = ""
        self._escape = escape
        self._command_is_own = False

    def child(self, escape: str) -> StageState:
        """The beginning of a stage that has this one as its base."""
        state = StageState(escape)
        state.layers = list(self.layers)
        state.pending = dict(self.pending)
        state.is_known = self.is_known
        state.config = copy.deepcopy(self.config)
        state.document = dict(self.document)
        state.arguments = dict(self.arguments)
        state.history = list(self.history)
        state.created = self.created
        return state

    @property
    def diff_ids(self) -> list[str]:
        return [diff_id for _descriptor, diff_id in self.layers]

    @property
    def env(self) -> dict[str, str]:
        return dict(image_config(self.config).env)

    @property
    def variables(self) -> dict[str, str]:
        """What words are expanded with: what ENV says goes before what ARG says."""
        return {**self.arguments, **self.env}

    @property
    def working_dir(self) -> str:
        return self.config.get("WorkingDir") or "/"

    @property
    def shell(self) -> list[str]:
        return list(self.config.get("Shell") or DEFAULT_SHELL)

    def view(self, paths: Paths) -> View:
        """The root that the layers make."""
        view = View()
        for diff_id in self.diff_ids:
            view.push(self.pending[diff_id] if diff_id in self.pending else paths.layer(diff_id))
        return view

    def expand(self, text: str) -> str:
        return expand(text, self.variables, self._escape)

    def expand_words(self, text: str) -> list[str]:
        return expand_words(text, self.variables, self._escape)

    def absolute(self, path: str) -> str:
        """``path`` in the image, from the working directory; a slash at its end stays, as what means a directory."""
        whole = posixpath.normpath(posixpath.join(self.working_dir, path))
        whole = "/" + whole.lstrip("/")
        directory = path.endswith(("/", "/.", "/..")) or path in (".", "..")
        return whole if whole == "/" or not directory else whole + "/"

    def argv(self, command: Command) -> list[str]:
        """A command as the image has it: the exec form, or the shell's."""
        return [*self.shell, command.words[0]] if command.shell else list(command.words)

    def add_layer(self, layer: Layer | None, told: str, members: Mapping[bytes, Member] | None = None) -> None:
        """What a step came to; None: it changed nothing."""
        if layer is not None:
            self.layers.append(layer)
            if members is not None:
                self.pending[layer[1]] = members
        self.note(told, empty=layer is None)

    def note(self, told: str, *, empty: bool = True) -> None:
        """An entry of the history."""
        entry: dict[str, Any] = {"created_by": told}
        if self.created:
            entry["created"] = self.created
        if empty:
            entry["empty_layer"] = True
        self.history.append(entry)

    # Instructions that make no layer -------------------------------------------------------------

    def configure(self, instruction: Instruction) -> None:
        """Do what an instruction says of the image. Raises ValueError."""
        if isinstance(instruction, Pairs):
            self._pairs(instruction)
        elif isinstance(instruction, Healthcheck):
            self._healthcheck(instruction)
        elif isinstance(instruction, Command):
            self._command(instruction)
        elif isinstance(instruction, Words):
            self._words(instruction)
        elif isinstance(instruction, Onbuild):
            self.config.setdefault("OnBuild", []).append(instruction.trigger)
            self.note(instruction.text)
        else:
            raise ValueError(f"{instruction.name} cannot be here")

    def set_argument(self, name: str, value: str | None) -> None:
        """ARG: a variable of this stage, which has no value where nobody gave one."""
        if value is not None:
            self.arguments[name] = value
        self.note(f"ARG {name}" + (f"={value}" if value is not None and name not in PROXIES else ""))

    def _pairs(self, instruction: Pairs) -> None:
        given = {self.expand(name): self.expand(value or "") for name, value in instruction.pairs}
        if instruction.name == "LABEL":
            self.config["Labels"] = {**(self.config.get("Labels") or {}), **given}
        else:
            self.config["Env"] = [f"{name}={value}" for name, value in {**self.env, **given}.items()]
        self.note(f"{instruction.name} " + " ".join(f"{name}={value}" for name, value in given.items()))

    def _command(self, instruction: Command) -> None:
        words = list(instruction.words) if instruction.name == "SHELL" else self.argv(instruction)
        if instruction.name == "SHELL":
            self.config["Shell"] = words
        elif instruction.name == "CMD":
            self.config["Cmd"] = words
            self._command_is_own = True
        else:
            self.config["Entrypoint"] = words
            if not self._command_is_own:
                # The base's was meant for another entrypoint.
                self.config.pop("Cmd", None)
        self.note(f"{instruction.name} {json.dumps(words, ensure_ascii=False)}")

    def _healthcheck(self, instruction: Healthcheck) -> None:
        if instruction.disabled:
            self.config["Healthcheck"] = {"Test": ["NONE"]}
        else:
            test = ["CMD-SHELL", instruction.words[0]] if instruction.shell else ["CMD", *instruction.words]
            numbers = {
                "Interval": instruction.interval,
                "Timeout": instruction.timeout,
                "StartPeriod": instruction.start_period,
                "StartInterval": instruction.start_interval,
                "Retries": instruction.retries,
            }
            self.config["Healthcheck"] = {"Test": test, **{name: value for name, value in numbers.items() if value}}
        self.note(instruction.text)

    def _words(self, instruction: Words) -> None:
        if instruction.name == "EXPOSE":
            words = [word for text in instruction.words for word in self.expand_words(text)]
            ports: dict[str, Any] = {port: {} for word in words for port in _ports(word)}
            self.config["ExposedPorts"] = {**(self.config.get("ExposedPorts") or {}), **ports}
        elif instruction.name == "VOLUME":
            words = [self.absolute(self.expand(text)).rstrip("/") or "/" for text in instruction.words]
            self.config["Volumes"] = {**(self.config.get("Volumes") or {}), **{word: {} for word in words}}
        else:
            words = [self.expand(instruction.words[0])]
            if not words[0]:
                raise ValueError(f"{instruction.text}: nothing is left once its variables are replaced")
            if instruction.name == "STOPSIGNAL" and not _SIGNAL.fullmatch(words[0]):
                raise ValueError(f"{words[0]!r} is no signal, such as SIGTERM or 15")
            if instruction.name == "MAINTAINER":
                self.document["author"] = words[0]
            else:
                self.config[{"USER": "User", "STOPSIGNAL": "StopSignal"}[instruction.name]] = words[0]
        self.note(f"{instruction.name} {' '.join(words)}")

    def workdir(self, instruction: Words) -> str:
        """WORKDIR: the directory, which is to be there; the step notes itself."""
        text = self.expand(instruction.words[0])
        if not text:
            raise ValueError(f"{instruction.text}: nothing is left once its variables are replaced")
        self.config["WorkingDir"] = path = self.absolute(text).rstrip("/") or "/"
        return path


def _ports(text: str) -> list[str]:
    match = _PORT.fullmatch(text)
    first, last = (int(match.group(1)), int(match.group(2) or match.group(1))) if match else (0, 0)
    if not match or not 1 <= first <= last <= 65535:
        raise ValueError(f"{text!r} is no port, such as 80, 53/udp or 8000-8010")
    protocol = (match.group(3) or "tcp").lower()
    return [f"{port}/{protocol}" for port in range(first, last + 1)]
