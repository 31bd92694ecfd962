# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses that ADD gets files from, and their checksums. One with a user or a password in it is refused: the line
that it stands in is in the image's history, in a build's log and in what a module returns.
"""

from __future__ import annotations

import re

_CHECKSUM = re.compile(r"sha256:([0-9a-f]{64})")


def is_address(text: str) -> bool:
    return re.match(r"[a-z][a-z0-9+.-]*://", text, re.IGNORECASE) is not None


def check_address(address: str) -> None:
    """Raise ValueError where an address has a login in it, or is of another kind."""
    if re.match(r"[^/]*//[^/?#]*@", address):
        raise ValueError(
            f"{told(address)}: an address with a user or a password is not taken, as the image's history would have "
            "it; fetch the file in a RUN step that gets the login as a secret (RUN --mount=type=secret)"
        )
    if not address.lower().startswith(("http://", "https://")):
        raise ValueError(f"{told(address)}: ADD gets files by http and https")


def parse_checksum(text: str) -> str:
    """The hexadecimal digits of a ``--checksum``. Raises ValueError."""
    match = _CHECKSUM.fullmatch(text)
    if not match:
        raise ValueError(f"--checksum={text}: it is no sha256: with 64 hexadecimal digits behind it")
    return match.group(1)


def told(address: str) -> str:
    """An address as people are told of it: a login in it, or behind its question mark, is nobody's business."""
    return re.sub(r"[?#].*", "", re.sub(r"//[^/?#]*@", "//", address))
