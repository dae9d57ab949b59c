"""`chain issue`: a root, by an issuer's key at hand or by a service that holds one."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from chain import mint, token
from chain.anchor import TrustAnchor
from chain.cli import options, passing, remote
from chain.cli.minting import print_minted
from chain.cli.output import json_option
from chain.errors import ConfigurationError
from chain.key import KeySigner
from chain.order import Issue
from chain.token import Verifier


@click.command()
@options.terms
@options.root_facts
@click.option("--key", type=click.Path(path_type=Path), metavar="KEYFILE", help="Offline: the issuer's key file.")
@passing.passphrase_option
@click.option("--issuer", metavar="URI", help="Offline: the issuer's name, `iss` in the token.")
@click.option(
    "--home", metavar="URI", help="Offline: the authority that keeps the budgets and approvals of this chain."
)
@remote.where
@json_option
def issue(
    terms: options.Terms,
    facts: options.RootFacts,
    key: Path | None,
    passphrase_file: Path | None,
    issuer: str | None,
    home: str | None,
    where: remote.Where,
    *,
    as_json: bool,
) -> None:
    """Issue a root grant to the first agent's key, and print its token.

    Offline it is signed here, with --key for --issuer. With --server the service signs it and keeps a record.

    \b
    chain issue --to agent.jwk --key issuer.key --issuer https://issuer.example \\
      --grant '{"tools":{"mail.read":{}}}' > root.chain
    """  # noqa: D301 - click reads \b as a mark, not Python
    order = facts.order(terms.given, terms, terms.holder)
    if where.named:
        if key is not None or issuer is not None or home is not None:
            raise ConfigurationError("--key, --issuer and --home are for issuing offline; a service has its own")
        with where.connect() as client:
            made = client.issue(order)
        print_minted([made.token], made.revision, as_json=as_json)
    elif key is None or issuer is None:
        raise ConfigurationError("issuing offline needs --key and --issuer; else give --server or --ledger")
    else:
        signer = passing.signer(key, passphrase_file)
        print_minted([_signed(order, terms.seconds, signer, issuer, home)], None, as_json=as_json)


def _signed(order: Issue, lifetime: int, signer: KeySigner, issuer: str, home: str | None) -> str:
    """Sign a root, and verify it as any stranger would before it is handed out."""
    now = time.time()
    claims = order.claims(
        issuer=issuer,
        jti=mint.uuid7(now, os.urandom(10)),
        now=int(now),
        lifetime=lifetime,
        home=home,
    )
    text = token.sign(claims, signer)
    Verifier([TrustAnchor(signer.key, issuer)]).verify([text])
    return text
