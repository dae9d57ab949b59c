"""The life of issuer keys: the table, the directory, and the server that begins with a ring."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import get_args

import pytest
from click.testing import CliRunner, Result

from chain.cli import main
from chain.cli.composition import authority
from chain.errors import ConfigurationError, KeyRingError, NotFoundError
from chain.identity import keyfile, keyring, sealed
from chain.identity.sealed import MIN_MEMORY, MIN_OPS, Cost
from chain.keyring import FOLLOWS, PUBLISHED, SIGNS, VERIFIES, Held, Ring, State
from chain.service.safety import require_safe
from chain.service.settings import ServeSettings
from chain.state import MAX_LIFETIME

SECRET = b"correct horse battery"
KEYS = [keyfile.generate().signer().key for _ in range(3)]
STATES: tuple[State, ...] = get_args(State)
NAMES = [key.thumbprint for key in KEYS]
NOW = 1_800_000_000


def chain(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def add(folder: Path) -> str:
    made = sealed.seal(keyfile.generate(), SECRET, Cost(MIN_OPS, MIN_MEMORY))
    return keyring.add(folder, made, int(time.time())).thumbprint


def signing(folder: Path) -> str | None:
    """Which key a server would sign with, opened as it opens it."""
    held = keyring.Directory(folder, lambda: SECRET)
    name = held.load().signing
    found = None if name is None else held.signer(name)
    held.close()
    return None if found is None else found.key.thumbprint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    keyring.create(tmp_path / "ring")
    (tmp_path / "secret").touch(mode=0o600)
    (tmp_path / "secret").write_bytes(SECRET)
    return tmp_path / "ring"


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("to", STATES)
def test_only_what_the_table_allows_follows(state: State, to: State) -> None:
    ring = Ring([Held(KEYS[0].jwk, state, NOW)])
    if to in FOLLOWS[state]:
        assert ring.become(NAMES[0], to, NOW + 1).held[NAMES[0]].state == to
    else:
        with pytest.raises(KeyRingError, match=f"is {state} cannot become {to}"):
            ring.become(NAMES[0], to, NOW + 1)


def test_the_page_shows_the_table() -> None:
    page = (Path(__file__).parents[2] / "docs/keys.md").read_text()
    assert set(FOLLOWS) == set(STATES)
    for state in STATES:
        cells = [state, *("yes" if state in each else "" for each in (SIGNS, VERIFIES, PUBLISHED))]
        row = " | ".join([*cells, ", ".join(sorted(FOLLOWS[state]))])
        assert " ".join(f"| {row} |".split()) in [" ".join(line.split()) for line in page.splitlines()]


def test_one_key_signs_and_the_one_before_it_verifies_until_its_roots_have_ended() -> None:
    ring = Ring().add(KEYS[0], NOW).add(KEYS[1], NOW)
    assert (ring.signing, ring.verifying) == (None, [])
    ring = ring.become(NAMES[0], "active", NOW)
    assert (ring.signing, ring.verifying) == (NAMES[0], [KEYS[0]])
    ring = ring.become(NAMES[1], "active", NOW + 5)
    assert (ring.signing, ring.verifying) == (NAMES[1], KEYS[:2])
    with pytest.raises(KeyRingError, match="may live for another 1 s"):
        ring.become(NAMES[0], "retired", NOW + 4 + MAX_LIFETIME)
    ring = ring.become(NAMES[0], "retired", NOW + 5 + MAX_LIFETIME)
    assert ring.verifying == [KEYS[1]]
    ring = ring.become(NAMES[1], "compromised", NOW)
    assert (ring.signing, ring.verifying) == (None, [])


def test_a_ring_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="two keys of the ring sign"):
        Ring(Held(key.jwk, "active", NOW) for key in KEYS[:2])
    with pytest.raises(ValueError, match="stands twice"):
        Ring().add(KEYS[0], NOW).add(KEYS[0], NOW)
    with pytest.raises(NotFoundError, match="no such key"):
        Ring().become(NAMES[0], "active", NOW)


def test_the_key_set_holds_the_public_halves_of_what_is_published() -> None:
    for state in STATES:
        published = Ring([Held(KEYS[0].jwk, state, NOW)]).jwks()["keys"]
        assert [key["kid"] for key in published] == ([NAMES[0]] if state in PUBLISHED else [])
        for key in published:
            assert key.keys() == {"kty", "crv", "x", "kid", "alg", "use"}
            assert (key["alg"], key["use"]) == ("EdDSA", "sig")


def test_the_directory_keeps_what_the_commands_did(folder: Path) -> None:
    first, second = add(folder), add(folder)
    for name in (first, second):
        assert chain("keys", "ring", "activate", folder, "--thumbprint", name).exit_code == 0
    told = json.loads(chain("keys", "ring", "list", folder, "--json").stdout)["keys"]
    assert {key["thumbprint"]: key["state"] for key in told} == {first: "retiring", second: "active"}
    early = chain("keys", "ring", "retire", folder, "--thumbprint", first)
    assert (early.exit_code, "may live for another" in early.stderr) == (2, True)
    assert signing(folder) == second
    assert chain("keys", "ring", "compromise", folder, "--thumbprint", second).exit_code == 0
    assert signing(folder) is None
    published = json.loads(chain("keys", "ring", "jwks", folder).stdout)["keys"]
    assert [key["kid"] for key in published] == [first]
    assert {path.name for path in folder.iterdir()} == {"ring.json", f"{first}.key", f"{second}.key"}


def test_what_others_may_enter_or_has_another_form_is_no_ring(folder: Path) -> None:
    name = add(folder)
    index = (folder / "ring.json").read_bytes()
    for wrong in (b"", b"{}", index[:-3], index.replace(b'"ring":1', b'"ring":2'), index.replace(b"pending", b"lost")):
        (folder / "ring.json").write_bytes(wrong)
        with pytest.raises(ConfigurationError, match="key ring"):
            keyring.load(folder)
    (folder / "ring.json").write_bytes(index)
    assert list(keyring.load(folder).held) == [name]
    folder.chmod(0o750)
    with pytest.raises(ConfigurationError, match="make it 0700"):
        keyring.load(folder)


def settings(folder: Path, **changes: object) -> ServeSettings:
    callers = [{"name": "desk", "roles": ["issuer"], "credentials": ["0" * 64]}]
    told = {"key_ring": folder, "passphrase_file": folder.parent / "secret", "issuer": "https://i.example"} | changes
    return ServeSettings(ledger="memory", audience="https://chain.example", policy="none", callers=callers, **told)


def test_a_server_signs_with_the_active_key_and_trusts_the_retiring_one(folder: Path) -> None:
    first, second, third = add(folder), add(folder), add(folder)
    for name in (first, second):
        keyring.change(folder, lambda ring, name=name: ring.become(name, "active", NOW))
    require_safe(settings(folder))  # the server asks again, of what it was told: the ring stands for an anchor
    with_ring = authority(settings(folder))
    held = keyring.load(folder).held
    verifier = with_ring.verifier
    assert [verifier.trusts(held[name].key, "https://i.example") for name in (first, second, third)] == [
        True,
        True,
        False,
    ]
    assert not verifier.trusts(held[second].key, "https://other.example")
    with_ring.close()


def test_a_server_does_not_trust_beside_its_ring_what_the_ring_distrusts(folder: Path) -> None:
    first, second = add(folder), add(folder)
    keyring.change(folder, lambda ring: ring.become(first, "active", NOW).become(second, "compromised", NOW))
    distrusted = [{"jwk": json.loads(keyring.load(folder).held[second].key.to_json()), "iss": "https://i.example"}]
    running = authority(settings(folder, anchors=distrusted))
    verifier, held = running.verifier, keyring.load(folder).held
    assert [verifier.trusts(held[name].key, "https://i.example") for name in (first, second)] == [True, False]
    assert running.keys.found == (f"anchor `{second}`: not trusted, since in the ring it is compromised",)
    running.close()
    again = authority(settings(folder))
    assert again.keys.found == ()
    again.close()


def test_what_is_published_is_what_the_server_holds(folder: Path) -> None:
    first, second = add(folder), add(folder)
    keyring.change(folder, lambda ring: ring.become(first, "active", NOW))
    with_ring = authority(settings(folder))
    assert [key["kid"] for key in with_ring.keys.jwks()["keys"]] == [first, second]
    with_ring.close()
    keyfile.save(folder.parent / "k", keyfile.generate())
    one = json.loads(chain("keys", "show", folder.parent / "k", "--json").stdout)["jwk"]
    anchors = [{"jwk": one, "iss": "https://i.example"}]
    single = settings(folder, key_ring=None, passphrase_file=None, issuer_key=folder.parent / "k", anchors=anchors)
    with_key = authority(single)
    assert [key["x"] for key in with_key.keys.jwks()["keys"]] == [one["x"]]
    with_key.close()
    without = authority(single.model_copy(update={"issuer": None, "issuer_key": None}))
    assert without.keys.jwks() == {"keys": []}
    without.close()


def test_a_ring_has_one_server_and_no_other_owner_meanwhile(folder: Path) -> None:
    name = add(folder)
    keyring.change(folder, lambda ring: ring.become(name, "active", NOW))
    running = authority(settings(folder))
    for verb in ("add", "retire", "compromise"):
        what = ["--passphrase-file", folder.parent / "secret"] if verb == "add" else ["--thumbprint", name]
        refused = chain("keys", "ring", verb, folder, *what)
        assert (refused.exit_code, "another process has it" in refused.stderr) == (2, True)
    with pytest.raises(ConfigurationError, match="another process has it"):
        authority(settings(folder))
    assert chain("keys", "ring", "list", folder).exit_code == 0  # to look is free
    running.close()
    assert chain("keys", "ring", "compromise", folder, "--thumbprint", name).exit_code == 0


def test_a_directory_put_in_the_place_of_the_servers_own_is_not_taken_for_it(folder: Path) -> None:
    name = add(folder)
    held = keyring.Directory(folder, lambda: SECRET, Cost(MIN_OPS, MIN_MEMORY))
    ring = held.load()
    folder.rename(folder.parent / "aside")
    keyring.create(folder)
    for use in (held.load, lambda: held.save(ring), lambda: held.make("EdDSA"), lambda: held.signer(name)):
        with pytest.raises(ConfigurationError, match="not the directory that the server took"):
            use()
    assert list(folder.iterdir()) == []
    folder.rmdir()
    (folder.parent / "aside").rename(folder)
    held.save(ring.become(name, "active", NOW))
    assert held.signer(name) is not None
    held.close()
    held.close()
    with pytest.raises(ConfigurationError, match="not the directory"):
        held.save(ring)
    assert keyring.load(folder).signing == name


def test_a_key_is_held_in_one_way(folder: Path) -> None:
    name = add(folder)
    keyring.change(folder, lambda ring: ring.become(name, "active", NOW))
    keyfile.save(folder.parent / "k", keyfile.generate())
    with pytest.raises(ConfigurationError, match="2 ways to hold"):
        authority(settings(folder, issuer_key=folder.parent / "k"))
    with pytest.raises(ConfigurationError, match="go together"):
        authority(settings(folder, issuer=None, anchors=[{"jwk": json.loads(KEYS[0].to_json()), "iss": "x:y"}]))
