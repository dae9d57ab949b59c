"""What a process that holds keys asks of the kernel: no core dump, and no look into its memory.

The law of this file: asked before any secret is read, and never undone. It does not hold against root, nor against
who reads swap or a hibernated machine's disk; Python cannot wipe the copies that it makes.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys

from chain.errors import ConfigurationError

PR_SET_DUMPABLE = 4
"""prctl(2): 0 denies ptrace, /proc/PID/mem and /proc/PID/environ to processes of the same user, and core dumps."""


def keep_memory() -> None:
    """Let nobody but root read this process's memory, living or dumped.

    Elsewhere than on Linux only the core dump's size is set.

    Raises:
        ConfigurationError: the kernel refuses.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise ConfigurationError(f"this process cannot be kept from being read: {os.strerror(ctypes.get_errno())}")
