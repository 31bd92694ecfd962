# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands between the engine and a runtime: containers by their name, their bundles, monitors and logs.

The engine calls it so, for one container or for many at once:

    prepare_container(paths, container, layers=[lowest, ..., topmost], cgroups_path=...)     bundle.py
    for result in create_containers(paths, engine, names):       Born | Created | Failed       launch.py
        ... connect networks to result.pid ...
        start_container(paths, result.name)
    observe_runtime(paths, cgroups)                              {name: ContainerState}        observe.py
    exec_process(paths, name, args, ...)                         exit code                     exec_container.py
    stop_container(paths, cgroups, name, timeout)                its end is recorded           launch.py
    delete_container(paths, cgroups, name)                       nothing of it runs            launch.py
    remove_bundle(paths, name)                                   nothing of it is on disk      bundle.py

Its processes run from the installed engine, without site and without the model. monitor.py stays with a container, from
before its birth, which is creator.py's, to after its end, which is finish.py's. For many containers launcher.py forks
the monitors; for one the module does (solo.py). external.py has another OCI runtime do what ours does.
"""
