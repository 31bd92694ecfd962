# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``features`` prints (runtime-spec 1.3, features.md, features-linux.md)."""

from __future__ import annotations

from ..linux.capabilities import CAPABILITIES
from ..linux.namespaces import NAMESPACES
from ..linux.seccomp_profile import ACTIONS, ARCHITECTURES, FLAGS, OPERATORS
from .mount_options import FLAGS as MOUNT_FLAGS
from .mount_options import PROPAGATION, RECURSIVE
from .state import OCI_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HOOKS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]


def features() -> dict[str, Any]:
    """What this runtime can do."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": _HOOKS,
        "mountOptions": sorted({*MOUNT_FLAGS, *PROPAGATION, *RECURSIVE}),
        "linux": {
            "namespaces": sorted(set(NAMESPACES) - {"time"}),
            "capabilities": list(CAPABILITIES),
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": False},
            "seccomp": {
                "enabled": True,
                "actions": sorted(ACTIONS),
                "operators": list(OPERATORS),
                "archs": [f"SCMP_ARCH_{name.upper()}" for name in ARCHITECTURES],
                "knownFlags": sorted(FLAGS),
                "supportedFlags": sorted(FLAGS),
            },
            "apparmor": {"enabled": False},
            "selinux": {"enabled": False},
            "intelRdt": {"enabled": False},
        },
    }
