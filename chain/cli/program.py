"""A program that `chain run` starts: found, started on a leash, told of every signal, and waited for.

The law of this file: signals are held back from before the first thread on, and taken one by one: whatever comes, the
launcher lives on until the program has ended, and cleans up then. What the terminal tells both of them is not told
twice.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from chain.cli import leash
from chain.errors import ConfigurationError

FORWARDED = frozenset(
    {signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2},
)
"""What would end the launcher, and is meant for the program."""

NOT_FOUND, NOT_EXECUTABLE, SIGNALLED = 127, 126, 128
"""Exit codes of a shell (POSIX, Shell Command Language s2.8.2)."""


def hold_signals() -> frozenset[int]:
    """Hold signals back in every thread that is started from here on, and return those that were not held already.

    Raises:
        ConfigurationError: this system tells too little of signals, or cannot bind a program's life to the launcher's.
    """
    if not sys.platform.startswith("linux"):
        raise ConfigurationError("`chain run` needs Linux: elsewhere a program would outlive its launcher")
    held = FORWARDED | {signal.SIGCHLD}
    return frozenset(map(int, held - signal.pthread_sigmask(signal.SIG_BLOCK, held)))


def find(command: Sequence[str]) -> str:
    """Return the path of a program; leave with a shell's exit code where there is none."""
    name = command[0]
    found = shutil.which(name)
    if found is not None:
        return found
    there = Path(name).exists() if os.sep in name else False
    click.echo(f"chain: `{name}`: {'cannot be executed' if there else 'no such command'}", err=True)
    raise click.exceptions.Exit(NOT_EXECUTABLE if there else NOT_FOUND)


def run(path: str, command: Sequence[str], environment: Mapping[str, str], held: frozenset[int]) -> int:
    """Run a program to its end, and return its exit code, as a shell tells it.

    Args:
        path: of the program.
        command: its arguments, the name first.
        environment: all that it finds in its environment.
        held: by `hold_signals`.
    """
    if pending := FORWARDED & signal.sigpending():
        return SIGNALLED + int(min(pending))
    script = (sys.executable, "-I", "-S", str(Path(leash.__file__)))
    blocked = ",".join(map(str, sorted(held)))
    with subprocess.Popen([*script, str(os.getpid()), blocked, path, *command], env=environment) as process:  # noqa: S603
        code = _attended(process)
    return code if code >= 0 else SIGNALLED - code


def _attended(process: subprocess.Popen[bytes]) -> int:
    code: int | None
    while (code := process.poll()) is None:
        told = signal.sigwaitinfo(FORWARDED | {signal.SIGCHLD})
        if told.si_signo != signal.SIGCHLD and not _told_already(process.pid, told.si_code):
            process.send_signal(told.si_signo)
    return code


def _told_already(pid: int, code: int) -> bool:
    """Tell whether a signal came from the kernel, as ^C does, and so to the program as well.

    A positive `si_code` is the kernel's (sigaction(2)); it tells all processes of the terminal's foreground group.
    """
    return code > 0 and os.getpgid(pid) == os.getpgrp()
