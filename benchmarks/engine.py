"""Our own engine, in process: what stands behind `Check` once the request has left gRPC.

In the time: token text to verified chain (`token.Verifier`, its verified-prefix cache on), the request as a value
(the arguments are checked and made canonical there), and `check`: every question of every hop, with the proof read
and its nonce remembered. Outside: minting, gRPC, the ledger record (`benchmarks.service` has those), and what a
write or an act adds (a single-use id, enrolment of every holder, a commit that survives power loss): the tool reads.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import scenario
from benchmarks.scenario import Arguments, Unfit, Workload
from chain import mint, proof, token
from chain.anchor import TrustAnchor
from chain.catalog import Catalogue, Tool
from chain.check import check
from chain.key import KeySigner
from chain.live import Live
from chain.request import Request
from chain.state import Settings
from chain.store.memory import MemoryStore
from chain.token import Verifier

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from chain.decision import Decision
    from chain.grant import Grant

ISSUER = "https://issuer.example"
AUDIENCE = "https://tools.example"
REVOKED = 1_000  # delegations of others that are revoked: the set that each hop is looked up in


class _Tokens(NamedTuple):
    """A chain on the wire, and the keys: the issuer's, then every holder's."""

    tokens: tuple[str, ...]
    keys: Sequence[KeySigner]


class ChainEngine:
    """`chain`: tokens of ours, verified and decided."""

    name = "chain"
    modes = frozenset(scenario.MODES)

    def prepare(self, mode: str, depth: int, calls: int) -> Workload:
        """See `scenario.Engine`."""
        issuer = _signer()
        known = _chain(issuer, depth)
        presented = _presented(mode, issuer, known, calls)
        verifier, live = Verifier([TrustAnchor(issuer.key, ISSUER)]), _live()
        if mode == scenario.NEW_HOP and depth > 1:
            verifier.verify(known.tokens[:-1])
        elif mode != scenario.COLD:
            verifier.verify(known.tokens)
        by_channel = mode == scenario.WARM_CHANNEL
        given = scenario.allowed_arguments()
        proofs = [None if by_channel else _proof(one, one.keys[-1], given) for one in presented]
        holder = known.keys[-1].key.thumbprint if by_channel else None

        def ask(tokens: tuple[str, ...], arguments: Arguments, proven: str | None, by: str | None) -> Decision:
            now = time.time()
            chain = verifier.verify(tokens)
            request = Request(tool=scenario.TOOL, arguments=arguments, audience=AUDIENCE, proof=proven, holder=by)
            verdict = check(chain, request, live, now)
            if verdict.nonce is not None:
                live.use(verdict.nonce)
            return verdict.decision

        def call(index: int) -> None:
            decision = ask(presented[index].tokens, given, proofs[index], holder)
            if not decision.allowed:
                raise Unfit(str(decision))

        return Workload(
            bytes=sum(map(len, known.tokens)) + len(proofs[0] or ""),
            call=call,
            denied=_denials(ask, known, depth, by_channel=by_channel),
        )


def _denials(
    ask: Callable[[tuple[str, ...], Arguments, str | None, str | None], Decision],
    known: _Tokens,
    depth: int,
    *,
    by_channel: bool,
) -> dict[str, Callable[[], bool]]:
    """The twins that must be refused, each at the leaf and for its own reason."""
    given, over = scenario.allowed_arguments(), scenario.excessive_arguments(depth)

    def refused(arguments: Arguments, key: KeySigner, reason: str) -> bool:
        proven = None if by_channel else _proof(known, key, arguments)
        decision = ask(known.tokens, arguments, proven, key.key.thumbprint if by_channel else None)
        return not decision.allowed and (decision.reason.value, decision.hop) == (reason, depth - 1)

    return {
        "over the leaf's limit": lambda: refused(over, known.keys[-1], "constraint_violated"),
        "another's key": lambda: refused(given, known.keys[0], "holder_mismatch"),
    }


def _presented(mode: str, issuer: KeySigner, known: _Tokens, calls: int) -> list[_Tokens]:
    """One chain for each call: all new, a new leaf under the known parents, or always the known one."""
    if mode == scenario.COLD:
        return [_chain(issuer, len(known.tokens)) for _ in range(calls)]
    if mode == scenario.NEW_HOP:
        return [_extended(_Tokens(known.tokens[:-1], known.keys[:-1])) for _ in range(calls)]
    return [known] * calls


def _chain(issuer: KeySigner, depth: int) -> _Tokens:
    chain = _Tokens((), (issuer,))
    for _ in range(depth):
        chain = _extended(chain)
    return chain


def _extended(chain: _Tokens) -> _Tokens:
    """The chain with one more token, for a key of its own; a root where there is none yet."""
    hop, now, holder = len(chain.tokens), int(time.time()), _signer()
    jti = mint.uuid7(time.time(), secrets.token_bytes(10))
    lifetime = scenario.LIFETIME_S
    if chain.tokens:
        parent = mint.unverified(chain.tokens[-1])
        claims = mint.child_claims(parent, _grant(hop), holder.key, jti=jti, now=now, lifetime=lifetime)
    else:
        claims = mint.root_claims(
            _grant(hop), holder.key, issuer=ISSUER, jti=jti, now=now, lifetime=lifetime, max_depth=token.MAX_DEPTH
        )
    return _Tokens((*chain.tokens, token.sign(claims, chain.keys[-1])), (*chain.keys, holder))


def _grant(hop: int) -> Grant:
    constraints = {
        "account": {"constraint_type": "one_of", "values": scenario.accounts(hop)},
        "currency": {"constraint_type": "exact", "value": scenario.CURRENCY},
        "days": {"constraint_type": "range", "min": 0, "max": scenario.ceiling(hop)},
    }
    return mint.grant({"tools": {scenario.TOOL: constraints}})


def _proof(chain: _Tokens, key: KeySigner, arguments: Arguments) -> str:
    return proof.make(
        key,
        mint.unverified(chain.tokens[-1]),
        scenario.TOOL,
        arguments,
        audience=AUDIENCE,
        jti=mint.uuid7(time.time(), secrets.token_bytes(10)),
        iat=int(time.time()),
    )


def _live() -> Live:
    """The live facts of one cell: the tool reads, and many delegations of others are revoked."""
    live = Live(MemoryStore(), Settings(), Catalogue({scenario.TOOL: Tool(action_class="read")}), time.time())
    for _ in range(REVOKED):
        live.revoke(secrets.token_bytes(32))
    return live


def _signer() -> KeySigner:
    return KeySigner.from_seed(secrets.token_bytes(32))
