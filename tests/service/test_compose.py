"""What is written in the configuration becomes anchors, callers, tools and enrolled agents, or is refused."""

import json
from pathlib import Path

import pytest

from chain.caller import Role
from chain.errors import ConfigurationError
from chain.service.compose import bearers, compose, socketed
from chain.service.settings import ServeSettings
from chain.store.memory import MemoryStore

from .conftest import ISSUER, KEYS, PEP, configuration, fingerprint, jwk


def test_keys_may_stand_in_files(directory: Path) -> None:
    file = directory / "issuer.pub.jwk"
    file.write_text(json.dumps(jwk(KEYS["issuer"])))
    settings = ServeSettings(**configuration(directory, anchors=[{"jwk_file": file, "iss": ISSUER}]))
    authority = compose(settings, MemoryStore(), signer=KEYS["issuer"])
    assert [anchor.key for anchor in authority.verifier.anchors] == [KEYS["issuer"].key]
    file.unlink()
    with pytest.raises(ConfigurationError, match="No such file"):
        compose(settings, MemoryStore(), signer=KEYS["issuer"])


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("tools.toml", '[tools]\n"mail.read" = "read"', '[tools]\n"mail.read" = "destroy"'),
        ("tools.toml", '"mail.read" = { class = "read" }', '"mail.read" = '),
        ("tools.json", '{"mail.read": "read"}', '{"mail.read": "read", "mail.read": "act"}'),
        ("tools.json", '{"mail.read": {"class": "read"}}', '{"mail.read": {"klass": "read"}}'),
    ],
)
def test_a_catalogue_is_read_strictly(directory: Path, name: str, good: str, bad: str) -> None:
    file = directory / name
    settings = ServeSettings(**configuration(directory, catalogue=file))
    file.write_text(good)
    compose(settings, MemoryStore(), signer=KEYS["issuer"])
    file.write_text(bad)
    with pytest.raises(ConfigurationError, match="catalogue"):
        compose(settings, MemoryStore(), signer=KEYS["issuer"])


def test_agents_are_enrolled_once_and_strictly(directory: Path) -> None:
    store = MemoryStore()
    settings = ServeSettings(**configuration(directory))
    authority = compose(settings, store, signer=KEYS["issuer"])
    known = authority.principal(KEYS["alice"].key.thumbprint)
    assert known is not None
    assert known.id == "spiffe://team.example/alice"
    compose(settings, store, signer=KEYS["issuer"])
    assert len(store.records(kind="enrolled")) == 2
    bad = [{"jwk": jwk(KEYS["bob"]), "id": "bob", "owner": "team"}]
    with pytest.raises(ConfigurationError, match="agent `bob`"):
        compose(ServeSettings(**configuration(directory, agents=bad)), MemoryStore(), signer=KEYS["issuer"])


def test_an_agent_may_name_the_day_of_its_review(directory: Path) -> None:
    bob = {"jwk": jwk(KEYS["bob"]), "id": "spiffe://team.example/bob", "owner": "team"}
    store = MemoryStore()
    for day in ("2027-06-30", "2027-06-30", "2027-12-31"):  # another day is another enrolment, the same one is not
        settings = ServeSettings(**configuration(directory, agents=[bob | {"review": day}]))
        known = compose(settings, store, signer=KEYS["issuer"]).principal(KEYS["bob"].key.thumbprint)
        assert known is not None
        assert known.review == day
    assert len(store.records(kind="enrolled")) == 2
    settings = ServeSettings(**configuration(directory, agents=[bob | {"review": "soon"}]))
    with pytest.raises(ConfigurationError, match="a review is on a day"):
        compose(settings, MemoryStore(), signer=KEYS["issuer"])


def test_only_a_socket_proves_and_only_an_agent_on_it(directory: Path) -> None:
    settings = ServeSettings(**configuration(directory))
    custody = compose(settings, MemoryStore(), signer=KEYS["issuer"]).custody
    by_secret = {known.digest.hex(): known.identity.caller for known in bearers(settings)}
    alice = by_secret[fingerprint("alice")]
    assert (alice.name, alice.roles, alice.audience, alice.channel) == ("alice", {Role.AGENT}, PEP, False)
    assert alice.proven_holder is None
    on_sockets = {identity.caller.name: identity.caller for identity in socketed(settings, custody)}
    assert on_sockets["alice"].proven_holder == KEYS["alice"].key.thumbprint
    assert on_sockets["point"].proven_holder is None
