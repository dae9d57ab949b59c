"""The peers: `tenuo` 0.3.3 (Rust core) and `biscuit-python` 0.4 (Rust core), as `Engine`s.

What each can say of the scenario, and where they differ from one another:

tenuo: one warrant a hop, each signed by the parent's holder; the same three constraints (`OneOf`,
    `Exact`, `Range`); a proof of possession over tool and arguments, verified on every call
    (a time window; no nonce, no audience). `cold` parses every warrant from its bytes and checks
    the chain; `new_hop` keeps the parents parsed and parses the leaf; `warm` keeps all parsed (its
    "parsed path"). It has no verified-prefix cache, so `check_chain` walks the whole chain in all
    three, and no channel-proven holder, so there is no `warm_channel`.
biscuit: one token of `depth` blocks, each block under a fresh key; the constraints are Datalog
    checks, one set a block, all of which must hold (narrowing is by conjunction: a wider child is
    not refused, it is without effect). A bearer token: **no proof of possession at all**, so its
    `cold` does less than the others' and its parsed path stands under `warm_channel`, the mode
    without a signed proof. Its time fact is in the clock, like the others' expiry check.
    Its own bound of 1 ms on one evaluation is raised to 1 s: on a busy machine it refused honest calls.

Neither keeps a ledger or asks revocation here: tenuo has no revocation list installed, biscuit
none at all.
"""

from __future__ import annotations

import datetime as dt
import importlib
import importlib.util
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from benchmarks import scenario
from benchmarks.scenario import Arguments, Engine, Unfit, Workload


def available() -> tuple[list[Engine], list[str]]:
    """The peers that are installed, and the names of the distributions that are not."""
    engines: list[Engine] = []
    missing: list[str] = []
    for module, distribution, make in _PEERS:
        if importlib.util.find_spec(module) is None:
            missing.append(distribution)
        else:
            engines.append(make())
    return engines, missing


class _Warrants(NamedTuple):
    """A chain of warrants, and the keys: the root's issuer's, then every holder's."""

    warrants: Sequence[Any]
    keys: Sequence[Any]


class Tenuo:
    """`tenuo`: warrants, holder-bound."""

    name = "tenuo"
    modes = frozenset({scenario.COLD, scenario.NEW_HOP, scenario.WARM})

    def __init__(self) -> None:
        self._core: Any = importlib.import_module("tenuo_core")
        self._denial: type[Exception] = importlib.import_module("tenuo.exceptions").TenuoError

    def prepare(self, mode: str, depth: int, calls: int) -> Workload:
        """See `scenario.Engine`."""
        root = self._core.SigningKey.generate()
        known = self._chain(root, depth)
        presented = self._presented(mode, root, known, calls)
        authorizer = self._core.Authorizer(trusted_roots=[root.public_key])
        given = scenario.allowed_arguments()
        proofs = [self._proof(one.warrants[-1], one.keys[-1], given) for one in presented]
        parse, check = self._core.Warrant.from_bytes, authorizer.check_chain
        parents = known.warrants[:-1]
        wire = [[warrant.to_bytes() for warrant in one.warrants] for one in presented]

        def cold(index: int) -> None:
            check([parse(data) for data in wire[index]], scenario.TOOL, given, signature=proofs[index])

        def new_hop(index: int) -> None:
            check([*parents, parse(wire[index][-1])], scenario.TOOL, given, signature=proofs[index])

        def warm(index: int) -> None:
            check(known.warrants, scenario.TOOL, given, signature=proofs[index])

        over = scenario.excessive_arguments(depth)
        leaf = known.warrants[-1]
        return Workload(
            bytes=sum(map(len, wire[0])) + len(proofs[0]),
            call={scenario.COLD: cold, scenario.NEW_HOP: new_hop, scenario.WARM: warm}[mode],
            denied={
                "over the leaf's limit": self._refusal(
                    authorizer, known.warrants, over, self._proof(leaf, known.keys[-1], over)
                ),
                "another's key": self._refusal(authorizer, known.warrants, given, self._proof(leaf, root, given)),
            },
        )

    def _presented(self, mode: str, root: Any, known: _Warrants, calls: int) -> list[_Warrants]:
        """One chain for each call: all new, a new leaf under the known parents, or always the known one."""
        if mode == scenario.COLD:
            return [self._chain(root, len(known.warrants)) for _ in range(calls)]
        if mode == scenario.NEW_HOP:
            return [self._extended(_Warrants(known.warrants[:-1], known.keys[:-1])) for _ in range(calls)]
        return [known] * calls

    def _chain(self, root: Any, depth: int) -> _Warrants:
        chain = _Warrants([], [root])
        for _ in range(depth):
            chain = self._extended(chain)
        return chain

    def _extended(self, chain: _Warrants) -> _Warrants:
        """The chain with one more warrant, for a key of its own; a root where there is none yet."""
        hop = len(chain.warrants)
        grant = {
            scenario.TOOL: {
                "account": self._core.OneOf(scenario.accounts(hop)),
                "currency": self._core.Exact(scenario.CURRENCY),
                "days": self._core.Range(0, scenario.ceiling(hop)),
            }
        }
        holder, signer = self._core.SigningKey.generate(), chain.keys[-1]
        # A second less each hop: a child that outlives its parent is refused when it is minted.
        terms = {"ttl_seconds": scenario.LIFETIME_S - hop, "holder": holder.public_key}
        if chain.warrants:
            warrant = chain.warrants[-1].attenuate(grant, signer, **terms)
        else:
            warrant = self._core.Warrant.issue(signer, grant, **terms)
        return _Warrants([*chain.warrants, warrant], [*chain.keys, holder])

    @staticmethod
    def _proof(leaf: Any, key: Any, arguments: Arguments) -> bytes:
        return bytes(leaf.sign(key, scenario.TOOL, arguments, int(time.time())))

    def _refusal(self, authorizer: Any, chain: Sequence[Any], arguments: Arguments, proof: bytes) -> Callable[[], bool]:
        def refused() -> bool:
            try:
                authorizer.check_chain(chain, scenario.TOOL, arguments, signature=proof)
            except self._denial:
                return True
            return False

        return refused


