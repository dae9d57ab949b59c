"""What stands between `chain run` and its program for a moment: run as a script, it becomes the program.

The law of this file: it imports nothing of this package, and knows no secret. The program dies with the launcher: a
program without one would keep an authority that nobody takes back.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that the kernel sends when the parent is gone; it stays through exec."""


def main(launcher: int, blocked: list[int], path: str, command: list[str]) -> None:
    """Become a program.

    Args:
        launcher: its process id.
        blocked: signals that the launcher holds back, and the program does not.
        path: of the program.
        command: its arguments, the name first.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != launcher:
        os._exit(1)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores both, and a program inherits what is ignored
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
    try:
        os.execv(path, command)  # noqa: S606 - what is to run is what the user named
    except OSError as error:
        sys.stderr.write(f"chain: `{command[0]}`: {error.strerror}\n")
        os._exit(126)


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(one) for one in sys.argv[2].split(",") if one], sys.argv[3], sys.argv[4:])
