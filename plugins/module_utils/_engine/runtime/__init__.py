# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An OCI runtime for Linux, and the monitor that stays with a container.

The engine calls it so, for one container or for many at once:

    prepare_container(paths, container, layers=[lowest, ..., topmost], cgroups_path=...)     bundle.py
    for result in create_containers(paths, engine, names):       Created(name, pid) | Failed   launch.py
        ... connect networks to result.pid ...
        start_container(paths, result.name)
    observe_runtime(paths, cgroups)                              {name: ContainerState}        observe.py
    exec_process(paths, name, args, ...)                         exit code                     exec_container.py
    stop_container(paths, cgroups, name, timeout)                its end is recorded           launch.py
    delete_container(paths, cgroups, name)                       nothing of it runs            launch.py
    remove_bundle(paths, name)                                   nothing of it is on disk      bundle.py

One layer down is the OCI runtime itself, which knows bundles and state directories only: create.py makes an init that
executes the list of operations of init.py (rootfs.py, devices.py, cgroup_mounts.py, process.py, privileges.py) and
waits on exec.fifo; lifecycle.py starts, signals and deletes it; state.py says what is known of it. `stowage-runtime`
(cli/runtime.py) is its command line. external.py has another OCI runtime do the same.

Between them stand two processes of the installed engine, without site and without the model: launcher.py, which the
module runs once and which forks monitor.py for each container.
"""