class Biscuit:
    """`biscuit-python`: a bearer token of blocks with Datalog checks."""

    name = "biscuit"
    modes = frozenset({scenario.COLD, scenario.WARM_CHANNEL})

    _GRANT = """
        check if tool({tool}), arg("account", $account), {accounts}.contains($account),
            arg("currency", {currency}), arg("days", $days), $days >= 0, $days <= {ceiling};
        check if time($now), $now < {expires};
    """
    _REQUEST = """
        time({now}); tool({tool}); arg("account", {account}); arg("currency", {currency});
        arg("days", {days}); allow if true;
    """

    def __init__(self) -> None:
        self._auth: Any = importlib.import_module("biscuit_auth")
        self._limits: Any = self._auth.AuthorizerBuilder().limits()
        self._limits.max_time = dt.timedelta(seconds=1)

    def prepare(self, mode: str, depth: int, calls: int) -> Workload:
        """See `scenario.Engine`."""
        pair = self._auth.KeyPair()
        parse, anchor = self._auth.Biscuit.from_bytes, pair.public_key
        minted = calls if mode == scenario.COLD else 1
        wire = [bytes(self._token(pair, depth).to_bytes()) for _ in range(minted)]
        token = parse(wire[0], anchor)
        given = scenario.allowed_arguments()

        def cold(index: int) -> None:
            self._authorize(parse(wire[index], anchor), given)

        def warm(_: int) -> None:
            self._authorize(token, given)

        def excessive() -> bool:
            return self._refused(lambda: token, scenario.excessive_arguments(depth))

        def foreign_root() -> bool:
            return self._refused(lambda: parse(wire[0], self._auth.KeyPair().public_key), given)

        return Workload(
            bytes=len(wire[0]),
            call=cold if mode == scenario.COLD else warm,
            denied={"over the leaf's limit": excessive, "another's root": foreign_root},
        )

    def _token(self, pair: Any, depth: int) -> Any:
        token = self._auth.BiscuitBuilder(self._GRANT, self._grant(0)).build(pair.private_key)
        for hop in range(1, depth):
            token = token.append(self._auth.BlockBuilder(self._GRANT, self._grant(hop)))
        return token

    @staticmethod
    def _grant(hop: int) -> dict[str, object]:
        lifetime = dt.timedelta(seconds=scenario.LIFETIME_S - hop)
        return {
            "tool": scenario.TOOL,
            "accounts": set(scenario.accounts(hop)),
            "currency": scenario.CURRENCY,
            "ceiling": scenario.ceiling(hop),
            "expires": dt.datetime.now(dt.UTC) + lifetime,
        }

    def _authorize(self, token: Any, arguments: Arguments) -> None:
        facts = {"now": dt.datetime.now(dt.UTC), "tool": scenario.TOOL, **arguments}
        builder = self._auth.AuthorizerBuilder(self._REQUEST, facts)
        builder.set_limits(self._limits)
        if builder.build(token).authorize() != 0:
            raise Unfit("biscuit matched no allow policy")

    def _refused(self, token: Callable[[], Any], arguments: Arguments) -> bool:
        try:
            self._authorize(token(), arguments)
        except (self._auth.AuthorizationError, self._auth.BiscuitValidationError):
            return True
        return False


_PEERS: tuple[tuple[str, str, Callable[[], Engine]], ...] = (
    ("tenuo_core", "tenuo", Tenuo),
    ("biscuit_auth", "biscuit-python", Biscuit),
)
