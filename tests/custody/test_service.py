"""Custody over the wire: on a socket and over mutual TLS, and never with a credential that can be sent on."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from chain import mint
from chain.base64url import b64decode
from chain.cli import main
from chain.cli.composition import authority as composed
from chain.client import AsyncClient, AsyncSession, Session
from chain.errors import ChainError, ConfigurationError, DeniedError, ExcessError
from chain.identity import keyfile
from chain.key import PublicKey
from chain.order import Delegate, Issue, Revoke
from chain.privatekey import PrivateJwk
from chain.reason import Reason
from chain.service.safety import require_safe
from chain.service.settings import ServeSettings
from chain.store.sqlite import SqliteStore
from chain.token import Verifier
from chain.v1 import delegation_pb2 as pb
from chain.v1.delegation_pb2_grpc import DelegationServiceStub
from chain.wire import convert
from tests.custody.keeping import PASSPHRASE, opened
from tests.custody.served import AGENTS, ANN, BEN, CALLERS, OWNED, PLANNER, SOLO, WORKER, Served, Source, configuration
from tests.support import ALICE, BOB, PEP, TOOLS, Json, rule, verifier

GRANT = mint.grant({"tools": TOOLS, "limits": {"classes": ["read", "act"]}})
PAYING = mint.grant({"tools": {"bank.pay": {"amount": rule("range", max=50)}}})
BEYOND = mint.grant({"tools": {"bank.pay": {"amount": rule("range", max=101)}}})


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("c")  # short: a unix socket's path has 107 bytes


@pytest_asyncio.fixture
async def served(folder: Path) -> AsyncIterator[Served]:
    made = Served(folder)
    await made.server.start()
    yield made
    await made.server.stop(0)


async def issued(served: Served, holder: PublicKey) -> list[str]:
    async with served.with_secret("issuer") as issuer:
        order = Issue(holder=holder, grant=GRANT, lifetime=600, task="t1", sub="dana", owner="team")
        return [(await issuer.issue(order)).token]


def order(holder: PublicKey = BOB.key, grant: mint.Grant = PAYING, **changed: Any) -> Delegate:
    return Delegate(**{"holder": holder, "grant": grant, "lifetime": 300, **changed})


def session(door: AsyncClient, tokens: list[str] | tuple[str, ...]) -> AsyncSession:
    return AsyncSession(signer=None, tokens=tokens, audience=PEP, door=door, channel=True)


async def refused(asked: Awaitable[object]) -> Reason:
    with pytest.raises(ChainError) as raised:
        await asked
    return raised.value.reason


async def test_agents_without_a_key_delegate_and_check_from_socket_to_mutual_tls_and_on(served: Served) -> None:
    async with (
        served.on_socket("ann") as ann,
        served.over_tls(PLANNER) as planner,
        served.on_socket("bob") as bob,
    ):
        first = session(ann, await issued(served, await ann.own_key()))
        assert (await first.check("bank.pay", {"amount": 80})).allowed
        handed = await first.delegate(await planner.own_key(), GRANT)
        second = session(planner, handed.tokens)
        assert (await second.check("bank.pay", {"amount": 80})).allowed
        handed = await second.delegate(BOB.key, PAYING, lifetime=60, max_depth=4)
        third = AsyncSession(signer=BOB, tokens=handed.tokens, audience=PEP, door=bob)
        assert (await third.check("bank.pay", {"amount": 50})).allowed
        assert (await third.check("bank.pay", {"amount": 80})).reason is Reason.CONSTRAINT_VIOLATED
        leaf = verifier().verify(handed.tokens).leaf
        assert (leaf.hop, leaf.claims.del_max_depth, leaf.exp - leaf.iat) == (2, 4, 60)
        assert handed.delegation.id == leaf.id
        await second.revoke(handed.delegation.id)
        assert (await third.check("bank.pay", {"amount": 50})).reason is Reason.REVOKED
    principals = [body["principal"]["id"] for body in served.records("enrolled") if body["caller"] == "custody"]
    assert principals == [ANN, BEN, PLANNER]
    assert [body["caller"] for body in served.records("delegated")] == ["ann", PLANNER]


async def test_the_client_for_threads_does_the_same(served: Served) -> None:
    def work() -> None:
        with served.plainly_over_tls(WORKER) as worker:
            tokens = asyncio.run(issued(served, worker.own_key()))
            held = Session(signer=None, tokens=tokens, audience=PEP, door=worker, channel=True)
            handed = held.delegate(BOB.key, PAYING)
            assert Verifier(served.authority.verifier.anchors).verify(handed.tokens).leaf.holder == BOB.key.thumbprint
            assert held.as_holder(None, tokens).check("mail.read", {"folder": "in"}).allowed
            with pytest.raises(ExcessError):
                held.delegate(BOB.key, BEYOND)

    await asyncio.to_thread(work)


Asks = Callable[[Served, list[str]], Awaitable[object]]


async def _other(served: Served, parent: list[str]) -> object:
    async with served.on_socket("ben") as ben:
        return await ben.delegate(parent, order())


async def _workload(served: Served, parent: list[str]) -> object:
    async with served.over_tls(PLANNER) as planner:
        await planner.own_key()
        return await planner.delegate(parent, order())


async def _secret(served: Served, parent: list[str]) -> object:
    async with served.with_secret("ann") as ann:
        return await ann.delegate(parent, order())


async def _token(served: Served, parent: list[str]) -> object:
    async with served.with_token(PLANNER) as planner:
        return await planner.delegate(parent, order())


async def _own_key(served: Served, parent: list[str]) -> object:
    async with served.on_socket("bob") as bob:
        return await bob.delegate(parent, order())


async def _no_custody(served: Served, parent: list[str]) -> object:
    async with served.over_tls(SOLO) as solo:
        return await solo.delegate(parent, order())


async def _stranger(served: Served, parent: list[str]) -> object:
    async with AsyncClient(served.server.address, credential="x" * 40) as nobody:
        return await nobody.delegate(parent, order())


REFUSED: list[tuple[Asks, Reason]] = [
    (_other, Reason.HOLDER_MISMATCH),
    (_workload, Reason.HOLDER_MISMATCH),
    (_secret, Reason.PERMISSION_DENIED),
    (_token, Reason.PROOF_MISSING),
    (_own_key, Reason.PERMISSION_DENIED),
    (_no_custody, Reason.PERMISSION_DENIED),
    (_stranger, Reason.UNAUTHENTICATED),
]


async def test_nobody_else_has_anything_signed_with_an_agents_key(served: Served) -> None:
    assert len(REFUSED) == 7
    async with served.on_socket("ann") as ann:
        parent = await issued(served, await ann.own_key())
        for attempt, reason in REFUSED:
            assert await refused(attempt(served, parent)) is reason, attempt
        assert served.records("delegated") == []
        assert (await ann.delegate(parent, order())).hop == 1


async def test_a_token_that_names_a_workload_has_nothing_signed_for_it(served: Served) -> None:
    async with served.over_tls(PLANNER) as planner, served.with_token(PLANNER) as token:
        assert await refused(token.own_key()) is Reason.PERMISSION_DENIED
        parent = await issued(served, await planner.own_key())
        assert await refused(token.own_key()) is Reason.PERMISSION_DENIED
        assert await refused(token.delegate(parent, order())) is Reason.PROOF_MISSING
        assert (await planner.delegate(parent, order())).hop == 1


async def test_names_in_a_message_prove_nothing(served: Served) -> None:
    """What speaks of a holder in the request itself, or beside it, is no channel."""
    async with served.on_socket("ann") as ann:
        parent = await issued(served, await ann.own_key())
    channel = grpc.aio.insecure_channel(f"unix:{served.server.sockets['ann']}")
    other = grpc.aio.insecure_channel(f"unix:{served.server.sockets['ben']}")
    plain = convert.delegate_to(parent, order(), None, "k", channel=True)
    named = (("x-caller", "ann"), ("x-spiffe-id", ANN))
    assert (await DelegationServiceStub(other).Delegate(plain, metadata=named)).HasField("denial")
    silent = convert.delegate_to(parent, order(), None, "k")
    reply = await DelegationServiceStub(channel).Delegate(silent)
    assert reply.HasField("denial")  # the channel is asked for its word, or has none
    assert not reply.token
    proven = convert.delegate_to(parent, order(), "eyJ", "k")
    bare, faults = pb.DelegateRequest(idempotency_key="k", channel=True, unsigned=pb.UnsignedChild()), 0
    for message in (proven, bare):
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await DelegationServiceStub(channel).Delegate(message)
        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        faults += 1
    assert faults == 2
    reply = await DelegationServiceStub(channel).Delegate(plain)
    assert (reply.WhichOneof("outcome"), reply.token.decode().count(".")) == ("delegation", 2)
    for one in (channel, other):
        await one.close()


async def test_what_is_not_signed_here_is_not_sent_back(served: Served) -> None:
    """The token of a child that its holder signed stays with the holder."""
    channel = grpc.aio.insecure_channel(f"unix:{served.server.sockets['bob']}")
    parent = await issued(served, BOB.key)
    claims = mint.child_claims(mint.unverified(parent[0]), PAYING, ALICE.key, jti="j", now=0, lifetime=60)
    message = convert.delegate_to(parent, mint.token.sign(claims, BOB), None, "k", channel=True)
    reply = await DelegationServiceStub(channel).Delegate(message)
    assert (reply.WhichOneof("outcome"), reply.token) == ("delegation", b"")
    await channel.close()


async def test_a_child_that_asks_for_more_names_the_field_over_the_wire(served: Served) -> None:
    async with served.on_socket("ann") as ann:
        parent = await issued(served, await ann.own_key())
        with pytest.raises(ExcessError) as raised:
            await ann.delegate(parent, order(grant=BEYOND))
        assert raised.value.field == "tools.bank.pay.amount"
        assert "101" in raised.value.child
        assert "100" in raised.value.parent
        (body,) = served.records("refused")
        assert (body["field"], body["caller"]) == ("tools.bank.pay.amount", "ann")
        assert served.records("delegated") == []
        assert (await ann.delegate(parent, order())).hop == 1


async def test_one_idempotency_key_makes_one_child_however_many_send_it(served: Served) -> None:
    async with served.over_tls(PLANNER) as planner:
        keys = await asyncio.gather(*(planner.own_key() for _ in range(8)))
        assert len({key.thumbprint for key in keys}) == 1
        parent = await issued(served, keys[0])
        made = await asyncio.gather(*(planner.delegate(parent, order(), key="k") for _ in range(12)))
        assert len({one.token for one in made}) == 1
        assert await refused(planner.delegate(parent, order(lifetime=299), key="k")) is Reason.CONFLICT
    assert len(served.records("delegated")) == 1
    assert [body["principal"]["id"] for body in served.records("enrolled")].count(PLANNER) == 1


async def test_a_workload_keeps_its_key_when_its_svid_changes_and_when_it_is_suspended(served: Served) -> None:
    source = Source(PLANNER, served.domain)
    async with served.over_tls(PLANNER, source) as planner, served.with_secret("operator") as operator:
        key = await planner.own_key()
        parent = await issued(served, key)
        before = source.current().svid
        source.renew()
        assert source.current().svid != before
        assert (await planner.delegate(parent, order())).hop == 1
        assert await planner.own_key() == key
        await operator.steering.suspend("agent", PLANNER, "odd")
        assert await refused(planner.delegate(parent, order())) is Reason.SUSPENDED
        assert await planner.own_key() == key
        await operator.steering.resume("agent", PLANNER, "seen")
        assert (await planner.delegate(parent, order())).hop == 1
        await operator.revoke(Revoke(mint.unverified(parent[0]).digest))
        assert await refused(planner.delegate(parent, order())) is Reason.REVOKED


async def test_only_agents_whose_keys_are_kept_have_one(served: Served) -> None:
    async with (
        served.on_socket("bob") as bob,
        served.over_tls(SOLO) as solo,
        served.with_secret("operator") as operator,
        served.on_socket("ben") as ben,
    ):
        assert await refused(bob.own_key()) is Reason.NOT_FOUND
        assert await refused(solo.own_key()) is Reason.NOT_FOUND
        assert await refused(operator.own_key()) is Reason.PERMISSION_DENIED
        assert (await ben.own_key()).thumbprint == served.authority.custody.holder(BEN)


async def test_a_restart_keeps_keys_and_answers(folder: Path) -> None:
    seen = []
    for _ in range(2):
        served = Served(folder, opened(folder / "custody"), SqliteStore(folder / "ledger"))
        await served.server.start()
        async with served.on_socket("ann") as ann, served.over_tls(PLANNER) as planner:
            keys = (await ann.own_key(), await planner.own_key())
            if not seen:
                parent = await issued(served, keys[0])
            child = await ann.delegate(parent, order(keys[1]), key="k")
            assert (await planner.delegate([*parent, child.token], order())).hop == 2
            seen.append((keys, child.token, len(served.records("enrolled"))))
        await served.server.stop(0)
    assert seen[0] == seen[1]


async def test_who_answers_for_kept_keys_is_read_at_the_start(folder: Path) -> None:
    """Of an id and of a pattern's; the more exact line counts, and an operator's word stands until then."""
    custodian, store = opened(folder / "custody"), folder / "ledger"
    told = []
    for owner in ("team", "team", "audit"):
        owned = [{**row, "owner": owner} for row in OWNED]
        served = Served(folder, custodian, SqliteStore(store), {"agents": owned})
        await served.server.start()
        async with served.on_socket("ann") as ann, served.over_tls(PLANNER) as planner:
            keys = (await ann.own_key(), await planner.own_key())
        known = [served.authority.principal(key.thumbprint) for key in keys]
        told.append([(one.id, one.owner) for one in known if one is not None])
        await served.server.stop(0)
    assert told == [[(ANN, owner), (PLANNER, owner)] for owner in ("team", "team", "audit")]


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_no_private_half_leaves_the_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[PrivateJwk] = []
    generate = keyfile.generate

    def remembered() -> PrivateJwk:
        made.append(generate())
        return made[-1]

    monkeypatch.setattr(keyfile, "generate", remembered)
    served = Served(folder, opened(folder / "custody"), SqliteStore(folder / "ledger"))
    await served.server.start()
    replies: list[object] = []
    async with served.on_socket("ann") as ann, served.over_tls(PLANNER) as planner, served.on_socket("ben") as ben:
        parent = await issued(served, await ann.own_key())
        replies += [(await planner.own_key()).to_json(), await ann.info(), await ann.delegate(parent, order())]
        for attempt in (ben.delegate(parent, order()), ann.delegate(parent, order(grant=BEYOND)), ben.get(b"x" * 32)):
            with pytest.raises(ChainError) as raised:
                await attempt
            replies += [raised.value, repr(raised.value), getattr(raised.value, "decision", "")]
    await served.server.stop(0)
    told = (served.log.getvalue(), repr(replies), *map(str, replies))
    seen = "".join(told).encode() + await asyncio.to_thread(everything_in, folder)
    assert len(made) == 3
    for private in made:
        assert private.x.encode() in seen  # it would find them
        raw = b64decode(private.d.encode())
        for spelled in (raw, raw.hex().encode(), base64.b64encode(raw).rstrip(b"="), private.d.encode()):
            assert spelled not in seen


CONTRADICTIONS: list[tuple[str, Json, str]] = [
    ("ann", {"jwk": {"kty": "OKP"}}, "a key of its own"),
    ("ann", {"thumbprint": "x"}, "a key of its own"),
    ("ann", {"socket": False}, "neither a socket nor"),
    ("ann", {"agent": None}, "which is one `agent`'s"),
    ("ann", {"agent": AGENTS}, "which is one `agent`'s"),
    ("ann", {"roles": ["auditor"]}, "is no agent"),
    ("ann", {"custody": False}, "names an `agent` and has no `custody`"),
    ("ann", {"agent": f"{ANN}/sub"}, "says who answers for it"),
    ("agents", {"spiffe": f"{AGENTS}*"}, "says who answers for it"),
    ("agents", {"agent": ANN}, "give one of them"),
    ("agents", {"socket": True}, "which is one `agent`'s"),
    ("agents", {"custody": False}, "no caller with `custody` is that agent"),
]
WRONG: list[tuple[Json, str]] = [
    ({"custody": None}, "names no directory"),
    ({"mtls_listen": ""}, "neither a socket nor `mtls_listen`"),
    ({"agents": [*OWNED, OWNED[0]]}, "stands 2 times"),
    ({"agents": [OWNED[0] | {"svid": True}, *OWNED[1:]]}, "needs one of"),
    ({"agents": [*OWNED, OWNED[0] | {"id": SOLO}]}, "no caller with `custody` is that agent"),
    ({"callers": [*CALLERS, CALLERS[1] | {"name": "custody", "credentials": ["0" * 64]}]}, "the server's own name"),
    ({"agents": OWNED[3:], "callers": [CALLERS[0], CALLERS[4], CALLERS[6]]}, "no agent's key is to be kept"),
]


@pytest.mark.parametrize(("name", "changed", "said"), CONTRADICTIONS)
def test_a_caller_that_contradicts_itself_does_not_start(folder: Path, name: str, changed: Json, said: str) -> None:
    callers = [row | changed if row["name"] == name else row for row in CALLERS]
    require_safe(ServeSettings(**configuration(folder)))
    with pytest.raises(ConfigurationError, match=said):
        require_safe(ServeSettings(**configuration(folder, callers=callers)))


@pytest.mark.parametrize(("changed", "said"), WRONG)
def test_settings_that_contradict_themselves_do_not_start(folder: Path, changed: Json, said: str) -> None:
    require_safe(ServeSettings(**configuration(folder)))
    with pytest.raises(ConfigurationError, match=said):
        require_safe(ServeSettings(**configuration(folder, **changed)))


def test_a_directory_that_others_may_enter_is_refused(folder: Path) -> None:
    (folder / "custody").mkdir(0o700)
    require_safe(ServeSettings(**configuration(folder)))
    (folder / "custody").chmod(0o711)
    with pytest.raises(ConfigurationError, match="open to others"):
        require_safe(ServeSettings(**configuration(folder)))


def test_a_server_opens_its_custody_with_its_passphrase_and_not_without(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CHAIN_PASSPHRASE_FILE", raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    opened(folder / "custody")
    told = configuration(folder, issuer=None, issuer_key=None)
    (folder / "passphrase").write_bytes(PASSPHRASE)
    made = composed(ServeSettings(**told))
    assert made.custody.holder(ANN) == opened(folder / "custody").keys[ANN].thumbprint
    made.close()
    (folder / "passphrase").write_bytes(b"another passphrase")
    with pytest.raises(ConfigurationError, match="wrong passphrase"):
        composed(ServeSettings(**told))
    with pytest.raises(ConfigurationError, match="needs its passphrase"):
        composed(ServeSettings(**told | {"passphrase_file": None}))


async def test_an_agent_without_a_key_works_from_the_command_line(served: Served, folder: Path) -> None:
    def chain(*arguments: object) -> Result:
        return CliRunner().invoke(main, list(map(str, arguments)))

    def work() -> None:
        ann, ben = (("--server", f"unix:{served.server.sockets[name]}") for name in ("ann", "ben"))
        public = chain("keys", "custody", "own", *ann)
        assert public.exit_code == 0, public.output
        parent = asyncio.run(issued(served, PublicKey.from_json(public.output)))
        (folder / "root.chain").write_text("\n".join(parent))
        (folder / "ben.jwk").write_text(chain("keys", "custody", "own", *ben).output)
        grant = '{"tools":{"bank.pay":{"amount":{"constraint_type":"range","max":50}}}}'
        terms = ("--chain", folder / "root.chain", "--to", folder / "ben.jwk", "--grant", grant)
        made = chain("delegate", *terms, "--custody", *ann)
        assert made.exit_code == 0, made.output
        (folder / "child.chain").write_text(made.output)
        call = ("check", "--chain", folder / "child.chain", "--channel", "bank.pay")
        assert chain(*call, '{"amount":50}', *ben).output == "ALLOW\n"
        assert "constraint_violated" in chain(*call, '{"amount":80}', *ben).output
        assert "holder_mismatch" in chain(*call, '{"amount":50}', *ann).output
        for wrong in (terms, (*terms, "--custody", "--key", folder / "k"), (*terms, "--custody")):
            assert chain("delegate", *wrong).exit_code == 2
        stolen = chain("delegate", *terms, "--custody", *ben)
        assert (stolen.exit_code, "holder_mismatch" in stolen.output) == (1, True), stolen.output

    await asyncio.to_thread(work)


def test_a_reply_without_what_was_ordered_is_no_child() -> None:
    stands = pb.Delegation(digest=b"d" * 32, holder="h")
    for reply, ordered, error in (
        (pb.DelegateResponse(delegation=stands), order(), ValueError),
        (pb.DelegateResponse(token=b"a.b.c"), order(), DeniedError),
        (pb.DelegateResponse(denial={}, token=b"a.b.c"), "a.b.c", DeniedError),
    ):
        with pytest.raises(error):
            convert.delegated_from(reply, ordered)
    assert convert.delegated_from(pb.DelegateResponse(delegation=stands, token=b"a.b.c"), order()).token == "a.b.c"
    assert convert.delegated_from(pb.DelegateResponse(delegation=stands), "x.y.z").token == "x.y.z"


@pytest.mark.parametrize("audience", [None, PEP, (PEP, "https://else.example")])
@pytest.mark.parametrize("depth", [None, 0, 3])
def test_an_order_is_the_same_on_the_other_side(audience: Any, depth: int | None) -> None:
    sent = order(max_depth=depth, audience=audience)
    message = pb.DelegateRequest.FromString(convert.delegate_to(["a"], sent, None, "k").SerializeToString())
    assert convert.delegate_from(message) == convert.Handing(("a",), sent, None, channel=False)


def test_a_session_without_a_key_needs_a_channel_that_proves_it() -> None:
    tokens = [mint.token.sign(mint.root_claims(GRANT, BOB.key, issuer="i", jti="j", now=0, lifetime=9), ALICE)]
    with pytest.raises(ChainError, match="the channel has to prove"):
        Session(signer=None, tokens=tokens, audience=PEP, door=None)  # type: ignore[arg-type]  # never asked
    assert Session(signer=None, tokens=tokens, audience=PEP, door=None, channel=True)  # type: ignore[arg-type]
    assert issubclass(DeniedError, ChainError)
