# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A RUN step with nothing left to be looked up: what a runtime needs to do it, and what its outcome depends on."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import Union

from ...model.build import MAX_SECRET
from .containerfile_lines import parse_heredoc
from .containerfile_words import split_words
from .copying import CopyJob, copy_members, members_digest
from .origins import Source, walk
from .stage import PROXIES
from .view import View, entries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from ...model.build import Build, Secret
    from ...paths import Paths
    from .containerfile_instructions import Mount, Run
    from .file_digests import FileDigests
    from .origins import Origin
    from .stage import StageState
    from .view import Found

_SIZES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_DOCUMENTS = "/dev/pipes"


@dataclass(frozen=True)
class BindMount:
    """Part of another root, on ``target``: ``source`` below the ``lower`` directories, the lowest first, without what
    is ``hidden`` there. What is written to it, if ``writable``, is lost."""

    target: str
    lower: tuple[str, ...]
    source: str
    writable: bool = False
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True)
class CacheMount:
    """A directory that outlives the build: ``id`` names it. A new one gets the content of ``seed``."""

    target: str
    id: str
    writable: bool
    mode: int
    uid: int
    gid: int
    seed: BindMount | None = None


@dataclass(frozen=True)
class TmpfsMount:
    """``size`` is in bytes, 0 where none is said."""

    target: str
    size: int


@dataclass(frozen=True)
class FileMount:
    """A file that is in memory: a secret, or a script that the Containerfile has."""

    target: str
    content: bytes = field(repr=False)
    mode: int
    uid: int
    gid: int


StepMount = Union[BindMount, CacheMount, TmpfsMount, FileMount]


@dataclass(frozen=True)
class RunStep:
    """``lower`` are the directories of the root's layers, the lowest first. ``network`` is host or none.

    ``secrets`` are values that must not be shown, wherever they come up.
    """

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    working_dir: str
    user: str
    lower: tuple[str, ...]
    mounts: tuple[StepMount, ...]
    network: str
    privileged: bool
    shm_size: int
    extra_hosts: tuple[tuple[str, str], ...]
    secrets: tuple[bytes, ...] = field(repr=False, default=())


