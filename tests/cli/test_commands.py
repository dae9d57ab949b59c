"""The commands that a person chains together, offline and against a service, each denial beside its allowed twin."""

from __future__ import annotations

import json
import os
import stat
import time
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner, Result

from chain import mint, proof, token
from chain.anchor import TrustAnchor
from chain.certificate import CertifiedSigner, certify
from chain.cli import main
from chain.identity import keyfile
from chain.key import KeySigner
from chain.mint import unverified
from chain.token import Verifier
from tests.cli.conftest import Service
from tests.demonstration import Played

GRANT = '{"tools":{"mail.read":{},"bank.pay":{"amount":{"constraint_type":"range","max":100}}}}'
LESS = '{"tools":{"bank.pay":{"amount":{"constraint_type":"range","max":50}}}}'
MORE = '{"tools":{"bank.pay":{"amount":{"constraint_type":"range","max":500}}}}'
PEP = "https://pep.example"


def chain(*arguments: str | Path, input: str | None = None) -> Result:  # noqa: A002 - as click's runner
    return CliRunner().invoke(main, list(map(str, arguments)), input=input)


def ok(*arguments: str | Path, input: str | None = None) -> str:  # noqa: A002 - as click's runner
    result = chain(*arguments, input=input)
    assert result.exit_code == 0, result.output
    return result.stdout


class Desk(NamedTuple):
    """Keys and a chain of two hops, all made by commands."""

    folder: Path

    def __truediv__(self, name: str) -> Path:
        return self.folder / name

    @property
    def asking(self) -> tuple[str, ...]:
        return ("--chain", str(self / "b.chain"), "--anchor", str(self / "issuer.jwk"), "--audience", PEP)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    desk = Desk(tmp_path_factory.mktemp("desk"))
    for name in ("issuer", "a", "b"):
        ok("keygen", desk / f"{name}.key", "--public", desk / f"{name}.jwk", *(["--es256"] if name == "b" else []))
    root = ok(
        *("issue", "--to", desk / "a.jwk", "--key", desk / "issuer.key", "--issuer", "https://issuer.example"),
        *("--grant", GRANT, "--sub", "alice", "--task", "t-1", "--audience", PEP),
    )
    (desk / "root.chain").write_text(root)
    (desk / "b.chain").write_text(ok("delegate", *_handing(desk), "--grant", LESS, "--lifetime", "10m"))
    return desk


def _handing(desk: Desk) -> tuple[str | Path, ...]:
    return ("--chain", desk / "root.chain", "--key", desk / "a.key", "--to", desk / "b.jwk")


def test_keygen_tells_the_public_half_only(tmp_path: Path) -> None:
    told = json.loads(ok("keygen", tmp_path / "k.key", "--json", "--public", tmp_path / "k.jwk"))
    signer = keyfile.load(tmp_path / "k.key")
    assert told["thumbprint"] == signer.key.thumbprint
    assert told["jwk"] == json.loads((tmp_path / "k.jwk").read_text()) == json.loads(signer.key.to_json())
    secret = json.loads((tmp_path / "k.key").read_text())["d"]
    assert secret not in json.dumps(told)
    text = ok("keygen", tmp_path / "other.key", "--es256")
    assert keyfile.load(tmp_path / "other.key").key.thumbprint in text
    assert keyfile.load(tmp_path / "other.key").key.alg == "ES256"


def test_credential_is_a_secret_in_a_file_and_a_hash_on_the_screen(tmp_path: Path) -> None:
    told = json.loads(ok("credential", tmp_path / "c.secret", "--json"))
    secret = (tmp_path / "c.secret").read_text().strip()
    assert stat.S_IMODE((tmp_path / "c.secret").stat().st_mode) == 0o600
    assert told["sha256"] == sha256(secret.encode()).hexdigest()
    assert len(secret) >= 32
    again = chain("credential", tmp_path / "c.secret")
    assert (again.exit_code, again.stdout) == (2, "")
    assert (tmp_path / "c.secret").read_text().strip() == secret


def test_a_chain_made_offline_is_one_that_strangers_verify(desk: Desk) -> None:
    tokens = (desk / "b.chain").read_text().split()
    anchor = TrustAnchor(keyfile.load(desk / "issuer.key").key, "https://issuer.example")
    verified = Verifier([anchor]).verify(tokens)
    assert len(verified) == 2
    assert verified.facts.sub == "alice"
    assert verified.leaf.holder == keyfile.load(desk / "b.key").key.thumbprint
    assert verified.leaf.exp - verified.leaf.iat == 600


