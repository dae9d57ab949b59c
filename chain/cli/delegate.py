"""`chain delegate`: a narrower grant for the next agent, signed by its holder or by the service that keeps its key."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

import click
from msgspec import UNSET

from chain import mint, proof
from chain.cli import options, remote, source
from chain.cli.minting import print_minted
from chain.cli.output import json_option
from chain.delegation import Delegation
from chain.errors import ConfigurationError
from chain.identity import keyfile
from chain.key import KeySigner
from chain.order import Delegate
from chain.view import Delegated


@click.command()
@source.chain_option
@click.option(
    "--key",
    type=click.Path(path_type=Path),
    envvar="CHAIN_KEY",
    metavar="KEYFILE",
    help="The holder's key file: signs.",
)
@click.option("--custody", is_flag=True, help="With --server: the service signs, with the key it keeps for the caller.")
@options.terms
@remote.where
@json_option
def delegate(
    chain_file: str, key: Path | None, terms: options.Terms, where: remote.Where, *, custody: bool, as_json: bool
) -> None:
    """Hand a narrower grant on to the next agent's key, and print the chain that it holds then.

    The holder signs here; with --server the child is also registered there. What asks for more than the parent
    grants is refused, naming the field, what the parent grants and what was asked. A limit that is not named is
    restated; a child never outlives its parent.

    A holder that has no key of its own gives --custody instead of --key: the service signs, for a caller whose socket
    or X.509-SVID proves that it is the holder.
    """
    if custody and not options.on_the_line("key"):
        key = None
    if custody is (key is not None):
        raise ConfigurationError("who signs? give --key, or --custody and --server")
    tokens = source.tokens(chain_file)
    if key is None:
        made = _ordered(tokens, terms, where)
        print_minted([*tokens, made.token], made.revision, as_json=as_json)
        return
    signer = keyfile.load(key)
    parent = mint.unverified(tokens[-1])
    if parent.key != signer.key:
        raise ConfigurationError(f"`{key}` is not the key that the chain's leaf was given to")
    child = _child(parent, terms, signer)
    revision = _registered(tokens, child, signer, where) if where.named else None
    print_minted([*tokens, child], revision, as_json=as_json)


def _ordered(tokens: Sequence[str], terms: options.Terms, where: remote.Where) -> Delegated:
    """Let a service sign and register a child."""
    ordered = Delegate(
        holder=terms.holder,
        grant=terms.given,
        lifetime=terms.seconds,
        max_depth=terms.max_depth,
        audience=terms.audience or None,
    )
    with where.connect() as client:
        return client.delegate(tokens, ordered)


def _child(parent: Delegation, terms: options.Terms, signer: KeySigner) -> str:
    now = time.time()
    claims = mint.child_claims(
        parent,
        terms.given,
        terms.holder,
        jti=mint.uuid7(now, os.urandom(10)),
        now=int(now),
        lifetime=terms.seconds,
        max_depth=terms.max_depth,
        audience=terms.audience or UNSET,
    )
    return mint.derive(parent, claims, signer)


def _registered(tokens: Sequence[str], child: str, signer: KeySigner, where: remote.Where) -> int:
    """Register a child with a service; return the ledger's revision."""
    now = time.time()
    with where.connect() as client:
        made = proof.make(
            signer,
            mint.unverified(tokens[-1]),
            proof.DELEGATE,
            {"child": mint.unverified(child).id},
            audience=client.audience(),
            jti=mint.uuid7(now, os.urandom(10)),
            iat=int(now),
        )
        return client.delegate(tokens, child, made).revision
