# Copyright: (c) 2026, Stowage contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An OCI runtime for Linux, which knows bundles and state directories only.

create.py makes an init that executes the list of operations of init.py, which are in steps/, and waits on exec.fifo.
exec.py enters a container, lifecycle.py starts, signals and deletes it, state.py says what is known of it. config/
knows what a config.json may say. oci.py has the operations as the command line, `stowage-runtime`, calls them.
"""
