from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from chain.base64url import b64encode
from chain.errors import ConfigurationError
from chain.identity import keyfile
from chain.key import Algorithm


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def written(folder: Path, value: object, mode: int = 0o600) -> Path:
    path = folder / "a.key"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    path.chmod(mode)
    return path


def private(algorithm: Algorithm = "EdDSA") -> dict[str, Any]:
    made = keyfile.generate(algorithm)
    held = {"kty": made.kty, "crv": made.crv, "x": made.x, "d": made.d}
    return held | ({"y": made.y} if algorithm == "ES256" else {})


@pytest.mark.parametrize("algorithm", ["EdDSA", "ES256"])
def test_a_saved_key_is_the_key_that_is_loaded(folder: Path, algorithm: Algorithm) -> None:
    made = keyfile.generate(algorithm)
    keyfile.save(folder / "a.key", made)
    signer = keyfile.load(folder / "a.key")
    assert signer.key == made.signer().key
    assert signer.key.alg == algorithm
    assert signer.key.verify(signer.sign(b"data"), b"data")


def test_a_file_is_its_owners_alone_whatever_the_umask(folder: Path) -> None:
    before = os.umask(0o277)
    try:
        keyfile.save(folder / "a.key", keyfile.generate())
    finally:
        os.umask(before)
    assert stat.S_IMODE((folder / "a.key").stat().st_mode) == 0o600


def test_no_file_is_written_over(folder: Path) -> None:
    keyfile.save(folder / "a.key", keyfile.generate())
    before = (folder / "a.key").read_bytes()
    with pytest.raises(ConfigurationError, match="exists"):
        keyfile.save(folder / "a.key", keyfile.generate())
    assert (folder / "a.key").read_bytes() == before


def test_a_key_that_could_not_be_made_durable_leaves_no_file_in_the_way(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_handle: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        with pytest.raises(ConfigurationError, match="Input/output error"):
            keyfile.save(folder / "a.key", keyfile.generate())
    assert list(folder.iterdir()) == []
    keyfile.save(folder / "a.key", keyfile.generate())
    keyfile.load(folder / "a.key")


def test_no_link_is_followed_when_a_key_is_written(folder: Path) -> None:
    (folder / "a.key").symlink_to(folder / "elsewhere")
    with pytest.raises(ConfigurationError):
        keyfile.save(folder / "a.key", keyfile.generate())
    assert not (folder / "elsewhere").exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602, 0o610, 0o644])
def test_a_file_that_others_may_use_is_refused_and_the_same_at_0600_is_loaded(folder: Path, mode: int) -> None:
    path = written(folder, private(), mode)
    with pytest.raises(ConfigurationError, match="others may use it"):
        keyfile.load(path)
    path.chmod(0o600)
    keyfile.load(path)


def test_the_text_of_a_key_never_shows_its_secret() -> None:
    made = keyfile.generate()
    assert made.d not in repr(made)
    assert made.d not in repr(made.signer())


def test_es256_draws_again_where_the_number_is_no_key() -> None:
    drawn = iter([b"\0" * 32, b"\xff" * 32, b"\1" * 32])
    made = keyfile.generate("ES256", lambda _: next(drawn))
    assert made.d == b64encode(b"\1" * 32)
    assert next(drawn, None) is None


BAD: dict[str, object] = {
    "not JSON": "{",
    "empty": "",
    "a list": [],
    "public only": {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43},
    "RSA": {"kty": "RSA", "n": "AQAB", "e": "AQAB", "d": "AQAB"},
    "unknown member": private() | {"extra": 1},
    "another key's x": private() | {"x": private()["x"]},
    "another key's y": private("ES256") | {"y": private("ES256")["y"]},
    "short d": private() | {"d": "AAAA"},
    "d that is not canonical": private() | {"d": "A" * 43 + "="},
    "wrong curve": private() | {"crv": "P-256"},
    "d twice": json.dumps(private())[:-1] + ',"d":"AAAA"}',
    "zero for P-256": private("ES256") | {"d": "A" * 43},
    "too large": private() | {"kid": "k" * keyfile.MAX_FILE},
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_private_key_is_refused_without_showing_it(folder: Path, name: str) -> None:
    path = written(folder, BAD[name])
    with pytest.raises(ConfigurationError) as caught:
        keyfile.load(path)
    value = BAD[name]
    if isinstance(value, dict) and len(value.get("d", "")) > 8:
        assert value["d"] not in str(caught.value)


def test_what_is_no_file_is_refused_at_once(folder: Path) -> None:
    os.mkfifo(folder / "pipe", 0o600)
    for path in (folder / "none", folder, folder / "pipe"):
        with pytest.raises(ConfigurationError):
            keyfile.load(path)
