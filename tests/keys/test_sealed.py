"""Sealed keys: what opens, what does not, and that a file can neither weaken its seal nor cost too much."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from chain.cli import main
from chain.errors import ConfigurationError
from chain.identity import keyfile, passphrase, sealed
from chain.identity.sealed import MAX_MEMORY, MAX_OPS, MIN_MEMORY, MIN_OPS, Cost

SECRET = b"correct horse battery"
CHEAP = Cost(MIN_OPS, MIN_MEMORY)
"""Each guess in this file costs the least that is accepted: the suite must stay fast."""

KEYS = {alg: keyfile.generate(alg) for alg in ("EdDSA", "ES256")}
MADE = sealed.seal(KEYS["EdDSA"], SECRET, CHEAP)


def chain(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_bytes(SECRET + b"\n")
    (tmp_path / "secret").chmod(0o600)
    return tmp_path


@pytest.mark.parametrize("alg", KEYS)
def test_what_is_sealed_opens_and_signs(alg: str, tmp_path: Path) -> None:
    private = KEYS[alg]
    sealed.save(tmp_path / "k", sealed.seal(private, SECRET, CHEAP))
    signer = sealed.load(tmp_path / "k", lambda: SECRET)
    assert signer.key == private.signer().key
    assert signer.key.verify(signer.sign(b"data"), b"data")
    assert stat.S_IMODE((tmp_path / "k").stat().st_mode) == 0o600
    assert private.d.encode() not in (tmp_path / "k").read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["k"]


def test_a_plain_key_needs_no_passphrase(tmp_path: Path) -> None:
    keyfile.save(tmp_path / "k", KEYS["EdDSA"])
    assert sealed.load(tmp_path / "k", lambda: pytest.fail("asked")).key == KEYS["EdDSA"].signer().key


def test_two_seals_share_nothing() -> None:
    again = sealed.seal(KEYS["EdDSA"], SECRET, CHEAP)
    assert {again.salt, again.nonce, again.box}.isdisjoint({MADE.salt, MADE.nonce, MADE.box})


def test_the_default_cost_is_libsodiums_moderate() -> None:
    assert Cost() == Cost(3, 256 << 20)


@pytest.mark.parametrize("wrong", [SECRET + b" ", SECRET[:-1], b"", SECRET.upper()])
def test_another_passphrase_does_not_open(wrong: bytes) -> None:
    with pytest.raises(ValueError, match="wrong passphrase, or the file was changed"):
        sealed.unseal(MADE.to_json(), wrong)


def test_no_changed_byte_opens() -> None:
    data = MADE.to_json()
    assert sealed.unseal(data, SECRET).key == KEYS["EdDSA"].signer().key
    for place in range(0, len(data), 3):  # each is one guess at the floor's cost
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(ValueError):  # noqa: PT011 - which of the three sentences depends on the byte
            sealed.unseal(bytes(changed), SECRET)


@pytest.mark.parametrize("spelled", [b" %b", b"%b\n", b"%b "])
def test_a_second_spelling_is_refused(spelled: bytes) -> None:
    with pytest.raises(ValueError, match="one spelling"):
        sealed.unseal(spelled % MADE.to_json(), SECRET)


@pytest.mark.parametrize(
    "cost",
    [
        Cost(MIN_OPS - 1, MIN_MEMORY),
        Cost(MIN_OPS, MIN_MEMORY - 1),
        Cost(MAX_OPS + 1, MIN_MEMORY),
        Cost(MIN_OPS, MAX_MEMORY + 1),
        Cost(2**40, 2**40),
        Cost(-1, -1),
    ],
)
def test_a_cost_out_of_bounds_is_refused_before_it_is_paid(cost: Cost) -> None:
    told = msgspec.structs.replace(MADE, ops=cost.ops, memory=cost.memory)
    with pytest.raises(ValueError, match="cost of its seal"):
        sealed.unseal(told.to_json(), SECRET)
    with pytest.raises(ConfigurationError, match="cost of its seal"):
        sealed.seal(KEYS["EdDSA"], SECRET, cost)


@pytest.mark.parametrize(
    "told",
    [{"nonce": "AAAA"}, {"box": ""}, {"box": "AAAA"}, {"jwk": KEYS["ES256"].signer().key.jwk}],
    ids=lambda told: next(iter(told)),
)
def test_a_changed_member_does_not_open(told: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="wrong passphrase, or the file was changed"):
        sealed.unseal(msgspec.structs.replace(MADE, **told).to_json(), SECRET)


@pytest.mark.parametrize("told", [{"salt": "AAAA"}, {"sealed": 2}, {"kdf": "scrypt"}, {"aead": "none"}, {"more": 1}])
def test_another_form_is_refused(told: dict[str, object]) -> None:
    data = json.dumps(json.loads(MADE.to_json()) | told, separators=(",", ":")).encode() + b"\n"
    with pytest.raises(ValueError, match="not a sealed key"):
        sealed.unseal(data, SECRET)


def test_never_over_another_file(tmp_path: Path) -> None:
    (tmp_path / "k").write_bytes(b"mine")
    with pytest.raises(ConfigurationError, match="File exists"):
        sealed.save(tmp_path / "k", MADE)
    assert (tmp_path / "k").read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["k"]


def test_a_short_passphrase_does_not_seal() -> None:
    with pytest.raises(ConfigurationError, match="at least 12 bytes"):
        sealed.seal(KEYS["EdDSA"], SECRET[:11], CHEAP)


def test_others_may_not_read_it(tmp_path: Path) -> None:
    sealed.save(tmp_path / "k", MADE)
    (tmp_path / "k").chmod(0o640)
    with pytest.raises(ConfigurationError, match="others may use it"):
        sealed.load(tmp_path / "k", lambda: SECRET)


def test_the_given_file_comes_before_the_named_one_and_systemd(folder: Path) -> None:
    for name, told in (("named", b"named"), (passphrase.CREDENTIAL, b"systemd")):
        (folder / name).write_bytes(told)
        (folder / name).chmod(0o600)
    (folder / passphrase.CREDENTIAL).chmod(0o440)  # as systemd's ACL shows
    systemd = {"CREDENTIALS_DIRECTORY": str(folder)}
    named = systemd | {passphrase.VARIABLE: str(folder / "named")}
    assert passphrase.find(folder / "secret", named) == SECRET
    assert passphrase.find(None, named) == b"named"
    assert passphrase.find(None, systemd) == b"systemd"
    assert passphrase.find(None, {}) is None
    assert passphrase.find(None, {"CREDENTIALS_DIRECTORY": str(folder / "none")}) is None
    with pytest.raises(ConfigurationError, match="needs its passphrase"):
        passphrase.need(None, {})


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [(SECRET, 0o640, "others may use it"), (b"\n", 0o600, "not one line"), (b"a\nb\n", 0o600, "not one line")],
)
def test_a_passphrase_file_that_is_refused(tmp_path: Path, content: bytes, mode: int, why: str) -> None:
    (tmp_path / "p").write_bytes(content)
    (tmp_path / "p").chmod(mode)
    with pytest.raises(ConfigurationError, match=why):
        passphrase.read(tmp_path / "p")


def test_the_commands_seal_show_and_issue(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "Cost", lambda *given: CHEAP if not given else Cost(*given))
    told = ("--passphrase-file", folder / "secret", "--json")
    made = json.loads(chain("keys", "new", folder / "new.key", *told).stdout)
    assert json.loads(chain("keys", "show", folder / "new.key", *told).stdout) == made
    keyfile.save(folder / "plain.key", KEYS["EdDSA"])
    thumbprint = KEYS["EdDSA"].signer().key.thumbprint
    assert (
        json.loads(chain("keys", "seal", folder / "plain.key", folder / "k", *told).stdout)["thumbprint"] == thumbprint
    )
    (folder / "agent.jwk").write_text(KEYS["ES256"].signer().key.to_json())
    issuing = ("issue", "--to", folder / "agent.jwk", "--key", folder / "k", "--issuer", "https://i.example")
    issuing = (*issuing, "--grant", '{"tools":{"mail.read":{}}}')
    refused = chain(*issuing)
    assert (refused.exit_code, "needs its passphrase" in refused.stderr) == (2, True)
    done = chain(*issuing, "--passphrase-file", folder / "secret")
    assert done.exit_code == 0, done.stderr
    (folder / "wrong").write_bytes(SECRET + b"!")
    (folder / "wrong").chmod(0o600)
    wrong = chain(*issuing, "--passphrase-file", folder / "wrong")
    assert (wrong.exit_code, wrong.stderr.count("\n")) == (2, 1)
    assert "wrong passphrase, or the file was changed" in wrong.stderr
