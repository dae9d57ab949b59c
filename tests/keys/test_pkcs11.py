"""An issuer's key in a token: what is accepted, what is refused, and what becomes of a token that goes away."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

pkcs11 = pytest.importorskip("pkcs11", reason="the extra `pkcs11` is not installed")

from pkcs11 import Attribute, KeyType, ObjectClass, TokenFlag  # noqa: E402 - only where it is installed

from chain.errors import ConfigurationError, SignerError  # noqa: E402
from chain.identity.pkcs11 import PinError, Pkcs11Signer, Place, _login, _module, generate  # noqa: E402
from chain.key import Algorithm, KeySigner, Signer  # noqa: E402
from chain.reason import Reason  # noqa: E402
from tests.keys.conftest import PIN  # noqa: E402

if TYPE_CHECKING:
    from tests.keys.softhsm import SoftToken

P384 = bytes.fromhex("06052b81040022")


@pytest.fixture(scope="module")
def good(token: SoftToken) -> Place:
    """A key as it should be."""
    return token.put("good", 1)


@pytest.fixture
def signer(good: Place) -> Iterator[Pkcs11Signer]:
    held = Pkcs11Signer(good)
    yield held
    held.close()


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_what_is_made_in_a_token_signs_and_does_not_leave_it(token: SoftToken, algorithm: Algorithm) -> None:
    place = token.at(f"made {algorithm}", key_id=algorithm.encode())
    key = generate(place, algorithm)
    for named in (place, replace(place, label=None), replace(place, key_id=None)):
        held: Signer = Pkcs11Signer(named)
        assert (held.key, held.key.alg) == (key, algorithm)
        assert key.verify(held.sign(b"data"), b"data")
        assert not key.verify(held.sign(b"data"), b"other")
        held.close()
    with token.session() as session:
        private = session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=place.label)
        assert private[Attribute.NEVER_EXTRACTABLE]
        with pytest.raises(pkcs11.AttributeSensitive):
            private[Attribute.VALUE]
    with pytest.raises(ConfigurationError, match="is there already"):
        generate(place, algorithm)
    with pytest.raises(ConfigurationError, match="needs a label and an id"):
        generate(replace(place, key_id=None), algorithm)


def without_public(token: SoftToken, label: str, number: int) -> Place:
    token.put(label, number)
    with token.session() as session:
        session.get_key(object_class=ObjectClass.PUBLIC_KEY, label=label).destroy()
    return token.at(label)


def another_public(token: SoftToken) -> Place:
    """The public half of another key lies where its own should."""
    place = without_public(token, "swapped", 22)
    token.put("foreign", 21)
    with token.session() as session:
        foreign = session.get_key(object_class=ObjectClass.PUBLIC_KEY, label="foreign")
        session.create_object(
            {
                Attribute.CLASS: ObjectClass.PUBLIC_KEY,
                Attribute.KEY_TYPE: KeyType.EC,
                Attribute.TOKEN: True,
                Attribute.LABEL: "swapped",
                Attribute.ID: bytes([22]),
                Attribute.EC_PARAMS: foreign[Attribute.EC_PARAMS],
                Attribute.EC_POINT: foreign[Attribute.EC_POINT],
            }
        )
    return place


def rsa(token: SoftToken) -> Place:
    with token.session() as session:
        session.generate_keypair(KeyType.RSA, 2048, store=True, label="rsa", id=bytes([23]))
    return token.at("rsa")


def twice(token: SoftToken) -> Place:
    token.put("twice", 24)
    return token.put("twice", 25)


def pin_of(token: SoftToken, content: bytes, mode: int = 0o600) -> Path:
    path = token.folder / f"pin-{content.hex()}-{mode:o}"
    path.write_bytes(content)
    path.chmod(mode)
    return path


KEYS: dict[str, tuple[Callable[[SoftToken], Place], str]] = {
    "extractable": (lambda token: token.put("e", 10, extractable=True), "can be taken out"),
    "not sensitive": (lambda token: token.put("s", 11, sensitive=False), "can be taken out"),
    "neither": (lambda token: token.put("n", 12, extractable=True, sensitive=False), "can be taken out"),
    "may not sign": (lambda token: token.put("d", 13, sign=False), "may not sign"),
    "asks for its PIN": (lambda token: token.put("a", 14, always_authenticate=True), "ALWAYS_AUTHENTICATE"),
    "another curve": (lambda token: token.put("p", 15, P384), "neither a P-256 nor"),
    "RSA": (rsa, "neither a P-256 nor"),
    "no public half": (lambda token: without_public(token, "no public", 20), "no public keys"),
    "another's public half": (another_public, "does not verify"),
    "two of one name": (twice, "2 private keys"),
    "no such key": (lambda token: token.at("absent"), "no private keys"),
    "no such id": (lambda token: token.at("good", key_id=b"\x99"), "no private keys"),
    "no name": (lambda token: token.at(None), "by its label"),
    "no such token": (lambda token: token.at("good", token="absent"), "no tokens labelled"),
    "a relative module": (lambda token: token.at("good", module=Path("libsofthsm2.so")), "absolute path"),
    "no module": (lambda token: token.at("good", module=token.folder / "absent.so"), "cannot be loaded"),
    "no PIN": (lambda token: token.at("good", pin_file=token.folder / "absent"), "PIN file"),
    "an open PIN": (lambda token: token.at("good", pin_file=pin_of(token, PIN.encode(), 0o640)), "make it 0600"),
    "an empty PIN": (lambda token: token.at("good", pin_file=pin_of(token, b"\n")), "not one line with a PIN"),
    "a PIN in no text": (lambda token: token.at("good", pin_file=pin_of(token, b"\xff\xfe1234")), "not UTF-8"),
    "a wrong PIN": (lambda token: token.at("good", pin_file=pin_of(token, b"00000000")), "refused the PIN"),
}


@pytest.mark.parametrize("case", KEYS)
def test_a_key_that_could_leave_or_is_not_the_one_meant_is_refused(token: SoftToken, good: Place, case: str) -> None:
    make, said = KEYS[case]
    with pytest.raises(ConfigurationError, match=said) as refused:
        Pkcs11Signer(make(token))
    assert PIN not in str(refused.value)
    assert refused.value.__cause__ is None
    held = Pkcs11Signer(good)  # the twin: the same token, a key as it should be
    assert held.key.verify(held.sign(b"x"), b"x")
    held.close()


def test_the_public_half_is_taken_in_both_of_its_forms(good: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from chain.identity import pkcs11 as here  # noqa: PLC0415

    held = Pkcs11Signer(good)
    private = {Attribute.ID: b"\x01"}
    edwards = KeySigner.from_seed(bytes(32)).key.raw
    for algorithm, raw, point in (("ES256", held.key.raw, b"\x04" + held.key.raw), ("EdDSA", edwards, edwards)):
        for form in (point, bytes((4, len(point))) + point):
            monkeypatch.setattr(here, "_one", lambda *_, form=form: {Attribute.EC_POINT: form})
            assert here._public(None, private, algorithm, good).raw == raw
        for wrong in (b"", point[:-1], point + b"\0", bytes(len(point)), bytes((4, len(point))) + point + b"\0"):
            monkeypatch.setattr(here, "_one", lambda *_, wrong=wrong: {Attribute.EC_POINT: wrong})
            with pytest.raises(ConfigurationError):
                here._public(None, private, algorithm, good)
    held.close()


def test_a_session_that_was_lost_is_opened_again(signer: Pkcs11Signer, token: SoftToken) -> None:
    signer._session.close()
    assert signer.key.verify(signer.sign(b"1"), b"1")
    _module(token.place).reinitialize()  # as a driver that restarts
    assert signer.key.verify(signer.sign(b"2"), b"2")
    signer.close()
    assert signer.key.verify(signer.sign(b"3"), b"3")


def test_a_token_that_is_gone_signs_nothing_and_signs_again_once_it_is_back(
    signer: Pkcs11Signer, token: SoftToken
) -> None:
    token.gone()
    try:
        for _ in range(2):
            with pytest.raises(SignerError, match="no tokens labelled") as refused:
                signer.sign(b"x")
            assert refused.value.reason is Reason.SIGNER_UNAVAILABLE
    finally:
        token.back()
    assert signer.key.verify(signer.sign(b"x"), b"x")


def test_a_signature_that_does_not_verify_is_never_handed_out(
    signer: Pkcs11Signer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong in (b"", bytes(64), bytes(63), signer.sign(b"another")):
        signer._private = SimpleNamespace(sign=lambda *_, wrong=wrong, **__: wrong)
        assert signer.key.verify(signer.sign(b"x"), b"x")  # a fresh session signs
    monkeypatch.setattr(Pkcs11Signer, "_reopen", lambda _: None)
    signer._private = SimpleNamespace(sign=lambda *_, **__: bytes(64))
    with pytest.raises(SignerError, match="does not verify"):
        signer.sign(b"x")


def test_another_key_in_its_place_is_not_taken_for_it(token: SoftToken) -> None:
    held = Pkcs11Signer(token.put("replaced", 30))
    with token.session() as session:
        for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
            session.get_key(object_class=kind, label="replaced").destroy()
    token.put("replaced", 31)
    with pytest.raises(SignerError, match="another key than at the start"):
        held.sign(b"x")
    fresh = Pkcs11Signer(token.at("replaced"))
    assert fresh.key != held.key
    fresh.close()


def test_a_pin_that_was_refused_is_not_tried_again(token: SoftToken, good: Place) -> None:
    path = pin_of(token, PIN.encode())
    held = Pkcs11Signer(replace(good, pin_file=path))
    held.close()
    path.write_bytes(b"00000000")
    with pytest.raises(SignerError, match="refused the PIN"):
        held.sign(b"x")
    path.write_bytes(PIN.encode())
    with pytest.raises(SignerError, match="not asked again"):
        held.sign(b"x")
    fresh = Pkcs11Signer(replace(good, pin_file=path))
    assert fresh.key == held.key
    fresh.close()


@pytest.mark.parametrize("flag", [TokenFlag.USER_PIN_FINAL_TRY, TokenFlag.USER_PIN_LOCKED])
def test_the_last_try_of_a_token_is_never_spent(token: SoftToken, good: Place, flag: TokenFlag) -> None:
    asked: list[str] = []
    calm = TokenFlag.USER_PIN_COUNT_LOW | TokenFlag.LOGIN_REQUIRED
    fake = SimpleNamespace(flags=calm | flag, open=lambda user_pin, rw: asked.append(user_pin))
    with pytest.raises(PinError, match="log in by hand"):
        _login(fake, good)
    assert asked == []
    fake.flags = calm
    _login(fake, good)
    assert asked == [PIN]


def test_threads_share_a_signer_while_its_sessions_are_lost(signer: Pkcs11Signer, good: Place) -> None:
    other = Pkcs11Signer(good)

    def work(number: int) -> bool:
        data = str(number).encode()
        held = signer if number % 2 else other
        if number % 7 == 0:
            held.close()
        return signer.key.verify(held.sign(data), data)

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(work, range(64)))
    assert (len(done), all(done)) == (64, True)
    other.close()


def test_a_token_that_hangs_keeps_nobody_from_ending(signer: Pkcs11Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chain.identity.pkcs11.PATIENCE", 0.01)
    hangs, goes_on = threading.Event(), threading.Event()
    signed = signer._private.sign

    def sign(*given: object, **how: object) -> object:
        hangs.set()
        assert goes_on.wait(10)
        return signed(*given, **how)

    signer._private = SimpleNamespace(sign=sign)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(signer.sign, b"x")
        assert hangs.wait(10)
        signer.close()
        assert signer._session is not None
        goes_on.set()
        assert signer.key.verify(waiting.result(), b"x")
    signer.close()
    assert signer._session is None


def test_no_pin_stands_in_any_text(signer: Pkcs11Signer, good: Place) -> None:
    held = [repr(signer), repr(good), str(good), *(repr(getattr(signer, name)) for name in signer.__slots__)]
    assert len(held) == 8
    assert PIN not in " ".join(held)