def test_delegate_refuses_more_than_the_parent_grants_and_names_it(desk: Desk) -> None:
    refused = chain("delegate", *_handing(desk), "--grant", MORE, "--json")
    told = json.loads(refused.stdout)
    assert refused.exit_code == 1
    assert (told["reason"], told["hop"], told["field"]) == ("constraint_widened", 1, "tools.bank.pay.amount")
    assert (told["parent"], told["child"]) == ("up to 100", "up to 500")
    line = (
        "chain: hop 1: `bank.pay` argument `amount` asks up to 500 where hop 0 grants up to 100 (constraint_widened)\n"
    )
    assert refused.stderr == line
    assert json.loads(ok("delegate", *_handing(desk), "--grant", LESS, "--json"))["hop"] == 1


def test_delegate_needs_the_leafs_own_key(desk: Desk) -> None:
    wrong = chain(
        "delegate", "--chain", desk / "root.chain", "--key", desk / "b.key", "--to", desk / "b.jwk", "--grant", LESS
    )
    assert wrong.exit_code == 2
    assert "is not the key" in wrong.stderr


def test_check_offline_with_a_proof(desk: Desk) -> None:
    assert ok("check", "bank.pay", '{"amount":20}', *desk.asking, "--key", desk / "b.key") == "ALLOW\n"
    over = chain("check", "bank.pay", '{"amount":51}', *desk.asking, "--key", desk / "b.key", "--json")
    told = json.loads(over.stdout)
    assert (over.exit_code, told["reason"], told["hop"]) == (1, "constraint_violated", 1)
    stolen = chain("check", "bank.pay", '{"amount":20}', *desk.asking, "--key", desk / "a.key")
    assert stolen.exit_code == 1
    assert stolen.stdout.startswith("DENY: ")
    none = chain("check", "bank.pay", '{"amount":20}', *desk.asking)
    assert (none.exit_code, none.stdout.splitlines()[0]) == (1, "DENY: proof_missing at hop 1")


