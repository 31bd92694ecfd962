# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The half of a host that is its images: seen, made whole as they are wanted, and made; see host.py.

What only some modules need is imported where it is needed: containers are started without a registry's client.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any, TypeVar

from .errors import InvalidImage, NotFound, RegistryError
from .image.build.recipe import assemble_image, resolve_recipe
from .image.gc import remove_image, sweep
from .image.observe import damaged_digest, observe_images
from .image.tagging import resolve_tag, tag_image
from .linux.files import exclusive_lock
from .model.image import Image
from .model.platform import same_platform
from .model.prune import Prunable
from .model.registry import Access
from .plan.archive import ExportImages, LoadImage
from .plan.bootstrap import BootstrapImage
from .plan.build import BuildImage
from .plan.image import AssembleImage, PullImage, RemoveImage, RestoreImage, TagImage
from .plan.policy import RemovePolicy, SetPolicy
from .plan.prune import PruneBuildCache, SweepImages, lets_go
from .plan.push import PushImage, WithdrawImage
from .plan.sbom import RemoveSbom, WriteSbom

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from .image.fsck import Damage
    from .model.archive import Archive
    from .model.bootstrap import Bootstrap
    from .model.build import Build, Forecast
    from .model.history import HistoryStep, LayerNode
    from .model.prune import Prune
    from .model.registry import RemoteImage
    from .model.sbom import Sbom
    from .model.transfer import Offer, Transfer
    from .model.trust import Policy
    from .paths import Paths
    from .plan.change import Change

    Absent = Callable[[NotFound], None]
    Show = Callable[[str], None]

T = TypeVar("T")


