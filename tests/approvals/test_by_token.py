"""Approvers who call with a token of their provider: the token lets them call, and their own key is what counts."""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chain import bundles
from chain.approval import Approval, word
from chain.cli.identities import people_of
from chain.client import Client
from chain.decision import Effect
from chain.errors import ApprovalError, ForbiddenError, UnauthenticatedError
from chain.ledger import decode
from chain.service.compose import compose
from chain.service.server import ChainServer
from chain.service.settings import ServeSettings
from chain.store.memory import MemoryStore
from tests.approvals.office import ANN, BEN
from tests.approvals.served import client, paying, root_of, settings
from tests.client.running import serving
from tests.identity import provider as login
from tests.support import ALICE, HOME, ROOT_KEY, jwk


class Desk:
    """A server that waits for two people, its ledger, and clients."""

    def __init__(self, address: str, store: MemoryStore, provider: login.Provider) -> None:
        self.address, self.store, self.provider = address, store, provider
        self.clients: list[Client] = []

    def token(self, sub: str, **said: object) -> Callable[[], str]:
        now = int(time.time())
        told = {"iss": self.provider.issuer, "sub": sub, "iat": now, "exp": now + 300} | said
        return lambda: login.token(login.claims(**told))

    def person(self, sub: str, **said: object) -> Client:
        return self.kept(Client(self.address, self.token(sub, **said), timeout=20))

    def kept(self, made: Client) -> Client:
        self.clients.append(made)
        return made

    def waits(self) -> tuple[list[str], Approval]:
        tokens = [root_of(self.kept(client(self.address, "issuer")))]
        decision = self.kept(client(self.address, "agent")).check(tokens, paying(tokens))
        assert decision.awaits is not None
        return tokens, self.kept(client(self.address, "desk")).approvals.get(decision.awaits.request_id)

    def said(self) -> list[tuple[str, str]]:
        records = [decode(data) for data, _ in self.store.records()]
        return [(one.body["approver"], one.body["caller"]) for one in records if one.kind == "approval_resolved"]


@pytest.fixture
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder: Path = tmp_path_factory.mktemp("s")
    with login.serving("a") as provider:
        issuer, store = provider.issuer, MemoryStore()
        told = settings(folder).model_dump(exclude_defaults=True, mode="json")
        told["identity"] = {"oidc": [{"issuer": issuer, "audience": [login.US], "jwks_uri": provider.uri}]}
        told["callers"] += [
            {
                "name": "treasurer",
                "roles": ["approver"],
                "oidc": {"issuer": issuer, "subject": "ann"},
                "jwk": jwk(ANN),
            },
            {
                "name": "payments",
                "roles": ["approver"],
                "oidc": {"issuer": issuer, "claims": {"groups": "payments-approvers"}},
            },
        ]
        configured = ServeSettings.model_validate(told)
        people = people_of(configured.identity)

        def make() -> ChainServer:
            authority = compose(configured, store, signer=ROOT_KEY, policy=bundles.default())
            return ChainServer(authority, configured, log=io.StringIO(), people=people)

        with serving(make) as server:
            made = Desk(server.address, store, provider)
            yield made
            for one in made.clients:
                one.close()
        assert people is not None
        people.close()


def test_two_people_approve_by_their_own_keys_and_stand_in_the_ledger(desk: Desk) -> None:
    tokens, asked = desk.waits()
    ann, ben = desk.person("ann"), desk.person("ben", groups=["staff", "payments-approvers"])
    assert ann.approvals.approve(asked, ANN, HOME).state == "pending"
    assert ben.approvals.approve(asked, BEN, HOME).state == "approved"
    assert desk.said() == [
        ("spiffe://example.org/human/ann", "treasurer"),
        ("spiffe://example.org/human/ben", f"{desk.provider.issuer}#ben"),
    ]
    assert desk.kept(client(desk.address, "agent")).check(tokens, paying(tokens)).effect is Effect.ALLOW


def test_a_stolen_token_approves_nothing(desk: Desk) -> None:
    _, asked = desk.waits()
    thief = desk.person("ben", groups="payments-approvers")
    with pytest.raises(ApprovalError):  # the agent that asks has a key, and it is no human's
        thief.approvals.resolve(word(asked, ALICE, HOME, "approve", now=time.time()), ALICE.key)
    with pytest.raises(ApprovalError):  # nor does a word count that somebody else signed
        thief.approvals.resolve(word(asked, ALICE, HOME, "approve", now=time.time()), BEN.key)
    assert desk.said() == []
    assert thief.approvals.approve(asked, BEN, HOME).state == "pending"  # it takes Ben's own key


def test_a_person_whose_key_is_configured_hands_in_no_other_word(desk: Desk) -> None:
    _, asked = desk.waits()
    ann = desk.person("ann")
    with pytest.raises(ForbiddenError):
        ann.approvals.approve(asked, BEN, HOME)
    assert ann.approvals.approve(asked, ANN, HOME).state == "pending"


def test_who_is_in_no_group_or_only_has_the_keys_is_nobody(desk: Desk) -> None:
    _, asked = desk.waits()
    for stranger in (desk.person("ben"), desk.person("ben", groups=["payments"]), desk.person("ben", azp="x", aud="y")):
        with pytest.raises(UnauthenticatedError):
            stranger.approvals.approve(asked, BEN, HOME)
    assert desk.person("ben", groups="payments-approvers").approvals.approve(asked, BEN, HOME).state == "pending"