class RunMaker:
    """Makes steps out of RUN instructions, for one build."""

    def __init__(self, paths: Paths, build: Build, digests: FileDigests, epoch: int) -> None:
        self._paths = paths
        self._build = build
        self._digests = digests
        self._epoch = epoch
        self._secrets = {secret.id: secret for secret in build.secrets}

    def arguments(self, state: StageState) -> dict[str, str]:
        """The ARGs that a step sees, without those that nobody is to remember."""
        return {name: value for name, value in state.arguments.items() if name not in PROXIES}

    def told(self, run: Run, state: StageState) -> str:
        """The history's entry."""
        given = self.arguments(state)
        listed = [f"|{len(given)}", *(f"{name}={value}" for name, value in sorted(given.items()))] if given else []
        return " ".join(["RUN", *listed, *self._argv(run, state)])

    def key_parts(self, run: Run, state: StageState, origins: Mapping[str, Origin]) -> list[Any]:
        """All that the outcome depends on beside the layers. ``origins`` by the name in ``from``; empty: the context.

        What a secret is does not count, nor what a cache holds. Raises ValueError.
        """
        env = {**self.arguments(state), **state.env}
        mounts = [self._mount_key(mount, state, origins) for mount in run.mounts]
        documents = [list(document) for document in run.heredocs]
        return [
            *(self._argv(run, state), sorted(env.items()), state.working_dir, state.config.get("User") or ""),
            *(mounts, documents, self._network(run), run.security, self._build.extra_hosts, self._build.shm_size),
            self._epoch,
        ]

    def step(self, run: Run, state: StageState, origins: Mapping[str, Origin]) -> RunStep:
        """The step. Reads the secrets. Raises ValueError, OSError."""
        if run.security == "insecure" and not self._build.privileged:
            raise ValueError("--security=insecure needs a build that is allowed to: privileged: true")
        mounts: list[StepMount] = []
        env: dict[str, str] = {"SOURCE_DATE_EPOCH": str(self._epoch)}
        env.update((name, value) for name, value in self._build.args if name in PROXIES)
        env.update({**state.arguments, **state.env})
        secrets: list[bytes] = []
        for mount in run.mounts:
            if mount.kind == "secret":
                content = self._secret(mount, state, env, mounts)
                secrets += [content] if content else []
            else:
                mounts.append(self._mount(mount, state, origins))
        if script := _script(run):
            mounts.append(FileMount(f"{_DOCUMENTS}/{run.heredocs[0].name}", script.encode(), 0o755, 0, 0))
        return RunStep(
            argv=tuple(self._argv(run, state)),
            env=env,
            working_dir=state.working_dir,
            user=state.config.get("User") or "",
            lower=tuple(self._paths.layer(diff_id) for diff_id in state.diff_ids),
            mounts=tuple(mounts),
            network=self._network(run),
            privileged=run.security == "insecure",
            shm_size=self._build.shm_size,
            extra_hosts=self._build.extra_hosts,
            secrets=tuple(secrets),
        )

    def _network(self, run: Run) -> str:
        if run.network == "host" and self._build.network == "none":
            raise ValueError("--network=host, but the build has network: none")
        return self._build.network if run.network == "default" else run.network

    def _argv(self, run: Run, state: StageState) -> list[str]:
        """The command line. A here-document alone is the script; others are the shell's to read."""
        if not run.heredocs:
            return state.argv(run)
        if _script(run):
            return [f"{_DOCUMENTS}/{run.heredocs[0].name}"]
        if _is_alone(run):
            return [*state.shell, run.heredocs[0].chomped]
        documents = "".join(f"\n{document.content}{document.name}" for document in run.heredocs)
        return [*state.shell, run.words[0] + documents]

    def _mount(self, mount: Mount, state: StageState, origins: Mapping[str, Origin]) -> StepMount:
        options = {name: state.expand(value) for name, value in mount.options.items()}
        target = state.absolute(options["target"]).rstrip("/") or "/"
        if target == "/":
            raise ValueError("--mount: the target cannot be the root")
        if mount.kind == "tmpfs":
            return TmpfsMount(target, _size(options.get("size", "0")))
        if mount.kind == "bind":
            return self._bind(target, options, origins[options.get("from", "")], writable=mount.flag("rw"))
        seed = self._bind(target, options, origins[options["from"]]) if "from" in options else None
        owner = _number("uid", options, 0), _number("gid", options, 0)
        name = options.get("id", options["target"])
        return CacheMount(target, name, not mount.flag("ro"), _number("mode", options, 0o755, 8), *owner, seed)

    def _bind(self, target: str, options: Mapping[str, str], origin: Origin, *, writable: bool = False) -> BindMount:
        source, found = _find(origin, options.get("source", ""))
        hidden: tuple[str, ...] = ()
        if origin.ignore and found.is_directory:
            wanted = {path for path, _found in walk(origin, Source(source, found))}
            hidden = tuple(_hidden(found, source, b"", wanted | {way for path in wanted for way in _ways(path)}))
        lower = tuple(os.fsdecode(path) for path in reversed(_root(origin.view).below))
        return BindMount(target, lower, os.fsdecode(source), writable, hidden)

    def _mount_key(self, mount: Mount, state: StageState, origins: Mapping[str, Origin]) -> list[Any]:
        options = {name: state.expand(value) for name, value in mount.options.items()}
        key: list[Any] = [mount.kind, sorted(options.items())]
        if mount.kind == "bind" or "from" in options:
            origin = origins[options.get("from", "")]
            if origin.owner is None:
                # Another stage's root is what its layers are, and their directories are named after them.
                return [*key, [os.path.basename(os.fsdecode(path)) for path in _root(origin.view).below]]
            source, found = _find(origin, options.get("source", ""))
            job = CopyJob([os.fsdecode(source) or "."], "/" if found.is_directory else "/file")
            key.append(members_digest(copy_members(job, origin, View(), 0), self._digests))
        return key

    def _secret(self, mount: Mount, state: StageState, env: dict[str, str], mounts: list[StepMount]) -> bytes:
        """Show a secret to the step, as a file or in its environment; its value."""
        options = {name: state.expand(value) for name, value in mount.options.items()}
        name = options.get("id") or os.path.basename(options.get("target", "")) or options["env"]
        secret = self._secrets.get(name)
        if secret is None:
            if mount.flag("required"):
                raise ValueError(f"the secret {name!r} is required, and the build was given none of that id")
            return b""
        content = _read_secret(secret)
        if "env" in options:
            env[options["env"]] = content.decode(errors="surrogateescape")
        if "env" not in options or "target" in options:
            target = state.absolute(options.get("target", f"/run/secrets/{name}"))
            owner = _number("uid", options, 0), _number("gid", options, 0)
            mounts.append(FileMount(target, content, _number("mode", options, 0o400, 8), *owner))
        return content


