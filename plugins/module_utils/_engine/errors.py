# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every error that the engine raises on purpose says what failed, which thing, why, and what to do next.

    EngineError
    +-- InvalidOption          an option has a value that cannot be meant (option, value, expected)
    |   +-- InvalidReference   an image name or digest is malformed
    +-- InvalidContainerfile   a Containerfile says what cannot be meant (file, line, why)
    +-- NotFound               an image, container, network or cgroup that was named is not on this host
    +-- Conflict               what is wanted clashes with what is there (overlapping subnets, a port in use)
    +-- StateCorrupt           a file of ours on disk is not what we wrote
    +-- DigestMismatch         content is not what its digest says
    +-- InvalidImage           an image's manifest, configuration or layer is malformed or hostile
    +-- RegistryError          a registry refused or failed
    +-- Untrusted              an image does not meet the host's policy of signatures
    +-- KernelError            a system call failed (what was being done, path, errno)
    +-- Unsupported            this kernel or host lacks a feature, a controller or a program
    +-- ProgramFailed          a program of the host exited with an error (argv, status, stderr)
    +-- BusError               a service of the host (systemd) refused a D-Bus call (what, why, the error's name)
    +-- BuildFailed            a step of a build ended with an error (step, exit code, its last lines)
    +-- RuntimeFailed          a container could not be created, started, entered or stopped
    +-- NotConverged           after apply, the plan still wants changes (told field by field)

Only the front doors (a module's fail_json, a command's exit code) turn these into words for people.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class EngineError(Exception):
    """The root of every error raised on purpose. ``str(error)`` is one line that a user can act on."""


class InvalidOption(EngineError):
    """``option`` has ``value``, but ``expected`` describes what can be used there."""

    def __init__(self, option: str, value: object, expected: str) -> None:
        self.option = option
        self.value = value
        self.expected = expected
        told = option if option.isprintable() else repr(option)
        super().__init__(f"{told}: {_shown(value)} is not valid; expected {expected}")


def _shown(value: object) -> str:
    """A value as Python writes it, on one line, and no more of it than a person reads."""
    try:
        text = repr(value)
    except RecursionError:
        return "what is nested too deeply to be shown"
    return text if len(text) <= 400 else text[:400] + "..."


def printable(text: str) -> str:
    """What others have written, on one line, without what a terminal would take as orders."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))


class InvalidReference(InvalidOption):
    """An image reference or a digest does not follow the OCI distribution-spec's grammar."""


class InvalidContainerfile(EngineError):
    """``file`` has in ``line`` (counted from 1; 0: the whole file) what cannot be, for the reason ``why``."""

    def __init__(self, file: str, line: int, why: str) -> None:
        self.file = file
        self.line = line
        super().__init__(f"{file}:{line}: {why}" if line else f"{file}: {why}")


class NotFound(EngineError):
    """``kind`` (image, container, network, ...) ``name`` is not ``where`` it should be; ``advice``: how to get it."""

    def __init__(self, kind: str, name: str, advice: str = "", *, where: str = "on this host") -> None:
        self.kind = kind
        self.name = name
        self.where = where
        super().__init__(f"{kind} {name!r} is not {where}" + (f"; {advice}" if advice else ""))


class Conflict(EngineError):
    """What is wanted cannot stand beside what is there."""


class StateCorrupt(EngineError):
    """A state file does not parse or lacks a field."""

    def __init__(self, path: str, why: str) -> None:
        self.path = path
        super().__init__(f"{path}: {why}; remove it to let the next run write it anew")


class DigestMismatch(EngineError):
    """Content does not hash to the digest that names it."""

    def __init__(self, what: str, expected: str, found: str) -> None:
        self.expected = expected
        self.found = found
        super().__init__(f"{what}: content has digest {found}, expected {expected}; nothing was stored")


class InvalidImage(EngineError):
    """A manifest, configuration or layer does not follow the OCI image-spec, or tries to leave its place."""


class RegistryError(EngineError):
    """A registry answered with an error, or not at all; ``status`` is HTTP's, 0 where there was no answer.

    ``contradicts``: what it sends of a blob cannot be of that blob; what came of it is not worth keeping.
    """

    contradicts = False

    def __init__(self, message: str, status: int = 0) -> None:
        self.status = status
        super().__init__(message)


class Untrusted(EngineError):
    """An image does not meet the policy that the host has for its name."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"image {name} does not meet this host's policy: {why}; nothing was stored")


class KernelError(EngineError):
    """A system call failed while the engine was ``doing`` something. Raise it ``from`` the OSError."""

    def __init__(self, doing: str, cause: OSError) -> None:
        self.errno = cause.errno
        where = f" {cause.filename}" if cause.filename else ""
        super().__init__(f"{doing}:{where} {cause.strerror or cause}")


class Unsupported(EngineError):
    """This host lacks what is needed: a kernel feature, a controller, a program."""


class ProgramFailed(EngineError):
    """A program of the host ended with an error; ``output`` is what it had written to its standard output."""

    def __init__(self, argv: Sequence[str], status: int, stderr: str, output: bytes = b"") -> None:
        self.status = status
        self.output = output
        last = stderr.strip().splitlines()[-1:] or ["no message"]
        super().__init__(f"{argv[0]} failed with status {status}: {last[0]}")


class BusError(EngineError):
    """A D-Bus call was refused; ``name`` is the error's own (``org.freedesktop.systemd1.NoSuchUnit``)."""

    def __init__(self, what: str, why: str, name: str = "") -> None:
        self.name = name
        super().__init__(f"{what}: {why or name or 'no reason was given'}")


class BuildFailed(EngineError):
    """A program that a step of a build ran ended with ``status``; ``output`` are its last lines, without secrets."""

    def __init__(self, step: str, status: int, output: str) -> None:
        self.status = status
        self.output = output
        shown = step if len(step) <= 300 else step[:300] + "..."
        super().__init__(f"{shown}: it ended with status {status}" + (f", its last lines:\n{output}" if output else ""))


class RuntimeFailed(EngineError):
    """An OCI operation (create, start, exec, kill, delete) failed."""


class NotConverged(EngineError):
    """Changes were applied, and the host still differs from what is wanted."""
