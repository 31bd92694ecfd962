# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build an image out of a Containerfile, or tell what building it would do.

Stages are made when something needs them, each once; those that nothing needs are not. A step that makes a layer has a
key of all that it depends on (cache.py): the layers below, what it says with its variables replaced, and the content,
mode and owner of what it copies. Its layer is made where no record of that key is there. As layers are named after
their content, a step that was done again with the same outcome leaves those after it as they were.

A forecast goes the same way and writes nothing: layers of files are computed, and where a step would have to run, all
that depends on it is unknown. Same inputs, same digest: no time, host or order of anything gets into an image.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace

from ...errors import InvalidContainerfile, InvalidImage, InvalidOption, KernelError, NotFound, Unsupported
from ...linux.lean import suppress
from ...model.build import Forecast, Step
from ...model.platform import parse_platform
from ...model.reference import normalise
from ..manifest import OCI_LAYER, Descriptor, encode
from ..platform import host_platform
from ..store import Store, write_store
from .arguments import Arguments, epoch_of
from .cache import Record, StepCache, step_key
from .commit import commit_layer, put_chunks
from .containerfile import parse_containerfile, parse_trigger
from .containerfile_instructions import Copy, Pairs, Run, Words
from .containerfile_words import expand
from .copy_step import CopyPlanner, LayerPlan
from .copying import find_owner, members_digest
from .documents import date_of, image_documents, oci_layer, put_image
from .download import Downloads
from .file_digests import FileDigests
from .ignore import Ignore, read_ignore
from .members import LayerMaker, NotADirectory, hash_blob, write_tar
from .origins import Origin, context_origin
from .run_step import RunMaker
from .stage import DEFAULT_PATH, StageState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any

    from ...model.build import Build
    from ...paths import Paths
    from .containerfile_instructions import Containerfile, Instruction, Stage
    from .run_step import RunStep

    # Runs a step and gives the upper directory of what it changed, which goes when the block is left.
    Runner = Callable[[RunStep, str], AbstractContextManager[str]]
    Tell = Callable[[str], None]

_USUAL_NAMES = ("Containerfile", "Dockerfile")
# What a processor runs beside its own architecture.
_ALSO_RUNS = {"amd64": ("386",), "arm64": ("arm",)}


