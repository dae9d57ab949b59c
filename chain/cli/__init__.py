"""The command `chain`: one file per group of commands, each loaded when it is called."""

from chain.cli.app import main

__all__ = ["main"]
