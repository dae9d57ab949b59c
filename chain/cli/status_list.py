"""`chain status-list`: the Token Status List of a service, for verifiers that ask nobody."""

from __future__ import annotations

import click

from chain.cli import remote
from chain.cli.output import json_option, print_json


@click.command("status-list")
@remote.where
@json_option
def status_list(where: remote.Where, *, as_json: bool) -> None:
    """Print the Token Status List of the roots that were issued with --listed, signed by their issuer.

    \b
    chain status-list --server 127.0.0.1:50051 --credential-file auditor.secret > status.jwt

    `chain verify` takes such lists as `status_lists`; a web server may hand them out under the list's own URI.
    """  # noqa: D301 - click reads \b as a mark, not Python
    with where.connect() as client:
        text = client.status_list()
    if as_json:
        print_json({"status_list": text})
    else:
        click.echo(text)
