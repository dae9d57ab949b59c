"""Keys in a directory: made once, durable before they are used, and nothing that was changed or exchanged opens."""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result
from nacl.bindings import crypto_aead_xchacha20poly1305_ietf_encrypt as encrypt

from chain.base64url import b64decode, b64encode
from chain.cli import main
from chain.errors import ConfigurationError, ResourceExhaustedError, StoreError
from chain.identity import custody, custodyfile, keyfile
from chain.identity.custody import DATA_KEY, SUFFIX, CustodyFolder, open_folder, path_of
from chain.identity.sealed import MAX_MEMORY, MIN_MEMORY, MIN_OPS, Cost
from chain.principal import Principal
from chain.privatekey import PrivateJwk
from chain.store.sqlite import SqliteStore
from chain.view import Enrolled
from tests.custody.keeping import ANN, BEN, CHEAP, PASSPHRASE, Drawer, Keeping, opened, order

DATA = bytes(range(32))
"""A data key."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "custody"


def keys(held: CustodyFolder) -> dict[str, str]:
    return {agent: key.thumbprint for agent, key in held.keys.items()}


def test_a_key_is_made_once_and_outlives_its_process(folder: Path) -> None:
    held = opened(folder)
    assert (held.find(ANN.id), held.keys) == (None, {})
    made = held.make(ANN.id)
    assert held.make(ANN.id) is made is held.find(ANN.id)
    assert held.make(BEN.id).key != made.key
    again = opened(folder)
    assert keys(again) == keys(held)
    signer = again.find(ANN.id)
    assert signer is not None
    assert made.key.verify(signer.sign(b"data"), b"data")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(path.suffix for path in folder.iterdir()) == [SUFFIX, SUFFIX, ".key"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_no_file_holds_a_private_half_and_no_text_shows_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[PrivateJwk] = []
    generate = keyfile.generate

    def remembered() -> PrivateJwk:
        made.append(generate())
        return made[-1]

    monkeypatch.setattr(keyfile, "generate", remembered)
    held = opened(folder)
    for agent in (ANN.id, BEN.id):
        held.make(agent)
    assert len(made) == 2
    told = repr(held) + str(held) + repr(held.find(ANN.id)) + repr(held.keys)
    seen = told.encode() + b"".join(path.read_bytes() for path in folder.iterdir())
    assert made[0].x.encode() in seen  # it would find them
    for private in made:
        for spelled in spellings(b64decode(private.d.encode())):
            assert spelled not in seen
    assert held._key not in seen
    assert PASSPHRASE not in seen


def spellings(secret: bytes) -> Iterator[bytes]:
    yield from (secret, secret.hex().encode(), repr(secret)[2:-1].encode())
    yield from (base64.b64encode(secret).rstrip(b"="), base64.urlsafe_b64encode(secret).rstrip(b"="))


def test_no_changed_byte_of_an_agents_file_opens() -> None:
    data = custodyfile.keep(ANN.id, keyfile.generate(), DATA)
    assert custodyfile.take(data, DATA)[0] == ANN.id
    tried = 0
    for place in range(len(data)):
        for bit in (1, 32):
            changed = bytearray(data)
            changed[place] ^= bit
            with pytest.raises(ValueError):  # noqa: PT011 - which of the sentences depends on the byte
                custodyfile.take(bytes(changed), DATA)
            tried += 1
    assert tried > 600


def test_no_changed_byte_of_the_data_keys_file_opens() -> None:
    key, data = custodyfile.new_data_key(PASSPHRASE, CHEAP)
    assert custodyfile.open_data_key(data, PASSPHRASE) == key
    for place in range(0, len(data), 5):  # many of these cost a guess
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(ValueError):  # noqa: PT011
            custodyfile.open_data_key(bytes(changed), PASSPHRASE)


@pytest.mark.parametrize("spelled", [b" %b", b"%b\n", b"%b "])
def test_a_second_spelling_is_refused(spelled: bytes) -> None:
    _, sealed_key = custodyfile.new_data_key(PASSPHRASE, CHEAP)
    kept = custodyfile.keep(ANN.id, keyfile.generate(), DATA)
    with pytest.raises(ValueError, match="one spelling"):
        custodyfile.open_data_key(spelled % sealed_key, PASSPHRASE)
    with pytest.raises(ValueError, match="one spelling"):
        custodyfile.take(spelled % kept, DATA)
    assert custodyfile.take(kept, DATA)


def test_a_file_can_neither_be_cheap_to_guess_nor_exhaust_who_opens_it() -> None:
    for cost in (Cost(1, MIN_MEMORY), Cost(MIN_OPS, MAX_MEMORY + 1)):
        with pytest.raises(ValueError, match="cost"):
            custodyfile.new_data_key(PASSPHRASE, cost)
        forged = custodyfile.DataKey(
            1, "argon2id", cost.ops, cost.memory, "A" * 22, "xchacha20-poly1305", "A" * 32, "A" * 64
        )
        with pytest.raises(ValueError, match="cost"):
            custodyfile.open_data_key(custodyfile._spelled(forged), PASSPHRASE)


def _other_passphrase(folder: Path, elsewhere: Path) -> None:
    shutil.rmtree(folder)
    open_folder(folder, b"another passphrase", CHEAP).make(ANN.id)


def _exchanged(folder: Path, elsewhere: Path) -> None:
    path_of(folder, ANN.id).write_bytes(path_of(folder, BEN.id).read_bytes())


def _of_another_custody(folder: Path, elsewhere: Path) -> None:
    opened(elsewhere).make(ANN.id)
    path_of(folder, ANN.id).write_bytes(path_of(elsewhere, ANN.id).read_bytes())


def _no_data_key(folder: Path, elsewhere: Path) -> None:
    (folder / DATA_KEY).unlink()


def _data_key_of_another_custody(folder: Path, elsewhere: Path) -> None:
    opened(elsewhere)
    (folder / DATA_KEY).write_bytes((elsewhere / DATA_KEY).read_bytes())


def _truncated(folder: Path, elsewhere: Path) -> None:
    path_of(folder, ANN.id).write_bytes(path_of(folder, ANN.id).read_bytes()[:-9])


def _empty(folder: Path, elsewhere: Path) -> None:
    path_of(folder, BEN.id).write_bytes(b"")


def _readable(folder: Path, elsewhere: Path) -> None:
    path_of(folder, ANN.id).chmod(0o640)


def _open_folder(folder: Path, elsewhere: Path) -> None:
    folder.chmod(0o750)


def _a_file(folder: Path, elsewhere: Path) -> None:
    shutil.rmtree(folder)
    folder.write_bytes(b"")


SPOILT = [
    (_other_passphrase, "wrong passphrase"),
    (_exchanged, "another agent"),
    (_of_another_custody, "another data key"),
    (_no_data_key, "No such file"),
    (_data_key_of_another_custody, "another data key"),
    (_truncated, "not an agent's key"),
    (_empty, "not an agent's key"),
    (_readable, "others may use it"),
    (_open_folder, "make it 0700"),
    (_a_file, "0700"),
]


@pytest.mark.parametrize(("spoil", "said"), SPOILT, ids=[spoil.__name__ for spoil, _ in SPOILT])
def test_what_was_spoilt_stops_the_start(folder: Path, tmp_path: Path, spoil: object, said: str) -> None:
    held = opened(folder)
    for agent in (ANN.id, BEN.id):
        held.make(agent)
    assert keys(opened(folder)) == keys(held)
    assert callable(spoil)
    spoil(folder, tmp_path / "elsewhere")
    with pytest.raises(ConfigurationError, match=said):
        opened(folder)


def test_a_short_passphrase_seals_nothing(folder: Path) -> None:
    with pytest.raises(ConfigurationError, match="at least 12"):
        open_folder(folder, b"eleven byte", CHEAP)
    assert list(folder.iterdir()) == []
    open_folder(folder, b"twelve bytes", CHEAP)


def test_many_who_ask_at_once_get_one_key_each(folder: Path, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "ledger")
    world = Keeping(opened(folder), store=store)
    agents = [Principal(id=f"spiffe://example.org/kept/{place}", owner="team") for place in range(3)]
    with ThreadPoolExecutor(12) as pool:
        made = list(pool.map(world.authority.custody.keep, agents * 8))
    assert len({key.thumbprint for key in made}) == 3
    assert made == made[:3] * 8
    enrolled = [body["principal"]["id"] for body in world.records("enrolled")]
    assert [enrolled.count(agent.id) for agent in agents] == [1, 1, 1]
    assert len(list(folder.glob(f"*{SUFFIX}"))) == 5
    store.close()


def test_two_processes_that_make_the_same_key_have_one(folder: Path) -> None:
    first, second = opened(folder), opened(folder)
    made = first.make(ANN.id).key
    assert second.find(ANN.id) is None
    assert second.make(ANN.id).key == made == opened(folder).keys[ANN.id]
    third = opened(folder)
    path_of(folder, BEN.id).write_bytes(b"{}")
    with pytest.raises(StoreError) as raised:
        third.make(BEN.id)
    assert str(folder) not in str(raised.value)
    assert third.make("spiffe://example.org/kept/other").key != made


def test_a_disk_that_takes_no_key_is_told_of_without_its_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = opened(folder)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", str(folder))

    with monkeypatch.context() as broken:
        broken.setattr(custody, "place", full)
        with pytest.raises(StoreError, match="No space left") as raised:
            held.make(ANN.id)
    assert str(folder) not in str(raised.value)
    assert held.find(ANN.id) is None
    assert held.make(ANN.id).key == opened(folder).keys[ANN.id]


def test_what_was_enrolled_meanwhile_is_not_enrolled_again() -> None:
    world = Keeping()
    before = world.store.head
    late = Principal(id="spiffe://example.org/kept/late", owner="team")
    custody = world.authority.custody
    # Both ask before either is written.
    first, second = (custody._enrolling(world.ann, late, anew=True) for _ in range(2))
    change = world.authority._desk.change
    assert change(first, None, Enrolled).result().revision == before + 1
    assert change(second, None, Enrolled).result().principal == late.id
    assert world.store.head == before + 1


def test_a_file_that_holds_another_key_than_it_names_is_refused() -> None:
    """Who has the data key can seal anything; and still the public half that is listed is that of the private one."""
    made, other = keyfile.generate(), keyfile.generate()
    lying = PrivateJwk(kty="OKP", crv="Ed25519", x=other.x, d=made.d)
    for private, said in ((lying, "changed"), (made, "")):
        nonce = bytes(24)
        named = custodyfile.Kept(1, ANN.id, "xchacha20-poly1305", b64encode(nonce), other.signer().key.jwk)
        box = encrypt(msgspec.json.encode(private), custodyfile._header(named), nonce, DATA)
        data = custodyfile._spelled(msgspec.structs.replace(named, box=b64encode(box)))
        with pytest.raises(ValueError, match=said or "another key than it names"):
            custodyfile.take(data, DATA)
    assert custodyfile.take(custodyfile.keep(ANN.id, made, DATA), DATA)[1].key == made.signer().key


def test_there_may_be_no_more_than_so_many(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(custody, "MAX_KEYS", 2)
    held = opened(folder)
    first = held.make(ANN.id)
    held.make(BEN.id)
    with pytest.raises(ResourceExhaustedError):
        held.make("spiffe://example.org/kept/more")
    assert held.make(ANN.id) is first
    assert len(held.keys) == 2


def test_a_crash_before_the_key_is_enrolled_loses_nothing(folder: Path) -> None:
    """Its file is there and nobody knows it: it signs for nobody until it is enrolled, and is the same key then."""
    world = Keeping(opened(folder))
    late = Principal(id="spiffe://example.org/kept/late", owner="team")
    assert world.custodian is not None
    lost = world.custodian.make(late.id).key  # and here the process ends
    world.custodian = opened(folder)
    world.authority = world.open()
    assert world.authority.custody.holder(late.id) is None
    caller = world.on_channel(late, holder=lost.thumbprint)
    with pytest.raises(Exception, match="not authorized"):
        world.hand(caller, [world.root(lost)], order())
    assert world.authority.custody.own_key(caller) == lost
    assert world.hand(world.on_channel(late), [world.root(lost)], order())


def test_a_ledger_that_fails_hands_out_no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Keeping(Drawer())
    late = Principal(id="spiffe://example.org/kept/late", owner="team")
    caller = world.on_channel(late)

    def fail(*_: object, **__: object) -> None:
        raise StoreError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(world.authority._desk, "change", fail)
        with pytest.raises(StoreError):
            world.authority.custody.own_key(caller)
    assert world.authority.custody.holder(late.id) is None
    assert world.authority.custody.own_key(caller).thumbprint == world.authority.custody.holder(late.id)


KILLED = """
import os, sys
from pathlib import Path
from chain.identity import custody, folder
from chain.identity.sealed import Cost, MIN_MEMORY, MIN_OPS
held = custody.open_folder(Path(sys.argv[1]), sys.argv[2].encode(), Cost(MIN_OPS, MIN_MEMORY))
link = os.link
def die(source, target):
    if sys.argv[3] == "after":
        link(source, target)
    os._exit(9)