class Builder:
    """One build. Without a ``runner`` it is a forecast, which only reads."""

    def __init__(
        self, paths: Paths, build: Build, *, runner: Runner | None = None, tell: Tell = lambda _line: None
    ) -> None:
        self.paths = paths
        self.build = build = replace(build, epoch=epoch_of(build))
        self.epoch = build.epoch or 0
        path = find_containerfile(build)
        self.file = _read_containerfile(build, path)
        self.arguments = Arguments(build, self.file)
        self.runner = runner
        self.digests = FileDigests(os.path.join(paths.build_cache, "files", _context_name(build)))
        self.context = context_origin(build.context, read_ignore(build.context, path) if build.context else Ignore())
        self.runs = RunMaker(paths, build, self.digests, self.epoch)
        downloads = Downloads(paths, build.access, stores=runner is not None, tell=tell)
        self.copies = CopyPlanner(paths, self.digests, self.epoch, escape=self.file.escape, downloads=downloads)
        self._cache = StepCache(paths)
        self._store = Store(paths.images)
        self._tell = tell
        self._stages: dict[int, StageState] = {}
        self._images: dict[tuple[str, str], StageState] = {}
        self._steps: list[tuple[int, Step]] = []
        self._pulls: list[str] = []
        self._where = ""

    def forecast(self) -> Forecast:
        """What building comes to. Raises InvalidContainerfile, InvalidOption, and others for what is not there."""
        state = self._target()
        digest = ""
        if state.is_known:
            _config, manifest = self._documents(state)
            digest = f"sha256:{hashlib.sha256(encode(manifest)).hexdigest()}"
        warnings = [f"args: no ARG declares {name}, so it has no effect" for name in self.arguments.unused()]
        steps = tuple(step for _number, step in sorted(self._steps, key=lambda entry: entry[0]))
        return Forecast(digest, steps, tuple(self._pulls), tuple(warnings))

    def make(self) -> str:
        """Build, and let the name mean the image; its digest. The caller holds ``build_lock``."""
        state = self._target()
        config, manifest = self._documents(state)
        with write_store(self.paths) as store:
            descriptor = put_image(store, self.build.name, config, manifest)
        with suppress(OSError):
            self.digests.save()
        return descriptor.digest

    # Stages -----------------------------------------------------------------------------------------

    def _target(self) -> StageState:
        stages, target = self.file.stages, self.build.target
        if not target:
            return self._stage(stages[-1])
        found = [stage for stage in stages if target.lower() == stage.name or target == str(stage.number)]
        if not found:
            names = ", ".join(stage.name or str(stage.number) for stage in stages)
            raise InvalidOption("target", target, f"a stage of {self.file.file}: {names}")
        return self._stage(found[-1])

    def _stage(self, stage: Stage) -> StageState:
        if stage.number not in self._stages:
            self._stages[stage.number] = self._make_stage(stage)
        return self._stages[stage.number]

    def _make_stage(self, stage: Stage) -> StageState:
        state: StageState = self._guarded(stage.base, lambda: self._base(stage))
        self._note(stage, stage.base, "configured")
        state.created = date_of(self.build.epoch)
        triggers = state.config.pop("OnBuild", None) or []
        for text in triggers:
            instruction = parse_trigger(str(text), f"{self.file.file}:{stage.base.line}: ONBUILD", "\\")
            self._do(stage, state, instruction)
        for instruction in stage.instructions:
            self._do(stage, state, instruction)
        return state

    def _do(self, stage: Stage, state: StageState, instruction: Instruction) -> None:
        outcome = self._guarded(instruction, lambda: self._step(stage, state, instruction))
        self._note(stage, instruction, outcome)

    def _guarded(self, instruction: Instruction, act: Callable[[], Any]) -> Any:
        """Do it; what cannot be is an error with file and line."""
        outer, self._where = self._where, f"{self.file.file}:{instruction.line}"
        try:
            return act()
        except (ValueError, InvalidImage, InvalidOption) as error:
            raise InvalidContainerfile(self.file.file, instruction.line, f"{instruction.name}: {error}") from error
        except OSError as error:
            raise KernelError(f"{self._where}: {instruction.name}", error) from error
        finally:
            self._where = outer

    def _note(self, stage: Stage, instruction: Instruction, outcome: str) -> None:
        self._steps.append((stage.number, Step(stage.told, instruction.line, instruction.text, outcome)))

    def _step(self, stage: Stage, state: StageState, instruction: Instruction) -> str:
        """Do one instruction; what became of it, as Step has it."""
        self._tell(f"[{stage.told}] line {instruction.line}: {instruction.text}")
        if isinstance(instruction, Pairs) and instruction.name == "ARG":
            self.arguments.declare(state, instruction)
        elif isinstance(instruction, Copy):
            return self._layer(state, self._plan_copy(stage, state, instruction))
        elif isinstance(instruction, Run):
            return self._layer(state, self._plan_run(stage, state, instruction))
        elif isinstance(instruction, Words) and instruction.name == "WORKDIR":
            return self._workdir(state, instruction)
        else:
            state.configure(instruction)
        return "configured"

    # Bases and origins -----------------------------------------------------------------------------------

    def _base(self, stage: Stage) -> StageState:
        base = stage.base
        name = expand(base.image, self.arguments.everywhere, self.file.escape)
        if not name:
            raise ValueError(f"{base.image}: nothing is left once its variables are replaced; give it as an ARG")
        platform = expand(base.platform, self.arguments.everywhere, self.file.escape) or self.build.platform
        if platform:
            check_machine(platform)
            platform = str(parse_platform("platform", platform))
        earlier = self._earlier(stage, name)
        if earlier is not None:
            return self._stage(earlier).child(self.file.escape)
        if name == "scratch":
            state = StageState(self.file.escape)
            wanted = parse_platform("platform", platform) if platform else host_platform()
            state.document = {"architecture": wanted.architecture, "os": wanted.os}
            if wanted.variant:
                state.document["variant"] = wanted.variant
            state.config["Env"] = [f"PATH={DEFAULT_PATH}"]
            return state
        return self._image(name, platform).child(self.file.escape)

    def _earlier(self, stage: Stage, name: str) -> Stage | None:
        """The stage of that name in front of ``stage``, the nearest of them."""
        before = [one for one in self.file.stages[: stage.number] if one.name and one.name == name.lower()]
        return before[-1] if before else None

    def _image(self, name: str, platform: str) -> StageState:
        """Another image, pulled where that is needed and this is no forecast."""
        normal = normalise("FROM", name)
        if (normal, platform) not in self._images:
            self._images[normal, platform] = self._open_image(normal, platform)
        return self._images[normal, platform]

    def _open_image(self, name: str, platform: str) -> StageState:
        from .bases import find_base  # registries, where a base has to be pulled

        state = StageState(self.file.escape)
        found = find_base(self.paths, self.build, name, platform, forecast=self.runner is None, tell=self._tell)
        if found is None:
            self._pulls += [name] if name not in self._pulls else []
            state.is_known = False
            return state
        manifest, document = found
        diff_ids = document["rootfs"]["diff_ids"]
        state.layers = [(oci_layer(blob), diff_id) for blob, diff_id in zip(manifest.layers, diff_ids)]
        state.document = {
            key: document[key] for key in ("architecture", "os", "variant", "author") if document.get(key)
        }
        state.config = dict(document.get("config") or {})
        state.history = [entry for entry in document.get("history") or () if isinstance(entry, dict)]
        if self.runner:
            # What it is made of stays while something is built on it, whatever is removed meanwhile.
            with write_store(self.paths):
                self._cache.keep(step_key("FROM", state.diff_ids), Record(None, state.layers), f"FROM {name}")
        return state

    def _origin(self, stage: Stage, name: str) -> tuple[Origin, StageState] | None:
        """The stage (by name or number) or image that files come from; None where that is not known yet."""
        if name.isascii() and name.isdigit():
            if int(name) >= stage.number:
                raise ValueError(f"there is no stage {name} in front of this one")
            state = self._stage(self.file.stages[int(name)])
        else:
            earlier = self._earlier(stage, name)
            if not earlier and any(name.lower() == one.name for one in self.file.stages[stage.number :]):
                raise ValueError(f"the stage {name} does not come before this one")
            state = self._stage(earlier) if earlier else self._image(name, self.build.platform)
        view = state.view(self.paths)
        return (Origin(name, view), state) if state.is_known and view.is_on_disk else None

    # Steps that make layers -------------------------------------------------------------------------

    def _workdir(self, state: StageState, instruction: Words) -> str:
        path = state.workdir(instruction)
        told = f"WORKDIR {path}"
        if not state.is_known:
            state.add_layer(None, told)
            return "built"
        view = state.view(self.paths)
        place = view.resolve(os.fsencode(path.strip("/")))
        below = view.lookup(place) if place else None
        if not place or below is not None:
            state.note(told)
            return "configured"
        if state.pending and state.config.get("User"):
            return self._layer(state, None)
        maker = LayerMaker(view, self.epoch * 10**9)
        user = state.config.get("User") or ""
        try:
            maker.make_directory(place, find_owner(user, view) if user else (0, 0))
        except NotADirectory as error:
            raise ValueError(f"{path!r} cannot be: {error}") from error
        key = step_key("members", state.diff_ids, members_digest(maker.members, self.digests))
        return self._layer(state, LayerPlan(key, told, members=lambda: maker.members))

    def _plan_copy(self, stage: Stage, state: StageState, copy: Copy) -> LayerPlan | None:
        # What is copied from is looked at in any case: a forecast tells of all that is missing.
        if copy.origin:
            found = self._origin(stage, copy.origin)
            return self.copies.plan_from(state, copy, *found) if found and state.is_known else None
        if state.is_known:
            return self.copies.plan(state, copy, self.context)
        self.copies.check(state, copy, self.context)
        return None

    def _plan_run(self, stage: Stage, state: StageState, run: Run) -> LayerPlan | None:
        names = [mount.options.get("from", "") for mount in run.mounts if mount.kind in ("bind", "cache")]
        told = self.runs.told(run, state)
        origins = {"": self.context}
        for name in filter(None, names):
            found = self._origin(stage, name)
            if found is None:
                return LayerPlan("", told)
            origins[name] = found[0]
        parts = self.runs.key_parts(run, state, origins)
        key = step_key("RUN", state.diff_ids, parts)
        return LayerPlan(key, told, run=lambda: self.runs.step(run, state, origins))

    def _layer(self, state: StageState, plan: LayerPlan | None) -> str:
        """Take the layer from the cache, or make it; in a forecast compute it, if that can be."""
        if plan is None:
            state.is_known = False
            return "built"
        record = self._cache.find(plan.key) if plan.key and state.is_known and self.build.cache else None
        if record is not None:
            state.add_layer(record.layer, plan.told)
            if self.runner:
                self._cache.used(plan.key)
            return "cached"
        if self.runner:
            state.add_layer(self._make_layer(state, plan), plan.told)
        elif state.is_known and plan.members is not None:
            members = plan.members()
            descriptor = hash_blob(OCI_LAYER, write_tar(members))
            held = {path: member for path, (member, _content) in members.items()}
            state.add_layer((descriptor, descriptor.digest), plan.told, held)
        else:
            state.is_known = False
        return "built"

    def _make_layer(self, state: StageState, plan: LayerPlan) -> tuple[Descriptor, str] | None:
        if plan.run is not None and self.runner is not None:
            with self.runner(plan.run(), f"{self._where}: {plan.told}") as upper, write_store(self.paths) as store:
                layer = commit_layer(self.paths, store, upper, state.layers, self.epoch)
                self._cache.keep(plan.key, Record(layer, state.layers), plan.told)
                return layer
        with write_store(self.paths) as store:
            layer = None
            if plan.chunks is not None:
                layer = put_chunks(self.paths, store, plan.chunks())
            elif plan.members is not None:
                members = plan.members()
                layer = put_chunks(self.paths, store, write_tar(members)) if members else None
            self._cache.keep(plan.key, Record(layer, state.layers), plan.told)
            return layer

    # The image ----------------------------------------------------------------------------------------

    def _documents(self, state: StageState) -> tuple[dict[str, Any], dict[str, Any]]:
        """The configuration and the manifest (image-spec, config.md and manifest.md)."""
        section = dict(state.config)
        if self.build.labels:
            section["Labels"] = {**(section.get("Labels") or {}), **dict(self.build.labels)}
        document = {**state.document, "config": section}
        if state.created:
            document["created"] = state.created
        return image_documents(document, state.layers, state.history)


def check_machine(platform: str) -> None:
    """Raise Unsupported where this machine does not run programs of ``platform``."""
    wanted, host = parse_platform("platform", platform), host_platform()
    if wanted.os != host.os or wanted.architecture not in (host.architecture, *_ALSO_RUNS.get(host.architecture, ())):
        raise Unsupported(f"platform {wanted}: this host is {host}, and builds run on the machine that they are for")


def find_containerfile(build: Build) -> str:
    """The path of the Containerfile; empty where the build says its text."""
    if build.content is not None or build.file:
        return build.file
    paths = [os.path.join(build.context, name) for name in _USUAL_NAMES]
    return next(filter(os.path.exists, paths), paths[0])


def _read_containerfile(build: Build, path: str) -> Containerfile:
    if build.content is not None:
        return parse_containerfile(build.content)
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return parse_containerfile(file.read(), path)
    except FileNotFoundError as error:
        raise NotFound("file", path, "it is what the build is of; make it first") from error
    except OSError as error:
        raise KernelError("reading the Containerfile", error) from error


def _context_name(build: Build) -> str:
    return hashlib.sha256(os.fsencode(build.context)).hexdigest()[:32] + ".json"