def test_check_offline_over_a_channel_or_with_a_proof_made_elsewhere(desk: Desk) -> None:
    assert ok("check", "bank.pay", '{"amount":20}', *desk.asking, "--channel") == "ALLOW\n"
    tokens = (desk / "b.chain").read_text().split()
    made = proof.make(
        keyfile.load(desk / "b.key"),
        unverified(tokens[-1]),
        "bank.pay",
        {"amount": 20},
        audience=PEP,
        jti="one",
        iat=int(time.time()),
    )
    assert ok("check", "bank.pay", '{"amount":20}', *desk.asking, "--proof", made) == "ALLOW\n"
    other = chain("check", "bank.pay", '{"amount":21}', *desk.asking, "--proof", made)
    assert other.stdout.splitlines()[0] == "DENY: proof_arguments_mismatch at hop 1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("check", "t", "--chain", "{b}"), "give --server or --ledger"),
        (("check", "t", "--chain", "{b}", "--workload-api", "unix:/x"), "need --server"),
        (("check", "t", "--chain", "{b}", "--server", "a:1", "--trust-domain", "b.test"), "needs --workload-api"),
        (
            (
                "check",
                "t",
                "--chain",
                "{b}",
                "--server",
                "a:1",
                "--workload-api",
                "unix:/x",
                "--credential-file",
                "{s}",
            ),
            "one credential",
        ),
        (("check", "t", "--chain", "{b}", "--anchor", "{jwk}", "--ledger", "x"), "--anchor decides here"),
        (("check", "t", "--chain", "{b}", "--anchor", "{jwk}", "--key", "{k}"), "give --audience"),
        (("check", "t", "--chain", "{b}", "--anchor", "{jwk}", "--key", "{k}", "--channel"), "give one of"),
        (("check", "t", "{", "--chain", "{b}", "--anchor", "{jwk}"), "ARGUMENTS: "),
        (("check", "t", '{"a":1,"a":2}', "--chain", "{b}", "--anchor", "{jwk}"), "duplicate member"),
        (("check", "t", "--chain", "{none}", "--anchor", "{jwk}"), "No such file"),
        (("check", "t", "--chain", "{b}", "--anchor", "{b}"), "not strict JSON"),
        (("check", "t", "--chain", "{b}", "--credential-file", "x"), "need --server"),
        (("check", "t", "--chain", "{b}", "--server", "h:1", "--ledger", "x"), "instead of a server"),
        (("check", "t", "--chain", "{b}", "--anchor", "{jwk}", "--catalogue", '{"t":"safe"}'), "the catalogue: "),
        (("issue", "--to", "{jwk}", "--grant", GRANT), "needs --key and --issuer"),
        (("issue", "--to", "{jwk}", "--grant", '{"tools":{"t":{"a":{"constraint_type":"glob"}}}}'), "the grant: "),
        (("issue", "--to", "{jwk}", "--grant", GRANT, "--lifetime", "soon"), "`soon` is no time"),
        (("issue", "--to", "{jwk}", "--grant", GRANT, "--lifetime", "0"), "`0` is no time"),
        (("revoke", "x", "--ledger", "{none}"), "the delegation's id"),
        (("revoke", "A" * 43), "give --server or --ledger"),
        (("explain", "t", "--chain", "{b}"), "give --server or --ledger"),
        (("verify",), "Missing argument"),
        (("frobnicate",), "No such command"),
        (("keygen",), "Missing argument"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_2(desk: Desk, arguments: tuple[str, ...], said: str) -> None:
    names = {"{b}": "b.chain", "{jwk}": "issuer.jwk", "{k}": "b.key", "{none}": "none", "{s}": "secret"}
    (desk / "secret").touch(0o600)
    (desk / "secret").write_text("s" * 40)
    result = chain(*(desk / names[one] if one in names else one for one in arguments))
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("chain: ")
    assert result.stderr.count("\n") == 1
    assert said in result.stderr


def test_inspect_says_plainly_that_nothing_was_verified(desk: Desk) -> None:
    text = ok("inspect", desk / "b.chain")
    assert text.startswith("NOT VERIFIED")
    assert "gives up `mail.read`" in text
    assert "narrows tools.bank.pay.amount: up to 100 -> up to 50" in text
    assert "on behalf of alice" in text
    assert "dies in 9 min" in text or "dies in 10 min" in text
    assert max(map(len, text.splitlines())) <= 80
    assert json.loads(ok("inspect", desk / "b.chain", "--json"))["verified"] is False


def test_inspect_verifies_against_an_anchor(desk: Desk) -> None:
    good = ok("inspect", desk / "b.chain", "--anchor", desk / "issuer.jwk")
    assert good.startswith("VERIFIED")
    told = json.loads(ok("inspect", desk / "b.chain", "--anchor", desk / "issuer.jwk", "--json"))
    assert (told["verified"], told["fault"], told["may_delegate"]) == (True, None, 7)
    assert told["remains"] == ["`bank.pay` with `amount`: up to 50"]
    assert [hop["dropped"] for hop in told["hops"]] == [[], ["mail.read"]]
    bad = chain("inspect", desk / "b.chain", "--anchor", desk / "a.jwk")
    assert bad.exit_code == 1
    assert bad.stdout.startswith("NOT AUTHENTIC\n  hop 0: no trust anchor's key signed the root (anchor_unknown)")
    wrong = chain(
        "inspect", desk / "b.chain", "--anchor", desk / "issuer.jwk", "--issuer", "https://x.example", "--json"
    )
    assert (wrong.exit_code, json.loads(wrong.stdout)["fault"]["reason"]) == (1, "issuer_mismatch")


def test_inspect_takes_tokens_a_file_or_stdin(desk: Desk) -> None:
    content = (desk / "b.chain").read_text()
    told = json.loads(ok("inspect", desk / "b.chain", "--json"))["hops"]
    assert json.loads(ok("inspect", *content.split(), "--json"))["hops"] == told
    assert json.loads(ok("inspect", "-", "--json", input=content))["hops"] == told
    listed = json.dumps({"tokens": content.split()})
    assert json.loads(ok("inspect", "-", "--json", input=listed))["hops"] == told
    for bad, code in (("a.b.c", 1), ("e.30.", 1), ("", 2), ("{}", 2)):
        result = chain("inspect", "-", input=bad)
        assert (result.exit_code, result.stdout) == (code, "")


def test_inspect_shows_what_a_forged_child_asks_beyond_its_parent(desk: Desk) -> None:
    tokens = (desk / "b.chain").read_text().split()
    holder, now = keyfile.load(desk / "b.key").key, int(time.time())
    claims = mint.child_claims(unverified(tokens[0]), mint.grant(MORE), holder, jti="forged", now=now, lifetime=60)
    text = ok("inspect", tokens[0], token.sign(claims, keyfile.load(desk / "a.key")))
    assert "ASKS BEYOND tools.bank.pay.amount: up to 100 -> up to 500" in text
    assert "ASKS BEYOND" not in ok("inspect", *tokens)


def test_a_key_that_certifies_is_an_anchor_for_what_it_certified(desk: Desk, tmp_path: Path) -> None:
    hsm, issuer, now = KeySigner.from_seed(b"h" * 32), "https://issuer.example", int(time.time())
    signer = KeySigner.from_seed(b"s" * 32)
    certified = CertifiedSigner(signer, certify(hsm, signer.key, issuer, jti="c", now=now))
    given = mint.grant({"tools": {"mail.read": {}}})
    holder = keyfile.load(desk / "a.key").key
    claims = mint.root_claims(given, holder, issuer=issuer, jti="r", now=now, lifetime=60)
    (tmp_path / "root.chain").write_text(token.sign(claims, certified))
    (tmp_path / "hsm.jwk").write_text(hsm.key.to_json())
    anchor = ("--anchor", tmp_path / "hsm.jwk", "--issuer", issuer)
    ask = ("check", "mail.read", "--chain", tmp_path / "root.chain", "--key", desk / "a.key", "--audience", PEP)
    known = ("--catalogue", '{"mail.read": {"class": "read", "classification": "internal"}}')
    for command in (("inspect", tmp_path / "root.chain"), (*ask, *known)):
        assert chain(*command, *anchor).exit_code == 1
        assert chain(*command, *anchor, "--certifies").exit_code == 0
        refused = chain(*command, *anchor[:2], "--certifies")
        assert isinstance(refused.exception, SystemExit)
        assert (refused.exit_code, "give --issuer" in refused.stderr) == (2, True)


def test_an_anchor_decides_here_whatever_server_the_environment_names(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAIN_SERVER", "127.0.0.1:1")
    assert chain("check", "bank.pay", '{"amount":20}', *desk.asking, "--key", desk / "b.key").exit_code == 0
    both = chain("check", "bank.pay", '{"amount":20}', *desk.asking, "--server", "127.0.0.1:1")
    assert (both.exit_code, "--anchor decides here" in both.stderr) == (2, True)


def test_words_inside_a_token_never_steer_the_terminal(desk: Desk) -> None:
    evil = "ali\x1b[2Jce\r\nVERIFIED\u202e"
    made = ok(
        *("issue", "--to", desk / "a.jwk", "--key", desk / "issuer.key", "--issuer", "https://issuer.example"),
        *("--grant", GRANT, "--sub", evil),
    )
    text = ok("inspect", made.strip())
    assert not [char for char in text if not char.isprintable() and char != "\n"]
    assert "\\x1b[2J" in text
    assert not any(line.startswith("VERIFIED") for line in text.splitlines())


# -- a ledger at hand, and a service ------------------------------------------------------------------------


def reading(played: Played, who: str, folder: str) -> tuple[str | Path, ...]:
    return (
        *("mail.read", json.dumps({"folder": folder}), "--purpose", "travel", "--audience", "https://tools.example"),
        *("--chain", played.chain(who), "--key", played.key(who)),
    )


def test_a_kept_ledger_answers_and_remembers(played: Played) -> None:
    at = ("--ledger", played.folder)
    assert ok("check", *reading(played, "researcher", "receipts"), *at) == "ALLOW\n"
    denied = chain("check", *reading(played, "researcher", "inbox"), *at, "--json")
    told = json.loads(denied.stdout)
    assert (denied.exit_code, told["reason"], told["hop"]) == (1, "constraint_violated", 1)
    assert told["id"]
    gone = chain("check", *reading(played, "clerk", "receipts"), *at, "--json")
    assert ("revoked", 1) in [(one["reason"], one["hop"]) for one in json.loads(gone.stdout)["findings"]]
    laid = json.loads(chain("explain", *reading(played, "clerk", "receipts"), *at, "--json").stdout)
    assert [hop["hop"] for hop in laid["hops"]] == [0, 1, 2]


def test_a_folder_without_a_configuration_is_no_ledger(played: Played, tmp_path: Path) -> None:
    result = chain("check", *reading(played, "researcher", "receipts"), "--ledger", tmp_path)
    assert (result.exit_code, result.stdout) == (2, "")


def test_a_whole_life_against_a_service(played: Played, service: Service, tmp_path: Path) -> None:
    root, leaf = tmp_path / "root.chain", tmp_path / "leaf.chain"
    grant = '{"tools":{"mail.read":{"folder":{"constraint_type":"one_of","values":["receipts","inbox"]}}}}'
    root.write_text(ok("issue", "--to", played.public("orchestrator"), "--grant", grant, *service.as_caller("alice")))
    handing = ("--chain", root, "--key", played.key("orchestrator"), "--to", played.public("researcher"))
    more = chain("delegate", *handing, "--grant", '{"tools":{"mail.send":{}}}', *service.as_caller("orchestrator"))
    assert (more.exit_code, more.stdout) == (1, "")
    less = '{"tools":{"mail.read":{"folder":{"constraint_type":"exact","value":"receipts"}}}}'
    made = json.loads(ok("delegate", *handing, "--grant", less, *service.as_caller("orchestrator"), "--json"))
    assert made["revision"] > 0
    leaf.write_text("\n".join(made["tokens"]))

    def ask(command: str, folder: str, *more: str) -> Result:
        asked = ("mail.read", json.dumps({"folder": folder}), "--chain", leaf, "--key", played.key("researcher"))
        return chain(command, *asked, "--audience", "https://tools.example", *service.as_caller("gate"), *more)

    assert (ask("check", "receipts").exit_code, ask("check", "receipts").stdout) == (0, "ALLOW\n")
    assert json.loads(ask("check", "inbox", "--json").stdout)["reason"] == "constraint_violated"
    explained = ask("explain", "inbox")
    assert explained.exit_code == 1
    assert "REFUSES" in explained.stdout
    assert max(map(len, explained.stdout.splitlines())) <= 80
    assert ask("explain", "receipts").exit_code == 0

    dry = json.loads(ok("revoke", made["id"], "--dry-run", *service.as_caller("alice"), "--json"))
    assert (dry["count"], dry["dry_run"]) == (1, True)
    assert ask("check", "receipts").exit_code == 0
    stranger = chain(
        *("revoke", made["id"], "--chain", leaf, "--key", played.key("orchestrator")),
        *service.as_caller("orchestrator"),
    )
    assert (stranger.exit_code, stranger.stdout) == (1, "")
    fell = ok(
        *("revoke", made["id"], "--chain", root, "--key", played.key("orchestrator"), "--reason", "done"),
        *service.as_caller("orchestrator"),
    )
    assert fell.startswith("1 fell\n")
    assert json.loads(ask("check", "receipts", "--json").stdout)["reason"] == "revoked"


def test_who_may_not_ask_is_told_and_what_does_not_answer_is_no_allow(played: Played, service: Service) -> None:
    asked = reading(played, "researcher", "receipts")
    role = chain("check", *asked, *service.as_caller("alice"))
    assert (role.exit_code, role.stdout) == (1, "")
    nobody = chain("check", *asked, "--server", service.address)
    assert (nobody.exit_code, nobody.stdout) == (2, "")
    closed = chain("check", *asked, "--server", "127.0.0.1:1", "--timeout", "0.5")
    assert (closed.exit_code, closed.stdout) == (3, "")
    for result in (role, nobody, closed):
        assert result.stderr.count("\n") == 1
        assert "Traceback" not in result.stderr


def test_a_secret_that_others_can_read_is_not_used(played: Played, service: Service, tmp_path: Path) -> None:
    file = tmp_path / "gate.secret"
    file.write_text((played.folder / "secrets" / "gate.secret").read_text())
    asked = (
        "check",
        *reading(played, "researcher", "receipts"),
        "--server",
        service.address,
        "--credential-file",
        file,
    )
    file.chmod(0o644)
    assert chain(*asked).exit_code == 2
    file.chmod(0o600)
    os.utime(file)
    assert "revoked" not in chain(*asked).output


@pytest.mark.parametrize("first", ["-", "-h", "-l", "A"])
def test_an_id_may_begin_with_a_dash(service: Service, first: str) -> None:
    unknown = first + "A" * (43 - len(first))
    for arguments in ((unknown, "--dry-run"), ("--dry-run", unknown)):
        told = chain("revoke", *arguments, *service.as_caller("alice"))
        assert told.exit_code == 1
        assert unknown in told.stderr
    assert chain("revoke", "-h").exit_code == 0
    assert chain("revoke", "-x", *service.as_caller("alice")).exit_code == 2