os.link = die
held.make("spiffe://example.org/kept/ann")
"""


@pytest.mark.parametrize(("when", "there"), [("before", False), ("after", True)])
def test_a_process_that_dies_while_it_makes_a_key_leaves_it_whole_or_not_at_all(
    folder: Path, when: str, there: bool
) -> None:
    held = opened(folder)
    held.make(BEN.id)
    died = subprocess.run(
        [sys.executable, "-c", KILLED, folder, PASSPHRASE.decode(), when], check=False, timeout=60, env=os.environ
    )
    assert died.returncode == 9
    again = opened(folder)
    assert (ANN.id in again.keys) is there
    assert again.make(ANN.id).key == opened(folder).keys[ANN.id]
    assert again.keys[BEN.id] == held.keys[BEN.id]


def chain(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def test_an_operator_lists_the_public_halves(folder: Path, tmp_path: Path) -> None:
    held = opened(folder)
    made = held.make(ANN.id).key
    secret = tmp_path / "passphrase"
    secret.write_bytes(PASSPHRASE)
    secret.chmod(0o600)
    listed = chain("keys", "custody", "list", folder, "--passphrase-file", secret)
    assert listed.exit_code == 0, listed.output
    for told in (ANN.id, made.thumbprint, made.jwk.x, path_of(folder, ANN.id).name):
        assert told in listed.output
    told = chain("keys", "custody", "list", folder, "--passphrase-file", secret, "--json")
    (key,) = json.loads(told.output)["keys"]
    assert (key["agent"], key["jwk"]["x"], key["thumbprint"]) == (ANN.id, made.jwk.x, made.thumbprint)
    secret.write_bytes(b"another passphrase")
    assert chain("keys", "custody", "list", folder, "--passphrase-file", secret).exit_code == 2
    missing = chain("keys", "custody", "list", tmp_path / "none", "--passphrase-file", secret)
    assert (missing.exit_code, (tmp_path / "none").exists()) == (2, False)
