# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands of `stowage` that are about images: what modules do to them, by hand."""

from __future__ import annotations

import os
import shutil
import sys
import time

from ..errors import InvalidOption, NotFound
from ..model.archive import DOCKER_ARCHIVE, FORMATS, OCI_ARCHIVE, Archive
from ..model.build import Build
from ..model.image import Image
from ..model.prune import parse_prune
from ..model.reference import normalise, parse_reference
from ..model.registry import Access, RemoteImage
from ..model.trust import SIGNED, Requirement
from ..plan.archive import plan_export, plan_load
from ..plan.build import plan_build
from ..plan.image import RemoveImage, plan_image, plan_tag
from ..plan.prune import plan_prune
from ..plan.push import plan_push
from ..progress import Line
from .image_words import parse_chunk_size, parse_pairs, parse_platform_word, parse_secrets, read_keys
from .tables import coloured, size, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator

    from ..host import Host
    from ..model.history import LayerNode
    from ..plan.change import Change

    Act = Callable[[Host, argparse.Namespace], int]
    Command = Callable[[str, Act, str], argparse.ArgumentParser]


def add_image_commands(command: Command) -> None:
    """Let ``command`` make the parsers of all of them."""
    command("images", _images, "list the images")
    pull = _to_registry(command("pull", _pull, "have what a registry has under a name by now"))
    pull.add_argument("--platform", default="", help="of this platform, as linux/arm64")
    pull.add_argument("name")
    push = _to_registry(command("push", _push, "send an image to its registry"))
    push.add_argument("name")
    push.add_argument("--as", dest="remote", metavar="NAME", help="under this name")
    push.add_argument("--chunk-size", default="", metavar="SIZE", help="layers in pieces of that size, as 8M")
    tag = command("tag", _tag, "give an image another name")
    tag.add_argument("name")
    tag.add_argument("new")
    command("rmi", _rmi, "take names from images, and remove what nothing else uses").add_argument("names", nargs="+")
    prune = command("prune", _prune, "remove images by number and age, and content that nothing uses")
    prune.add_argument("--keep-last", type=int, metavar="N", help="of each repository all but the N latest")
    prune.add_argument("--older-than", metavar="AGE", help="what is older, as 30d or 1d12h")
    prune.add_argument("--build-cache", action="store_true", help="and what builds have left for the next ones")
    prune.add_argument("names", nargs="*", metavar="PATTERN", help="only images of such names")
    build = _to_registry(command("build", _build, "build an image out of a Containerfile"))
    build.add_argument("-t", "--tag", required=True, metavar="NAME", help="the image's name")
    build.add_argument("-f", "--file", default="", help="the Containerfile, if it is not in the context")
    build.add_argument("--target", default="", metavar="STAGE", help="only up to this stage")
    build.add_argument("--platform", default="", help="for this platform, as linux/386")
    build.add_argument("--build-arg", action="append", default=[], metavar="NAME[=VALUE]", help="for an ARG")
    build.add_argument("--label", action="append", default=[], metavar="NAME=VALUE")
    build.add_argument("--secret", action="append", default=[], metavar="ID=FILE", help="for RUN --mount=type=secret")
    build.add_argument("--network", choices=("host", "none"), default="host", help="of the steps that run")
    build.add_argument("--pull", action="store_true", help="ask the registries of base images for newer ones")
    build.add_argument("--no-cache", action="store_true", help="run every step")
    build.add_argument("context", help="the directory that COPY copies from")
    save = command("save", _save, "write images into an archive")
    save.add_argument("-o", "--output", required=True, metavar="PATH")
    save.add_argument("--format", choices=FORMATS, default=OCI_ARCHIVE)
    save.add_argument("--gzip", action="store_true", help="compressed")
    save.add_argument("names", nargs="+")
    load = command("load", _load, "read images out of an archive")
    load.add_argument("-i", "--input", required=True, metavar="PATH")
    load.add_argument("names", nargs="*", help="only these")
    verify = _to_registry(command("verify", _verify, "verify the signatures of an image in its registry"))
    verify.add_argument("--key", action="append", required=True, metavar="FILE", help="a public key, in PEM")
    verify.add_argument("name")
    fsck = _to_registry(command("fsck", _fsck, "find what is damaged in the store of images"))
    fsck.add_argument("--repair", action="store_true", help="and have it unpacked or fetched again")
    history = command("history", _history, "show how an image came to be, the last step first")
    history.add_argument("--no-trunc", action="store_true", help="whole instructions")
    history.add_argument("name")
    command("tree", _tree, "show the layers of all images, and which share what")


