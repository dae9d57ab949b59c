"""`chain policy`: what rules there are, whether they do what their author means, and which are in force."""

from __future__ import annotations

import click

from chain.cli.group import Group
from chain.cli.policy_active import activate, show
from chain.cli.policy_compare import diff
from chain.cli.policy_folder import init, lint, test, validate
from chain.cli.policy_paths import approvals


@click.group(cls=Group)
def policy() -> None:
    """Validate, test, compare and activate policy bundles.

    A bundle is a folder: `*.cedar` files, `schema.cedarschema`, perhaps a `catalogue.toml` of tools, and `cases/`.
    Begin with `chain policy init DIR`, which copies the bundle that ships.
    """


for _command in (init, validate, test, lint, diff, activate, show, approvals):
    policy.add_command(_command)
