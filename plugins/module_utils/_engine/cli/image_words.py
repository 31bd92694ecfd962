# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people write behind the options of image commands. What cannot be is InvalidOption, in one line."""

from __future__ import annotations

import os

from ..errors import InvalidOption, KernelError, NotFound
from ..model.build import Secret
from ..model.platform import parse_platform
from ..model.public_key import parse_public_key
from .sizes import parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_LEAST_CHUNK = 64 * 1024  # bytes, as module image_push has it


def parse_pairs(option: str, words: Iterable[str], *, inherit: bool = False) -> tuple[tuple[str, str], ...]:
    """NAME=VALUE each. A NAME alone is empty; where it may ``inherit``, it is the environment's, or not given."""
    found = []
    for word in words:
        name, equals, value = word.partition("=")
        if not name:
            raise InvalidOption(option, word, "NAME=VALUE")
        if not equals and inherit:
            if name not in os.environ:
                continue
            value = os.environ[name]
        found.append((name, value))
    return tuple(found)


def parse_secrets(words: Iterable[str]) -> tuple[Secret, ...]:
    """ID=FILE each."""
    found = []
    for word in words:
        name, _equals, path = word.partition("=")
        if not name or not path:
            raise InvalidOption("--secret", word, "ID=FILE")
        found.append(Secret(name, os.path.abspath(path)))
    return tuple(found)


def parse_chunk_size(text: str) -> int:
    """Bytes, 0 where nothing is said."""
    if not text:
        return 0
    size = parse_size("--chunk-size", text)
    if size < _LEAST_CHUNK:
        raise InvalidOption("--chunk-size", text, "a size such as 8M, at least 64K")
    return int(size)


def parse_platform_word(text: str) -> str:
    """A platform in its one spelling, empty where nothing is said."""
    return str(parse_platform("--platform", text)) if text else ""


def read_keys(paths: Iterable[str]) -> tuple[str, ...]:
    """The public keys in those files. Raises NotFound, KernelError."""
    keys = []
    for path in paths:
        try:
            with open(path, encoding="ascii", errors="replace") as file:
                keys.append(parse_public_key(f"--key {path}", file.read()))
        except FileNotFoundError as error:
            raise NotFound("file", path, "it is to be a public key, such as cosign.pub") from error
        except OSError as error:
            raise KernelError("--key", error) from error
    return tuple(keys)