def mount_targets(step: RunStep) -> list[str]:
    """Where something is mounted in the step's root."""
    return [mount.target for mount in step.mounts]


def _is_alone(run: Run) -> bool:
    """Whether the whole command is a here-document."""
    if not run.shell or len(run.heredocs) != 1:
        return False
    words = split_words(run.words[0])
    return len(words) == 1 and parse_heredoc(words[0]) is not None


def _script(run: Run) -> str:
    """The script that a here-document with an interpreter of its own is."""
    if not run.heredocs or not _is_alone(run) or not run.heredocs[0].content.startswith("#!"):
        return ""
    return run.heredocs[0].chomped


def _root(view: View) -> Found:
    found = view.find(b"")
    if found is None:
        raise ValueError("--mount: there is nothing to mount: no context, or an image without layers")
    return found


def _find(origin: Origin, text: str) -> tuple[bytes, Found]:
    path = os.fsencode(os.path.normpath("/" + text).lstrip("/"))
    if ".." in text.split("/"):
        raise ValueError(f"--mount: the source {text!r} leaves {origin.told}")
    source = origin.view.resolve(path)
    found = origin.view.find(source)
    if found is None or (source and origin.ignore.excludes(os.fsdecode(source))):
        raise ValueError(f"--mount: the source {text!r} is not in {origin.told}")
    if not found.is_directory and not stat.S_ISREG(found.stat.st_mode):
        raise ValueError(f"--mount: the source {text!r} is neither a directory nor a file")
    return source, found


def _hidden(directory: Found, path: bytes, inner: bytes, wanted: set[bytes]) -> Sequence[str]:
    """The paths below the origin's root that are not wanted; of a directory of them, the directory alone."""
    hidden: list[str] = []
    for entry in entries(directory):
        relative = inner + b"/" + entry.name if inner else entry.name
        whole = path + b"/" + entry.name if path else entry.name
        if relative not in wanted:
            hidden.append(os.fsdecode(whole))
        elif entry.is_directory:
            hidden += _hidden(entry, whole, relative, wanted)
    return hidden


def _ways(path: bytes) -> Iterator[bytes]:
    """The directories that lead to ``path``."""
    while path := path.rpartition(b"/")[0]:
        yield path


def _read_secret(secret: Secret) -> bytes:
    if not secret.path:
        return secret.value
    with open(secret.path, "rb") as file:
        content = file.read(MAX_SECRET + 1)
    if len(content) > MAX_SECRET:
        raise ValueError(f"the secret {secret.id!r} has grown beyond {MAX_SECRET} bytes")
    return content


def _number(name: str, options: Mapping[str, str], default: int, base: int = 10) -> int:
    text = options.get(name)
    try:
        value = default if text is None else int(text, base)
    except ValueError:
        value = -1
    if not 0 <= value <= (0o7777 if base == 8 else (1 << 32) - 2):
        raise ValueError(f"--mount: {name} is {text!r}, which is no {'mode such as 0755' if base == 8 else 'id'}")
    return value


def _size(text: str) -> int:
    number = text.lower().rstrip("ib")
    unit = number[-1:] if number[-1:] in ("k", "m", "g") else ""
    digits = number[: len(number) - len(unit)]
    if not digits.isascii() or not digits.isdigit() or len(digits) > 15:
        raise ValueError(f"--mount: size is {text!r}, which is no number of bytes, such as 64m")
    return int(digits) * _SIZES[unit]
