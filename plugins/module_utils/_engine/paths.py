# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every path of ours on disk, in one place.

``root`` outlives a reboot (images, container definitions, logs); ``run_root`` does not (pids, sockets, locks).
The environment variables STOWAGE_ROOT and STOWAGE_RUN_ROOT move them, for modules and commands alike.
"""

from __future__ import annotations

import os

DEFAULT_ROOT = "/var/lib/stowage"
DEFAULT_RUN_ROOT = "/run/stowage"


class Paths:
    """Where things are. Holds no state and creates nothing."""

    def __init__(self, root: str = DEFAULT_ROOT, run_root: str = DEFAULT_RUN_ROOT) -> None:
        self.root = os.path.abspath(root)
        self.run_root = os.path.abspath(run_root)

    @classmethod
    def from_environment(cls) -> Paths:
        """The host's own paths, moved by STOWAGE_ROOT and STOWAGE_RUN_ROOT where they are set."""
        return cls(
            os.environ.get("STOWAGE_ROOT") or DEFAULT_ROOT, os.environ.get("STOWAGE_RUN_ROOT") or DEFAULT_RUN_ROOT
        )

    @property
    def instance(self) -> str:
        """The prefix of our cgroups, nft tables and systemd units: engines with other roots must not meet."""
        if self.run_root == DEFAULT_RUN_ROOT:
            return "stowage"
        import hashlib  # 3 ms that a host with the usual roots does not pay

        return "stowage-" + hashlib.sha256(self.run_root.encode()).hexdigest()[:8]

    def environment(self) -> dict[str, str]:
        """What to set so that another process of ours uses the same paths."""
        return {"STOWAGE_ROOT": self.root, "STOWAGE_RUN_ROOT": self.run_root}

    # Under root -------------------------------------------------------------------------------

    @property
    def engines(self) -> str:
        return os.path.join(self.root, "engine")

    @property
    def images(self) -> str:
        """An OCI image layout (image-spec, image-layout.md): oci-layout, index.json, blobs/."""
        return os.path.join(self.root, "images")

    @property
    def policy(self) -> str:
        """Which images may be pulled (containers-policy.json(5))."""
        return os.path.join(self.root, "policy.json")

    @property
    def layers(self) -> str:
        """Unpacked layers, one directory a diff_id, read-only, shared by all containers."""
        return os.path.join(self.root, "layers")

    @property
    def containers(self) -> str:
        return os.path.join(self.root, "containers")

    @property
    def networks(self) -> str:
        return os.path.join(self.root, "networks")

    @property
    def cgroups(self) -> str:
        return os.path.join(self.root, "cgroups")

    @property
    def build_cache(self) -> str:
        """What builds leave for the next: steps/, files/, mounts/, downloads/. And work/ and bootstrap/, of the one
        that runs."""
        return os.path.join(self.root, "build-cache")

    def layer(self, diff_id: str) -> str:
        """The lower directory of a layer; ``diff_id`` is ``sha256:<hex>``."""
        return os.path.join(self.layers, diff_id.replace(":", "-"))

    def container(self, name: str) -> str:
        """A container's bundle: container.json, config.json, rootfs/, upper/, work/, log."""
        return os.path.join(self.containers, name)

    def network_file(self, name: str) -> str:
        return os.path.join(self.networks, name + ".json")

    # Under run_root -----------------------------------------------------------------------------

    @property
    def lock(self) -> str:
        """Held while a host is being changed."""
        return os.path.join(self.run_root, "lock")

    @property
    def image_lock(self) -> str:
        """Held, shared, while images or layers are written, and alone while they are swept."""
        return os.path.join(self.run_root, "images.lock")

    @property
    def content_locks(self) -> str:
        """A lock for each blob and layer that is being made."""
        return os.path.join(self.run_root, "content")

    @property
    def pins(self) -> str:
        """What each running pull needs."""
        return os.path.join(self.run_root, "pins")

    @property
    def build_lock(self) -> str:
        """Held while an image is built."""
        return os.path.join(self.run_root, "build.lock")

    @property
    def runtime_root(self) -> str:
        """The OCI runtime's state, one directory a container (what runc calls --root)."""
        return os.path.join(self.run_root, "runtime")

    @property
    def container_runs(self) -> str:
        return os.path.join(self.run_root, "containers")

    @property
    def apparmor_profile(self) -> str:
        """The default AppArmor profile, as the kernel has it since this boot."""
        return os.path.join(self.run_root, "apparmor")

    def container_run(self, name: str) -> str:
        """Files of a container that live until reboot: hosts, hostname, resolv.conf, exit.json."""
        return os.path.join(self.container_runs, name)

    def __repr__(self) -> str:
        return f"Paths({self.root!r}, {self.run_root!r})"
