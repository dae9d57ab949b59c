"""What commands read: each refusal beside what is taken."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from chain.cli import output, source
from chain.errors import ConfigurationError, InvalidRequestError
from chain.identity import keyfile
from chain.key import KeySigner


def file(folder: Path, content: str | bytes, mode: int = 0o600) -> str:
    path = folder / "file"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(mode)
    return str(path)


def test_text_is_bounded_and_utf_8(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert source.text(file(tmp_path, "é")) == "é"
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        source.text(file(tmp_path, b"\xff"))
    monkeypatch.setattr(source, "MAX_INPUT", 3)
    assert source.text(file(tmp_path, "abc")) == "abc"
    with pytest.raises(ConfigurationError, match="more than 3 bytes"):
        source.text(file(tmp_path, "abcd"))


@pytest.mark.parametrize("content", ["", " \n", '{"tokens":[]}', '{"tokens":"x"}', '{"tokens":[1]}', "{}"])
def test_a_file_without_tokens_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(ConfigurationError, match="no tokens"):
        source.tokens(file(tmp_path, content))
    assert source.tokens(file(tmp_path, "a\nb\n")) == ["a", "b"]
    assert source.tokens(file(tmp_path, '{"tokens":["a","b"]}')) == ["a", "b"]


def test_json_is_one_strict_object(tmp_path: Path) -> None:
    assert source.json('{"a":1}', "x") == source.json(file(tmp_path, ' {"a": 1}'), "x") == {"a": 1}
    for bad in ("[1]", "1", '{"a":1,"a":1}', "{"):
        with pytest.raises(InvalidRequestError, match=r"^x: "):
            source.json(file(tmp_path, bad), "x")


def test_a_public_key_is_a_jwk_an_anchor_or_ones_own_file(tmp_path: Path) -> None:
    private = keyfile.generate()
    key = private.signer().key
    keyfile.save(tmp_path / "own.key", private)
    assert source.public_key(str(tmp_path / "own.key")) == key
    assert source.public_key(file(tmp_path, key.to_json())) == key
    assert source.public_key(file(tmp_path, json.dumps({"jwk": json.loads(key.to_json())}))) == key
    for bad in ("[]", "1", "{}", '{"jwk":1}', '{"kty":"RSA"}'):
        with pytest.raises(ConfigurationError):
            source.public_key(file(tmp_path, bad))
    (tmp_path / "own.key").chmod(0o644)
    with pytest.raises(ConfigurationError, match="others may use it"):
        source.public_key(str(tmp_path / "own.key"))


def test_a_private_key_on_stdin_is_no_public_key(monkeypatch: pytest.MonkeyPatch) -> None:
    signer = KeySigner.from_seed(b"s" * 32)
    held = json.loads(signer.key.to_json())
    for text, good in ((json.dumps(held), True), (json.dumps(held | {"d": "A" * 43}), False)):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        if good:
            assert source.public_key("-") == signer.key
        else:
            with pytest.raises(ConfigurationError, match="private"):
                source.public_key("-")


@pytest.mark.parametrize("content", ["", "\n", "two words", "tab\tbed", "é" * 40])
def test_a_secret_is_one_printable_word(tmp_path: Path, content: str) -> None:
    with pytest.raises(ConfigurationError, match="holds no secret"):
        source.secret(file(tmp_path, content))
    assert source.secret(file(tmp_path, "s" * 40 + "\n")) == "s" * 40


def test_a_secret_is_its_owners_alone(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="make it 0600"):
        source.secret(file(tmp_path, "s" * 40, 0o640))
    with pytest.raises(ConfigurationError):
        source.secret(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3661, "1 h 1 min"), (90061, "1 d 1 h"), (-5, "5 s")]
)
def test_spans_have_two_units(seconds: int, text: str) -> None:
    assert output.span(seconds) == text


def test_an_instant_beyond_the_calendar_stays_a_number() -> None:
    assert output.moment(0) == "1970-01-01 00:00:00Z"
    assert output.moment(2**53) == f"{2**53} s after 1970"
