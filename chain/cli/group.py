"""A command with commands beneath it, whose help shows what each of them does to the end.

The law of this file: a sentence is wrapped, and never cut.
"""

from __future__ import annotations

import click


class Group(click.Group):
    """A group that lists its commands with the first paragraph of their help; click's own cuts it at the margin."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a line, or as many as it takes, for each command."""
        found = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        told = [(name, " ".join((one.help or "").split("\n\n")[0].split())) for name, one in found.items() if one]
        with formatter.section("Commands"):
            formatter.write_dl(told)