def _to_registry(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    told = "over plain HTTP, or with whatever certificate it has"
    parser.add_argument("--insecure", action="store_true", help=told)
    parser.add_argument("--auth-file", default="", metavar="FILE", help="with the logins in it")
    return parser


def _access(arguments: argparse.Namespace) -> Access:
    path = arguments.auth_file
    return Access(insecure=arguments.insecure, auth_file=os.path.abspath(path) if path else "")


def _apply(host: Host, plan: Callable[[], Iterable[Change]]) -> int:
    """Plan under the lock and do it, with a line that says how far it is; nothing to do is no failure."""
    terminal = sys.stderr.isatty()
    line = Line(_to_stderr, terminal=terminal, width=shutil.get_terminal_size().columns)
    with host.locked():
        changes = list(plan())
        try:
            host.apply(changes, progress=line)
        finally:
            line.end()
    for note in host.notes:
        _to_stderr(f"warning: {note}\n")
    for change in changes:
        sys.stdout.write(f"{change}\n")
    if not changes:
        sys.stdout.write("nothing to do\n")
    return 0


def _to_stderr(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _images(host: Host, arguments: argparse.Namespace) -> int:
    rows = [
        [name, image.digest[7:19], str(len(image.layers)), size(image.size), "incomplete" if image.missing else ""]
        for name, image in sorted(host.observe_images().items())
    ]
    sys.stdout.write(table(["NAME", "DIGEST", "LAYERS", "SIZE", ""], rows))
    return 0


def _pull(host: Host, arguments: argparse.Namespace) -> int:
    platform = parse_platform_word(arguments.platform)
    wanted = Image(normalise("NAME", arguments.name), platform=platform, access=_access(arguments))

    # As docker's and podman's do, and the module with pull: always, it asks what the tag means by now.
    return _apply(
        host, lambda: plan_image(host.resolve_image(wanted, refresh=True), host.observe_images().get(wanted.name))
    )


def _push(host: Host, arguments: argparse.Namespace) -> int:
    name = normalise("NAME", arguments.remote or arguments.name)
    chunk_size = parse_chunk_size(arguments.chunk_size)
    images = (_name(host, arguments.name),)
    wanted = RemoteImage(name, images=images, chunk_size=chunk_size, access=_access(arguments))
    return _apply(host, lambda: plan_push(host.resolve_push(wanted), host.observe_pushed(wanted)))


def _tag(host: Host, arguments: argparse.Namespace) -> int:
    source, wanted = _name(host, arguments.name), Image(normalise("NEW", arguments.new))
    if parse_reference("NEW", arguments.new).digest:
        raise InvalidOption("NEW", arguments.new, "a name without a digest, which is not to be chosen")
    return _apply(host, lambda: plan_tag(host.resolve_tag(source, wanted), host.observe_images().get(wanted.name)))


def _rmi(host: Host, arguments: argparse.Namespace) -> int:
    names = [_name(host, name) for name in arguments.names]
    return _apply(host, lambda: [RemoveImage(host.observe_images()[name]) for name in names])


def _prune(host: Host, arguments: argparse.Namespace) -> int:
    names, now = tuple(arguments.names), time.time()
    prune = parse_prune(arguments.keep_last, arguments.older_than, names, build_cache=arguments.build_cache)
    return _apply(host, lambda: plan_prune(prune, host.observe_prunable(prune, now), now))


def _build(host: Host, arguments: argparse.Namespace) -> int:
    build = Build(
        normalise("--tag", arguments.tag),
        context=os.path.abspath(arguments.context),
        file=os.path.abspath(arguments.file) if arguments.file else "",
        target=arguments.target,
        args=parse_pairs("--build-arg", arguments.build_arg, inherit=True),
        labels=parse_pairs("--label", arguments.label),
        secrets=parse_secrets(arguments.secret),
        platform=parse_platform_word(arguments.platform),
        network=arguments.network,
        pull="always" if arguments.pull else "missing",
        cache=not arguments.no_cache,
        access=_access(arguments),
    )
    # A build has a lock of its own: what else is done on the host goes on.
    forecast = host.forecast_build(build)
    for warning in forecast.warnings:
        _to_stderr(f"warning: {warning}\n")
    changes = list(plan_build(build, forecast, host.observe_images().get(build.name)))
    host.apply(changes, progress=lambda line: _to_stderr(f"{line}\n"))
    image = host.observe_images()[build.name]
    sys.stdout.write(f"{image.name} {image.digest}{'' if changes else ' (unchanged)'}\n")
    return 0


def _save(host: Host, arguments: argparse.Namespace) -> int:
    path = os.path.abspath(arguments.output)
    images = tuple(sorted((_name(host, name), "") for name in arguments.names))
    wanted = Archive(path, arguments.format, "gzip" if arguments.gzip else "none", images)
    if arguments.gzip and arguments.format not in (OCI_ARCHIVE, DOCKER_ARCHIVE):
        raise InvalidOption("--gzip", True, "an archive that is one file")
    return _apply(host, lambda: plan_export(host.resolve_archive(wanted), host.observe_archive(path)))


def _load(host: Host, arguments: argparse.Namespace) -> int:
    path = os.path.abspath(arguments.input)
    names = [normalise("NAME", name) for name in arguments.names]

    def plan() -> Iterator[Change]:
        for name, image in host.resolve_load(path, names).items():
            yield from plan_load(image, host.observe_images().get(name), path)

    return _apply(host, plan)


def _verify(_host: Host, arguments: argparse.Namespace) -> int:
    from ..signing import verify_image  # http and ssl: 60 ms

    keys = read_keys(arguments.key)
    name = normalise("NAME", arguments.name)
    digest = verify_image(name, _access(arguments), Requirement(SIGNED, keys))
    sys.stdout.write(f"{name} is signed by a key of those: {digest}\n")
    return 0


def _fsck(host: Host, arguments: argparse.Namespace) -> int:
    line = Line(_to_stderr, terminal=sys.stderr.isatty(), width=shutil.get_terminal_size().columns)
    damage = host.find_damage(line)
    line.end()
    rows = [[item.kind, item.digest[:19], ", ".join(item.images) or "-", item.why] for item in damage]
    sys.stdout.write(table(["KIND", "DIGEST", "IMAGES", "DAMAGE"], rows) if rows else "all is as it should be\n")
    if not damage or not arguments.repair:
        return 1 if damage else 0
    with host.locked():
        left = host.repair(damage, lambda text: _to_stderr(f"{text}\n"), _access(arguments))
    told = f"{len(damage) - len(left)} of {len(damage)} repaired"
    advice = "; remove what the others are part of, and build, load or pull it"
    sys.stdout.write(f"{told}{advice if left else ''}\n")
    return 1 if left else 0


def _history(host: Host, arguments: argparse.Namespace) -> int:
    rows = []
    for step in host.read_history(arguments.name):
        words = " ".join(step.created_by.split()) or step.comment or "-"
        words = words if arguments.no_trunc or len(words) <= 60 else words[:57] + "..."
        sizes = [size(step.stored), size(step.unpacked)] if step.layer else ["-", "-"]
        rows.append([step.layer[7:19] or "-", step.created[:19] or "-", *sizes, words])
    sys.stdout.write(table(["LAYER", "CREATED", "STORED", "UNPACKED", "BY"], rows))
    return 0


def _tree(host: Host, arguments: argparse.Namespace) -> int:
    rows = [row for node in host.read_layer_tree() for row in _branch(node, "", "")]
    sys.stdout.write(table(["LAYER", "STORED", "UNPACKED", "IMAGES"], rows))
    layers = {row[0].lstrip("│├└─ ") for row in rows}
    sys.stdout.write(coloured(f"{len(host.observe_images())} images, {len(layers)} layers\n", "dim"))
    return 0


def _branch(node: LayerNode, first: str, others: str) -> Iterator[list[str]]:
    """The row of a layer, and those of all that lie on it. A layer alone on another needs no branch of its own."""
    yield [first + node.layer[7:19], size(node.stored), size(node.unpacked), ", ".join(node.images)]
    for number, above in enumerate(node.above, 1):
        last = number == len(node.above)
        yield from _branch(above, others + ("└─ " if last else "├─ "), others + ("   " if last else "│  "))


def _name(host: Host, name: str) -> str:
    """The normalised name of an image that is there. Raises NotFound."""
    found = normalise("NAME", name)
    if found not in host.observe_images():
        raise NotFound("image", found, "see: stowage images")
    return found
