# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells in milliseconds what Host.apply of a containers task takes in a process as a module's is.

That is the host's own Python, with what Ansible's modules import, and the engine out of the host's installed copy
(_ansible/installed.py). A program of its own: in_module.py <digest of the engine> <parameters of the task, as JSON>.
"""

from __future__ import annotations

import json
import sys
import time

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.stowage.engine.plugins.module_utils._ansible.sources import use_installed_engine


def main(digest: str, parameters: str) -> None:
    if not use_installed_engine(digest):
        raise SystemExit(f"no engine {digest} on this host")
    # Only now, so that they come from there.
    from ansible_collections.stowage.engine.plugins.module_utils._ansible.install import engine_command
    from ansible_collections.stowage.engine.plugins.module_utils._ansible.nouns import container
    from ansible_collections.stowage.engine.plugins.module_utils._engine.host import Host
    from ansible_collections.stowage.engine.plugins.module_utils._engine.paths import Paths

    checked = ArgumentSpecValidator(container.LIST_SPEC).validate(json.loads(parameters))
    if checked.error_messages:
        raise SystemExit(str(checked.error_messages))
    paths, noun = Paths.from_environment(), container.ContainerNoun()
    host = Host(paths, engine_command(paths, digest))
    wanted = container.containers_wanted(checked.validated_parameters)
    with host.locked():
        desired = noun.resolve(host, wanted)
        changes = list(noun.plan(desired, noun.observe(host)))
        if not changes:
            raise SystemExit("there was nothing to do, and so nothing to measure")
        start = time.perf_counter()
        host.apply(changes)
        took = (time.perf_counter() - start) * 1000
    if "pyroute2" in sys.modules:
        raise SystemExit("pyroute2 was imported to start containers")
    sys.stdout.write(f"{took}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
