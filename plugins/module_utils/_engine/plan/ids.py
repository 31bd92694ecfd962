# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which host ids a container with ``userns: auto`` gets. Pure.

A range is 65536 ids, so that every id of an ordinary image has one. Ranges come from what /etc/subuid and /etc/subgid
give to ``stowage``, or, where they give it nothing, from ids that no one assigns: 0x70000000 to 0x7F9FFFFF, which
systemd's docs/UIDS-GIDS.md leaves unused, less what those files give to others.
"""

from __future__ import annotations

import hashlib

from ..errors import Conflict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    # A line of subuid(5): whose, the first id, how many.
    SubordinateIds = Sequence[tuple[str, int, int]]
    IdMap = tuple[tuple[int, int, int], ...]

OWNER = "stowage"
RANGE_SIZE = 0x10000
_FIRST, _LAST = 0x70000000, 0x7F9FFFFF


def assign_ids(name: str, subordinate: SubordinateIds, taken: Iterable[IdMap]) -> IdMap:
    """A map for the container ``name``: the range that its name hashes to, or the next that is nobody's.

    ``taken`` are other containers' maps. Raises Conflict where none is left.
    """
    given = [(first, first + size - 1) for owner, first, size in subordinate if owner == OWNER]
    held = [(outside, outside + size - 1) for ids in taken for _inside, outside, size in ids]
    if not given:
        held += [(first, first + size - 1) for _owner, first, size in subordinate]
    starts = [
        start for first, last in given or [(_FIRST, _LAST)] for start in range(first, last - RANGE_SIZE + 2, RANGE_SIZE)
    ]
    begin = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    for step in range(len(starts)):
        start = starts[(begin + step) % len(starts)]
        if all(last < start or start + RANGE_SIZE <= first for first, last in held):
            return ((0, start, RANGE_SIZE),)
    raise Conflict(
        f"no range of {RANGE_SIZE} ids is left for container {name!r}; remove containers with userns: auto, or give "
        f"{OWNER} more in /etc/subuid and /etc/subgid"
    )