class HostImages:
    """What Host is to its images. ``absent``: see Host. ``notes`` are what a user should hear, though all went well."""

    def __init__(self, paths: Paths, absent: Absent) -> None:
        self.paths = paths
        self.absent = absent
        self.notes: list[str] = []
        self._lock = exclusive_lock(paths.lock)
        self._seen: dict[str, Any] = {}

    def _once(self, kind: str, look: Callable[[], T]) -> T:
        if kind not in self._seen:
            self._seen[kind] = look()
        found: T = self._seen[kind]
        return found

    # What is there --------------------------------------------------------------------------------

    def observe_images(self) -> dict[str, Image]:
        return self._once("images", lambda: observe_images(self.paths))

    def verify_image(self, name: str) -> Image | None:
        """The image with those of its layers told that are not what their archives say; reads all of it."""
        from .image.fsck import damaged_layers  # rarely asked for

        image = self.observe_images().get(name)
        return image and replace(image, damaged=damaged_layers(self.paths, name))

    def find_damage(self, show: Show | None = None) -> list[Damage]:
        """What of the store is not what it says it is; ``show`` is told what is looked at."""
        from .image.fsck import find_damage  # rarely asked for

        return find_damage(self.paths, show=show)

    def repair(
        self, damage: Sequence[Damage], progress: Show | None = None, access: Access | None = None
    ) -> list[Damage]:
        """Mend what find_damage() found: layers out of their blobs, blobs out of registries; returns what is left.

        The caller holds the lock. What was built or loaded here is to be built or loaded again.
        """
        from .image.restore import repair  # rarely asked for

        self._seen.clear()
        return repair(self.paths, damage, access or Access(), progress or (lambda _line: None))

    def read_history(self, name: str) -> list[HistoryStep]:
        """How an image came to be."""
        from .image.history import read_history  # people ask for it, not modules

        return read_history(self.paths, name)

    def read_layer_tree(self) -> list[LayerNode]:
        """What images share."""
        from .image.history import read_layer_tree  # people ask for it, not modules

        return read_layer_tree(self.paths)

    def observe_prunable(self, prune: Prune, now: float) -> Prunable:
        """The images that have a name, with when they came and whether they are used; and what nothing uses."""
        from .image.build.prune import observe_build_cache  # rarely asked for
        from .image.gc import observe_garbage, observe_stored  # the same

        cache = observe_build_cache(self.paths) if prune.build_cache else ()
        going = tuple(entry for entry in cache if lets_go(prune, entry, now))
        garbage = observe_garbage(self.paths, uncached={entry.name for entry in going})
        return Prunable(tuple(observe_stored(self.paths)), going, garbage)

    def observe_policy(self) -> Policy | None:
        from .image.trust.policy import observe_policy  # containers do without

        return self._once("policy", lambda: observe_policy(self.paths))

    def observe_sbom(self, path: str) -> Sbom | None:
        from .image.sbom.write import observe_sbom  # containers do without

        return observe_sbom(path)

    def observe_archive(self, path: str) -> Archive | None:
        """What is at ``path``, verified; None where that is no archive."""
        from .image.archive.save import observe_archive  # other modules do without

        return observe_archive(path)

    def observe_pushed(self, wanted: RemoteImage) -> RemoteImage | None:
        """What the registry has under that name, by a HEAD request."""
        from .image.push import observe_pushed  # http and ssl: 60 ms

        with self._elsewhere():
            return observe_pushed(wanted)

    # What is wanted, made whole: writes nothing ------------------------------------------------------

    def resolve_image(self, wanted: Image, *, refresh: bool = False) -> Image:
        """With the digest that assembling would give, or that the registry has: that is asked where the host has no
        such image, and in any case to ``refresh``. One that is too damaged to be an image keeps its digest else."""
        if wanted.recipe is not None:
            return self._complete(wanted, lambda: resolve_recipe(self.paths, wanted))
        current = self.observe_images().get(wanted.name)
        damaged = damaged_digest(self.paths, wanted.name) if current is None and not refresh else ""
        if damaged:
            return self._resolve_damaged(replace(wanted, digest=damaged))
        if refresh or current is None or not same_platform(wanted.platform, current.platform):
            return self._complete(wanted, lambda: self._resolve_remote(wanted, current))
        return wanted

    def _resolve_damaged(self, wanted: Image) -> Image:
        try:
            return self._resolve_remote(wanted, None)
        except NotFound as error:
            told = f"image {wanted.name}: its manifest or configuration is gone or damaged, and its registry lacks"
            raise InvalidImage(f"{told} {wanted.digest}: pull what it has by now with pull: always") from error
        except InvalidImage:
            if not wanted.platform:
                raise
            # It may be for another platform than the one that is asked for now.
            return self._complete(wanted, lambda: self._resolve_remote(replace(wanted, digest=""), None))

    def _resolve_remote(self, wanted: Image, current: Image | None) -> Image:
        from .image.pull import resolve_remote  # http and ssl: 60 ms

        try:
            with self._elsewhere():
                digest = resolve_remote(self.paths, wanted, current.digest if current else "", note=self.notes.append)
        except RegistryError as error:
            if error.status != 404:
                raise
            raise NotFound("image", wanted.name, str(error), where="at its registry") from error
        return replace(wanted, digest=digest)

    @contextlib.contextmanager
    def _elsewhere(self) -> Iterator[None]:
        """Whoever is asked may take long to answer: others may change the host meanwhile."""
        with self._lock.let_go():
            yield
        self._seen.clear()

    def resolve_tag(self, source: str, wanted: Image) -> Image:
        """With the digest of the image of this host that ``source`` means."""
        return self._complete(wanted, lambda: resolve_tag(self.observe_images(), source, wanted))

    def resolve_sbom(self, wanted: Sbom) -> Sbom:
        """With the digest of the document that the image gives."""
        from .image.sbom.write import make_sbom  # containers do without

        return self._complete(wanted, lambda: make_sbom(self.paths, wanted)[0])

    def resolve_archive(self, wanted: Archive) -> Archive:
        """With the digests of the images that are to be in it."""
        from .image.archive.save import resolve_archive  # other modules do without

        return self._complete(wanted, lambda: resolve_archive(self.paths, wanted))

    def resolve_transfer(self, offer: Offer) -> Transfer:
        """What of an image that the controller offers must be sent."""
        from .image.transfer.receive import resolve_transfer  # other modules do without

        return resolve_transfer(self.paths, offer)

    def receive_image(self, transfer: Transfer, incoming: str) -> None:
        """Take an image that was sent to the directory ``incoming``. The caller holds the lock."""
        from .image.transfer.receive import receive_image  # other modules do without

        self._seen.clear()
        receive_image(self.paths, transfer, incoming)

    def resolve_load(self, path: str, names: Sequence[str]) -> dict[str, Image]:
        """The images that loading ``names`` out of an archive gives; what is lacking here was verified there."""
        from .image.archive.load import resolve_load  # other modules do without

        unknown = {name: Image(name) for name in names}
        return self._complete(unknown, lambda: resolve_load(self.paths, path, names))

    def resolve_push(self, wanted: RemoteImage) -> RemoteImage:
        """With the digest that the registry is to have; asks nobody."""
        from .image.push import resolve_push  # http and ssl: 60 ms

        return self._complete(wanted, lambda: resolve_push(self.paths, wanted))

    def forecast_build(self, build: Build) -> Forecast:
        """What building would come to. A context that is not there may be an earlier step's work."""
        from .building import forecast_build  # containers do without

        return forecast_build(self.paths, build, self.absent)

    def check_bootstrap(self, bootstrap: Bootstrap) -> None:
        """Refuse what this host's programs cannot make. One that is not there may be an earlier task's work."""
        from .image.build.bootstrap import check_bootstrap  # other modules do without

        self._complete("", lambda: check_bootstrap(bootstrap))

    def _complete(self, wanted: T, resolve: Callable[[], T]) -> T:
        """What ``resolve`` gives; ``wanted`` as it is where it needs what is not there, and ``absent`` allows that."""
        try:
            return resolve()
        except NotFound as error:
            self.absent(error)
            return wanted

    # Making it so -----------------------------------------------------------------------------------

    def _apply_image(self, change: Change, progress: Show | None) -> bool:
        """Make a change of an image, or of what goes with images; False where it is of something else.

        ``progress`` gets a line now and then from what takes long.
        """
        return self._make(change, progress) or self._carry(change, progress) or self._keep(change)

    def _make(self, change: Change, progress: Show | None) -> bool:
        """What gives images to the host."""
        if isinstance(change, PullImage):
            from .image.pull import pull_image  # http and ssl: 60 ms

            # Pulls have locks of their own; others may change the host meanwhile.
            with self._lock.let_go(), self._mending(change.current):
                pull_image(self.paths, change.desired, progress)
        elif isinstance(change, RestoreImage):
            from .image.restore import restore_image  # rarely needed

            wanted = replace(change.desired, platform=change.current.platform)
            restore_image(
                self.paths, wanted, verify=bool(change.current.damaged), show=progress, unlocked=self._lock.let_go
            )
        elif isinstance(change, AssembleImage):
            with self._mending(change.current):
                assemble_image(self.paths, change.desired)
        elif isinstance(change, BuildImage):
            from .building import build_image  # containers do without

            build_image(self.paths, change.build, progress or (lambda _line: None))
        elif isinstance(change, BootstrapImage):
            from .image.build.bootstrap import bootstrap_image  # other modules do without

            bootstrap_image(self.paths, change.bootstrap, progress or (lambda _line: None))
        else:
            return False
        return True

    def _mending(self, current: Image | None) -> AbstractContextManager[None]:
        if current is None or not current.damaged:
            return contextlib.nullcontext()
        from .image.restore import mending  # rarely needed

        return mending(self.paths, current)

    def _carry(self, change: Change, progress: Show | None) -> bool:
        """What brings images from here to there."""
        if isinstance(change, LoadImage):
            from .image.archive.load import load_images  # other modules do without

            load_images(self.paths, change.path, (change.desired.name,), change.desired.limits)
        elif isinstance(change, ExportImages):
            from .image.archive.save import save_images  # other modules do without

            save_images(self.paths, change.desired)
        elif isinstance(change, WithdrawImage):
            from .image.withdraw import withdraw_image  # http and ssl: 60 ms

            withdraw_image(change.current)
        elif isinstance(change, PushImage):
            from .image.push import push_image  # http and ssl: 60 ms

            with self._lock.let_go():  # a push pins what it reads; others may change the host meanwhile
                push_image(self.paths, change.desired, progress)
        else:
            return False
        return True

    def _keep(self, change: Change) -> bool:
        """What is kept of images and said of them."""
        if isinstance(change, TagImage):
            tag_image(self.paths, change.desired)
        elif isinstance(change, RemoveImage):
            remove_image(self.paths, change.current.name)
        elif isinstance(change, SweepImages):
            sweep(self.paths)
        elif isinstance(change, PruneBuildCache):
            from .image.build.prune import prune_build_cache  # rarely asked for

            with self._lock.let_go(), exclusive_lock(self.paths.build_lock):  # a build may take long
                prune_build_cache(self.paths, change.entries)
        elif isinstance(change, (SetPolicy, RemovePolicy)):
            from .image.trust.policy import apply_policy  # containers do without

            apply_policy(self.paths, change.desired if isinstance(change, SetPolicy) else None)
        elif isinstance(change, WriteSbom):
            from .image.sbom.write import apply_sbom  # containers do without

            apply_sbom(self.paths, change.desired.path, change.desired)
        elif isinstance(change, RemoveSbom):
            from .image.sbom.write import apply_sbom  # containers do without

            apply_sbom(self.paths, change.current.path, None)
        else:
            return False
        return True
