"""Become a program to which the kernel looks like that of RHEL 8 (4.18) where paths and mounts are concerned: a filter
answers ENOSYS to what came later. Run as `python3 old_kernel.py <the engine's directory> <program> <words>...`."""

import os
import sys

sys.path.insert(0, sys.argv[1])
from _engine.linux.seccomp import compile_filter, load_filter

LATER = ("open_tree", "move_mount", "fsopen", "fsconfig", "fsmount", "fspick", "openat2", "mount_setattr")
PROFILE = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [{"names": list(LATER), "action": "SCMP_ACT_ERRNO", "errnoRet": 38}],
}

load_filter(compile_filter(PROFILE), 0)
os.execv(sys.argv[2], sys.argv[2:])
