"""An issuer whose key lies in a KMS: it signs once a key, nobody waits for it, and what a key signed stays good."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from operator import lt
from typing import Any

import pytest

from chain import jws, mint
from chain.anchor import TrustAnchor
from chain.certificate import MAX_WINDOW
from chain.certifying import LEAD, Certifier
from chain.control import Named
from chain.errors import ChainError, ConfigurationError, SignerError, StoreError
from chain.identity.renewal import Renewal
from chain.key import PublicKey, Signer
from chain.keyring import MAX_PUBLISHED
from chain.order import Issue, Revoke
from chain.reason import Reason
from chain.service.compose import compose
from chain.service.settings import ServeSettings
from chain.store.memory import MemoryStore
from chain.token import Verifier
from tests import support as s
from tests.support import ALICE, HOME, ISSUER, NOW, World

WINDOW = 1000


class Kms:
    """A KMS that counts what it signs, and can be away."""

    def __init__(self, name: str = "kms") -> None:
        self._signer = s.ec_signer(name)
        self.signed = 0
        self.away = False

    @property
    def key(self) -> PublicKey:
        return self._signer.key

    def sign(self, data: bytes) -> bytes:
        if self.away:
            raise SignerError("it is away")
        self.signed += 1
        return self._signer.sign(data)


@pytest.fixture
def kms() -> Kms:
    return Kms()


@pytest.fixture
def world(kms: Kms) -> World:
    trust = Verifier([TrustAnchor(kms.key, ISSUER, certifies=True)])
    return World(verifier=trust, signer=Certifier(kms, WINDOW))  # type: ignore[arg-type]


def eventually(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.005)


def issue(world: World) -> str:
    order = Issue(holder=ALICE.key, grant=mint.grant({"tools": {"mail.read": {}}}), lifetime=3000)
    return world.authority.issue(world.caller, order).token


def signs(world: World) -> str:
    """Thumbprint of what signs a root now."""
    return world.accepted([issue(world)]).root.signer


def refused(world: World, said: str) -> None:
    """Nothing is issued, and nothing of it is written."""
    before = world.store.head
    with pytest.raises(SignerError, match=said) as raised:
        issue(world)
    assert (raised.value.reason, world.store.head) == (Reason.SIGNER_UNAVAILABLE, before)


def test_the_kms_signs_once_for_each_key_and_never_a_root(world: World, kms: Kms) -> None:
    first = [issue(world) for _ in range(5)]
    assert (kms.signed, world.authority.keys.renew()) == (1, False)
    world.clock.now = NOW + WINDOW / 2 - 1
    assert (world.authority.keys.renew(), kms.signed) == (False, 1)
    world.clock.now += 1
    assert (world.authority.keys.renew(), kms.signed) == (True, 2)
    second = [issue(world) for _ in range(5)]
    assert (kms.signed, world.authority.keys.renew()) == (2, False)
    signers = [world.accepted([one]).root.signer for one in (*first, *second)]
    assert [len(set(signers[:5])), len(set(signers[5:])), len(set(signers))] == [1, 1, 2]
    assert kms.key.thumbprint not in signers
    for one in (*first, *second):
        world.allowed([one], ALICE)


def test_who_has_no_kms_renews_nothing() -> None:
    for signer in (s.ROOT_KEY, None):
        assert not World(signer=signer).authority.keys.renew()


def test_a_window_begins_before_its_key_is_there(world: World) -> None:
    """A root that was dated before its key came is signed with it all the same."""
    (published,) = world.authority.keys.jwks()["keys"]
    told = jws.split(str(published["chain_certificate"]))
    assert json.loads(told.payload)["iat"] == NOW - LEAD
    assert json.loads(told.payload)["exp"] == NOW + WINDOW


def test_a_kms_that_is_away_stops_nobody_until_the_window_ends(world: World, kms: Kms) -> None:
    first = issue(world)
    kms.away = True
    world.clock.now = NOW + WINDOW - 1
    with pytest.raises(SignerError, match="away"):
        world.authority.keys.renew()
    last = issue(world)
    world.clock.now += 1
    with pytest.raises(SignerError, match="away"):
        world.authority.keys.renew()
    refused(world, "certified no other")
    for one in (first, last):
        world.allowed([one], ALICE)
    kms.away = False
    assert world.authority.keys.renew()
    world.allowed([issue(world)], ALICE)


def test_a_machine_that_slept_wakes_with_a_key_that_has_ended(world: World) -> None:
    before = signs(world)
    world.clock.now = NOW + MAX_WINDOW
    refused(world, "may not sign")
    assert world.authority.keys.renew()
    assert signs(world) != before


def test_a_ledger_that_does_not_take_a_key_does_not_let_it_sign(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    before = signs(world)
    world.clock.now = NOW + WINDOW / 2

    def fail(_batch: object) -> Any:
        raise StoreError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(world.store, "commit", fail)
        with pytest.raises(StoreError):
            world.authority.keys.renew()
    assert signs(world) == before
    assert world.authority.keys.renew()
    assert signs(world) != before


@pytest.mark.parametrize("name", ["key", "kms"])
def test_who_revokes_the_key_or_the_kms_stops_it_signing(world: World, kms: Kms, name: str) -> None:
    first = issue(world)
    before = signs(world)
    struck = before if name == "key" else kms.key.thumbprint
    world.authority.revoke(world.caller, Revoke(named=Named("key", struck)))
    world.denied(Reason.REVOKED, 0, [first], ALICE)
    refused(world, "may not sign")
    if name == "kms":
        with pytest.raises(SignerError, match="was revoked"):
            world.authority.keys.renew()
        with pytest.raises(ConfigurationError, match="was revoked"):
            world.open()
        return
    assert world.authority.keys.renew()
    assert signs(world) != before
    world.allowed([issue(world)], ALICE)
    world.denied(Reason.REVOKED, 0, [first], ALICE)


@pytest.mark.parametrize("name", ["nobody", "key", "kms"])
def test_a_key_whose_kms_is_distrusted_is_not_published_to_strangers(world: World, kms: Kms, name: str) -> None:
    before = signs(world)
    assert world.authority.keys.renew() is False
    world.clock.now += WINDOW
    assert world.authority.keys.renew()
    both = [before, signs(world)]
    assert [key["kid"] for key in world.authority.keys.jwks()["keys"]] == both
    struck = {"nobody": ALICE.key.thumbprint, "key": before, "kms": kms.key.thumbprint}[name]
    world.authority.revoke(world.caller, Revoke(named=Named("key", struck)))
    left = {"nobody": both, "key": both[1:], "kms": []}[name]
    assert [key["kid"] for key in world.authority.keys.jwks()["keys"]] == left


def test_after_a_restart_another_key_signs_and_the_roots_before_still_count(world: World, kms: Kms) -> None:
    first, before = issue(world), signs(world)
    world.authority = world.open()
    assert kms.signed == 2
    second, after = issue(world), signs(world)
    assert before != after
    for one in (first, second):
        world.allowed([one], ALICE)
    published = world.authority.keys.jwks()["keys"]
    assert [key["kid"] for key in published] == [before, after]
    for key in published:
        shown = world.verifier.verify([{before: first, after: second}[str(key["kid"])]])
        assert shown.root.certifier == kms.key.thumbprint
        assert len(str(key["chain_certificate"]).split(".")) == 3
    assert kms.key.thumbprint not in {key["kid"] for key in published}
    held = {each.key.thumbprint: each.state for each in world.authority.keys.listed(world.caller).keys}
    assert held == {before: "retiring", after: "active"}


def test_every_key_is_in_the_ledger_before_its_first_root(world: World, kms: Kms) -> None:
    issue(world)
    told = [json.loads(record) for record, _ in world.store.records(kind="key_changed")]
    issued = [json.loads(record) for record, _ in world.store.records(kind="issued")]
    assert [(one["body"]["key"], one["body"]["state"]) for one in told] == [(signs(world), "active")]
    assert told[0]["body"]["cause"] == f"certified by {kms.key.thumbprint} until {NOW + WINDOW}"
    assert told[0]["revision"] < issued[0]["revision"]


def test_the_newest_keys_are_published_and_another_kms_is_not_believed(world: World) -> None:
    for number in range(MAX_PUBLISHED + 3):
        world.clock.now = NOW + (number + 1) * WINDOW
        assert world.authority.keys.renew()
    latest = signs(world)
    published = [key["kid"] for key in world.authority.keys.jwks()["keys"]]
    assert (len(published), published[-1]) == (MAX_PUBLISHED, latest)
    other = Kms("another kms")
    world.verifier = Verifier([TrustAnchor(other.key, ISSUER, certifies=True)])
    world.signer = Certifier(other, WINDOW)  # type: ignore[assignment]
    world.authority = world.open()
    assert [key["kid"] for key in world.authority.keys.jwks()["keys"]] == [signs(world)]


def test_no_root_fails_while_keys_follow_each_other(kms: Kms) -> None:
    """A turn comes once everybody has issued since the last: what began before a turn ends before the next but one."""
    trust = Verifier([TrustAnchor(kms.key, ISSUER, certifies=True)])
    world = World(verifier=trust, signer=Certifier(kms, LEAD // 2))  # type: ignore[arg-type]
    made: list[list[str]] = [[], [], []]
    ended = threading.Event()

    def work(mine: list[str]) -> None:
        while not ended.is_set():
            mine.append(issue(world))

    def turn() -> None:
        for _ in range(5):
            before = [len(mine) for mine in made]
            eventually(lambda before=before: all(map(lt, before, map(len, made))))
            world.clock.now += LEAD // 4
            assert world.authority.keys.renew()

    with ThreadPoolExecutor(3) as pool:
        working = [pool.submit(work, mine) for mine in made]
        try:
            turn()
        finally:
            ended.set()
        assert [one.result() for one in working] == [None] * 3
    verifier = world.fresh()
    assert len({verifier.verify([one]).root.signer for mine in made for one in mine}) >= 5


def test_it_does_not_start_without_its_kms(kms: Kms) -> None:
    trust = Verifier([TrustAnchor(kms.key, ISSUER, certifies=True)])
    kms.away = True
    with pytest.raises(ConfigurationError, match="no key is certified: it is away"):
        World(verifier=trust, signer=Certifier(kms, WINDOW))  # type: ignore[arg-type]
    kms.away = False
    for wrong in (TrustAnchor(kms.key, "https://b.example", certifies=True), TrustAnchor(s.ROOT_KEY.key, ISSUER)):
        with pytest.raises(ConfigurationError, match="no trust anchor lets"):
            World(verifier=Verifier([wrong]), signer=Certifier(kms, WINDOW))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="no key is certified"):
        World(verifier=trust, signer=Certifier(kms, MAX_WINDOW))  # type: ignore[arg-type]
    World(verifier=trust, signer=Certifier(kms, WINDOW))  # type: ignore[arg-type]


def settings(**changes: Any) -> ServeSettings:
    callers = [{"name": "desk", "roles": ["issuer"], "credentials": ["0" * 64]}]
    hsm = {"module": "/m.so", "token_label": "t", "pin_file": "/dev/null", "key_label": "k"}
    told = {"issuer": ISSUER, "issuer_pkcs11": hsm} | changes
    return ServeSettings(ledger="memory", audience=HOME, policy="none", callers=callers, **told)


def composed(kms: Signer, **changes: Any) -> list[TrustAnchor]:
    return list(compose(settings(**changes), MemoryStore(), signer=Certifier(kms, WINDOW)).verifier.anchors)


@pytest.fixture
def private(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.service.safety._private", lambda *_: iter(()))


@pytest.mark.usefixtures("private")
def test_a_server_trusts_its_own_kms_under_the_ceiling_that_it_was_told(kms: Kms) -> None:
    own = TrustAnchor(kms.key, ISSUER, certifies=True)
    other = {"jwk": s.jwk(s.ROOT_KEY)}
    assert composed(kms) == [own]
    assert composed(kms, anchors=[other]) == [TrustAnchor(s.ROOT_KEY.key), own]
    told = {"jwk": s.jwk(kms), "iss": ISSUER, "certifies": True, "ceiling": {"tools": ["mail.read"]}}
    (only,) = composed(kms, anchors=[told])
    assert only.ceiling.tools == {"mail.read"}


@pytest.mark.usefixtures("private")
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"issuer": None}, "go together"),
        ({"issuer_key": "/k"}, "2 ways to hold"),
        ({"key_ring": "/r", "issuer_key": "/k"}, "3 ways to hold"),
        ({"passphrase_file": "/p"}, "no key that it could open"),
        ({"issuer_pkcs11": {"module": "/m", "token_label": "t", "pin_file": "/p"}}, "names no key"),
        ({"anchors": [{"jwk": s.jwk(s.ROOT_KEY), "certifies": True}]}, "names no `iss`"),
    ],
)
def test_what_contradicts_itself_does_not_start(kms: Kms, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        composed(kms, **changes)


def test_the_thread_asks_again_whatever_went_wrong_and_says_each_thing_once() -> None:
    faults: list[Exception | None] = [SignerError("away")] * 3 + [RuntimeError("a secret")] * 2
    faults += [None, SignerError("away"), ChainError("other")]
    said: list[tuple[str, bool]] = []

    def renew() -> bool:
        if not faults:
            return False
        fault = faults.pop(0)
        if fault is not None:
            raise fault
        return True

    renewal = Renewal(renew, lambda *told: said.append(told), every=0.001)
    eventually(lambda: not faults and len(said) == 5)
    renewal.close()
    away, certified = ("no key is certified: away", True), ("another key was certified and signs from here on", False)
    assert said == [
        away,
        ("no key is certified: RuntimeError", True),
        certified,
        away,
        ("no key is certified: other", True),
    ]
    assert not renewal._thread.is_alive()
