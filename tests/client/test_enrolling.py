"""An agent enrols a worker through the service: with the worker's own agreement, and only with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chain import enrolment
from chain.client.aio import AsyncClient
from chain.client.sync import Client
from chain.errors import ChainError
from chain.key import KeySigner
from chain.principal import Principal
from chain.reason import Reason
from chain.service.server import ChainServer
from chain.view import Revoked
from chain.wire import convert
from tests.client.running import running, secret
from tests.support import ALICE, BOB, HOME, MALLORY

WORKER = Principal(id="spiffe://example.org/0/w", owner="team", under=ALICE.key.thumbprint)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ChainServer]:
    with running(tmp_path) as started:
        yield started


def agreed(by: KeySigner) -> str:
    now = int(time.time())
    return enrolment.make(by, WORKER.id, ALICE.key.thumbprint, audience=HOME, jti=f"j{now}", iat=now)


def test_a_worker_agrees_through_the_service(server: ChainServer) -> None:
    with Client(server.address, secret("agent"), timeout=20) as client:
        for text, reason in ((None, Reason.PROOF_MISSING), (agreed(BOB), Reason.HOLDER_MISMATCH)):
            with pytest.raises(ChainError) as raised:
                client.enrol(MALLORY.key, WORKER, proof=text)
            assert raised.value.reason is reason
        assert client.enrol(MALLORY.key, WORKER, proof=agreed(MALLORY)).principal == WORKER.id


async def test_a_worker_agrees_through_the_asynchronous_client(server: ChainServer) -> None:
    async with AsyncClient(server.address, secret("agent"), timeout=20) as client:
        with pytest.raises(ChainError):
            await client.enrol(MALLORY.key, WORKER)
        told = await client.enrol(MALLORY.key, WORKER, proof=agreed(MALLORY))
    assert told.holder == MALLORY.key.thumbprint


def test_a_count_that_was_cut_off_says_so() -> None:
    for told in (Revoked(("A" * 43,), 10_001, 5, at_least=True), Revoked(("A" * 43,), 1, 5)):
        assert convert.revoked_from(convert.revoked_to(told, 5)) == told
