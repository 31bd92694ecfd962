# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be done before an init goes where our files may not be seen: into a user namespace whose root is nobody
to them, or into the mount namespace of others."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .init import Init
    from .state import State


def prepare_elsewhere(init: Init, state: State) -> None:
    """Import all that the init may come to need, and take note of the mounts of others."""
    from ..linux import magic_links, resolve, tmpfs_file  # noqa: F401 -- the init finds them imported
    from . import mappings  # noqa: F401 -- the same
    from .steps import classic_mounts, copy_up, labels, no_pivot, scheduling, substitutes  # noqa: F401 -- the same

    if not init.has_new("mount"):
        from .shared_mounts import record_mounts  # next to nobody does without a mount namespace

        state.values["shared_mounts"] = record_mounts(init.linux, state.values["rootfs"])
