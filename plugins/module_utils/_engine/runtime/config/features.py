# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ``features`` prints (runtime-spec 1.3, features.md, features-linux.md)."""

from __future__ import annotations

from ...linux.capabilities import CAPABILITIES
from ...linux.namespaces import NAMESPACES
from ...linux.seccomp_profile import ACTIONS, ARCHITECTURES, FLAGS, OPERATORS
from ..state import OCI_VERSION
from ..steps.mount_options import FLAGS as MOUNT_FLAGS
from ..steps.mount_options import OWN, PROPAGATION, RECURSIVE
from .schema import HOOKS, MEMORY_POLICIES, MEMORY_POLICY_FLAGS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def features() -> dict[str, Any]:
    """What this runtime can do, whether or not this host can (features.md)."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": OCI_VERSION,
        "hooks": list(HOOKS),
        "mountOptions": sorted({*MOUNT_FLAGS, *PROPAGATION, *RECURSIVE, *OWN}),
        "linux": {
            "namespaces": sorted(NAMESPACES),
            "capabilities": list(CAPABILITIES),
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": True},
            "seccomp": {
                "enabled": True,
                "actions": sorted(ACTIONS),
                "operators": sorted(OPERATORS),
                "archs": sorted(f"SCMP_ARCH_{name.upper()}" for name in ARCHITECTURES),
                "knownFlags": sorted(FLAGS),
                "supportedFlags": sorted(FLAGS),
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "memoryPolicy": {"modes": MEMORY_POLICIES.split(" "), "flags": MEMORY_POLICY_FLAGS.split(" ")},
            "intelRdt": {"enabled": True, "schemata": True, "monitoring": True},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": True},
        },
        # A dot at the end: all that begin so. They are properties of a container's scope (cgroup/scope.py).
        "potentiallyUnsafeConfigAnnotations": ["org.systemd.property."],
    }
