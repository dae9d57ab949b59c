"""The contract of `chain verify`: every attack and its allowed twin, and what happens to malformed input."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from chain.cli import main
from chain.judge import MAX_VERIFIERS, Judge
from tests.cli import material as m
from tests.cli.cases import CASES, Case


def judged(question: m.Question) -> dict[str, Any]:
    return answer(question.text())


def answer(text: bytes) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(msgspec.json.encode(Judge(time.time).answer(text)))
    return told


def run(text: bytes, *arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["verify", *arguments, "-"], input=text)
    return result.exit_code, result.stdout, result.stderr


def test_there_are_many_attacks_and_no_two_share_a_name() -> None:
    assert len(CASES) >= 70
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_attack_is_denied_and_its_twin_allowed(case: Case) -> None:
    assert judged(case.base()) == {"effect": "ALLOW", "reason": "allowed", "hop": None, "findings": []}
    told = judged(case.attack(case.base()))
    assert (told["effect"], told["reason"], told["hop"]) == ("DENY", case.reason, case.hop)
    assert told["findings"][0]["reason"] == case.reason
    assert told["findings"][0]["hop"] == case.hop
    assert told["findings"][0]["detail"]


def test_all_attacks_through_one_stream_get_the_same_answers() -> None:
    texts = [question.text() for case in CASES for question in (case.base(), case.attack(case.base()))]
    process = subprocess.run(
        [sys.executable, "-m", "chain", "verify", "--jsonl", "-"],
        input=b"\n".join(texts) + b"\n",
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert process.returncode == 0
    assert process.stderr == b""
    assert [json.loads(line) for line in process.stdout.splitlines()] == [answer(text) for text in texts]


def test_an_answer_comes_before_the_next_question_is_asked() -> None:
    command = [sys.executable, "-m", "chain", "verify", "--jsonl", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for case in CASES[-2:]:
            process.stdin.write(case.base().text() + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["effect"] == "ALLOW"
        process.stdin.close()
        assert process.wait(10) == 0


def test_exit_codes_in_single_mode(tmp_path: Path) -> None:
    code, out, err = run(m.plain().text())
    assert (code, json.loads(out)["effect"], err) == (0, "ALLOW", "")
    denied = m.plain()
    denied.args = {"amount": 500}
    code, out, err = run(denied.text())
    assert (code, json.loads(out)["reason"], err) == (1, "constraint_violated", "")
    file = tmp_path / "question.json"
    file.write_bytes(m.plain().text())
    assert CliRunner().invoke(main, ["verify", str(file)]).exit_code == 0
    missing = CliRunner().invoke(main, ["verify", str(tmp_path / "none")])
    assert (missing.exit_code, missing.stdout) == (2, "")


def _with(**members: object) -> bytes:
    return json.dumps(m.plain().data() | members).encode()


def _without(name: str) -> bytes:
    return json.dumps({key: value for key, value in m.plain().data().items() if key != name}).encode()


PRIVATE = {"jwk": json.loads(m.ROOT.key.to_json()) | {"d": "AAAA"}}
WEAK = {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}}

MALFORMED: dict[str, bytes] = {
    "nothing": b"",
    "a blank line": b"  ",
    "not JSON": b"{",
    "not an object": b"[]",
    "a string": b'"x"',
    "trailing bytes": m.plain().text() + b" x",
    "two values": m.plain().text() + m.plain().text(),
    "not UTF-8": b'{"tool":"\xff"}',
    "byte order mark": b"\xef\xbb\xbf" + m.plain().text(),
    "unknown member": _with(toool="x"),
    "member twice": m.plain().text()[:-1] + b',"tool":"bank.pay"}',
    "member twice inside": m.plain().text().replace(b'"args":{', b'"args":{"amount":1,'),
    "no tokens": _without("tokens"),
    "no anchors": _without("trust_anchors"),
    "no tool": _without("tool"),
    "no args": _without("args"),
    "tokens as text": _with(tokens="x"),
    "a token that is a number": _with(tokens=[1]),
    "an anchor without a key": _with(trust_anchors=[{"iss": "https://x.example"}]),
    "an anchor with more": _with(trust_anchors=[m.anchor() | {"x": 1}]),
    "a private anchor": _with(trust_anchors=[PRIVATE]),
    "a weak anchor": _with(trust_anchors=[WEAK]),
    "an anchor that is no key": _with(trust_anchors=[{"jwk": {"kty": "RSA"}}]),
    "a bad anchor among good ones": _with(trust_anchors=[m.anchor(), WEAK]),
    "an anchor for another algorithm": _with(trust_anchors=[{"jwk": m.anchor()["jwk"] | {"alg": "RS256"}}]),
    "an anchor for encrypting": _with(trust_anchors=[{"jwk": m.anchor()["jwk"] | {"use": "enc"}}]),
    "an anchor that may only sign": _with(trust_anchors=[{"jwk": m.anchor()["jwk"] | {"key_ops": ["sign"]}}]),
    "an issuer that is null": _with(trust_anchors=[m.anchor() | {"iss": None}]),
    "args as a list": _with(args=[]),
    "args null": _with(args=None),
    "tool as a number": _with(tool=1),
    "tool empty": _with(tool=""),
    "now as text": _with(now="1"),
    "now as a boolean": _with(now=True),
    "now NaN": m.plain().text().replace(b'"now":1900000000', b'"now":NaN'),
    "now infinite": m.plain().text().replace(b'"now":1900000000', b'"now":1e400'),
    "args NaN": m.plain().text().replace(b'{"amount":20}', b'{"amount":NaN}'),
    "args beyond 2^53": m.plain().text().replace(b'{"amount":20}', b'{"amount":9007199254740993}'),
    "a lone surrogate": m.plain().text().replace(b'{"amount":20}', b'{"amount":"\\ud800"}'),
    "nested too deeply": _with(args={"amount": json.loads("[" * 40 + "]" * 40)}),
    "nested without end": b"[" * 100_000,
    "revoked as text": _with(revoked="root"),
    "proof as null": _with(proof=None),
    "an unknown holder": _with(holder="me"),
    "an unknown profile": _with(profile="loose"),
    "an unknown class": _with(catalogue={"bank.pay": "harmless"}),
    "an unknown catalogue member": _with(catalogue={"bank.pay": {"class": "read", "safe": True}}),
    "an empty purpose": _with(purpose=""),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_is_denied_and_told_twice(name: str) -> None:
    told = answer(MALFORMED[name])
    assert (told["effect"], told["reason"], told["hop"]) == ("DENY", "request_invalid", None)
    assert [finding["reason"] for finding in told["findings"]] == ["request_invalid"]
    code, out, err = run(MALFORMED[name])
    assert (code, json.loads(out)) == (2, told)
    assert err.startswith("chain: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tokens": []}, "chain_empty"),
        ({"tokens": ["x"]}, "token_malformed"),
        ({"trust_anchors": []}, "anchor_unknown"),
    ],
)
def test_a_question_that_is_understood_and_stands_on_nothing_is_a_denial(change: dict[str, Any], reason: str) -> None:
    code, out, err = run(_with(**change))
    told = json.loads(out)
    assert (code, told["effect"], told["reason"], err) == (1, "DENY", reason, "")
    assert run(m.plain().text())[0] == 0


def test_a_question_for_which_the_anchor_says_what_it_is_for() -> None:
    usable = m.anchor()["jwk"] | {"alg": "EdDSA", "use": "sig", "key_ops": ["verify"], "kid": "k"}
    assert answer(_with(trust_anchors=[{"jwk": usable}]))["effect"] == "ALLOW"


def test_a_file_that_cannot_be_read_has_no_answer(tmp_path: Path) -> None:
    for more in ((), ("--jsonl",)):
        result = CliRunner().invoke(main, ["verify", str(tmp_path / "none.json"), *more])
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.count("\n") == 1


def test_a_bad_line_does_not_stop_the_stream() -> None:
    bad = [text for text in MALFORMED.values() if b"\n" not in text]
    lines = [line for text in bad for line in (text, m.plain().text())]
    code, out, err = run(b"\n".join(lines), "--jsonl")
    told = [json.loads(line) for line in out.splitlines()]
    assert (code, err, len(told)) == (0, "", len(lines))
    assert {one["reason"] for one in told[0::2]} == {"request_invalid"}
    assert {one["effect"] for one in told[1::2]} == {"ALLOW"}


def test_a_line_without_end_is_skipped_and_the_next_one_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    good = m.plain().text()
    monkeypatch.setattr("chain.cli.verify.MAX_LINE", len(good))
    code, out, _ = run(b"x" * (3 * len(good)) + b"\n" + good + b"\n", "--jsonl")
    assert code == 0
    assert [json.loads(line)["reason"] for line in out.splitlines()] == ["request_invalid", "allowed"]


def test_an_anchor_without_issuer_accepts_any() -> None:
    question = m.plain()
    question.anchors = [m.anchor(issuer=None)]
    assert judged(question)["effect"] == "ALLOW"


def test_the_right_anchor_is_found_among_others() -> None:
    question = m.plain()
    question.anchors = [m.anchor(m.OTHER), m.anchor(m.C, "https://c.example"), m.anchor()]
    assert judged(question)["effect"] == "ALLOW"


def test_now_defaults_to_the_clock() -> None:
    question = m.plain()
    question.extra["now"] = None
    told = json.loads(msgspec.json.encode(Judge(lambda: m.NOW).answer(question.text())))
    assert told["effect"] == "ALLOW"
    assert judged(question)["reason"] == "not_yet_valid"


def test_every_hop_is_asked_and_every_finding_told() -> None:
    question = m.three()
    question.args = {"amount": 1000}
    question.extra["revoked"] = ["hop-1"]
    told = judged(question)
    reasons = [(finding["reason"], finding["hop"]) for finding in told["findings"]]
    assert reasons == [
        ("constraint_violated", 0),
        ("constraint_violated", 1),
        ("constraint_violated", 2),
        ("revoked", 1),
    ]


def test_the_same_anchors_in_another_profile_are_another_verifier() -> None:
    judge = Judge(time.time)
    question = m.three()
    some = {"tools": {"bank.pay": {"amount": {"constraint_type": "one_of", "values": [20]}}}}
    question.tokens[-1] = m.child(question.tokens[1], some, holder=m.C, by=m.B)
    assert judge.answer(question.text()).effect == "ALLOW"
    question.extra["profile"] = "aat-01"
    assert judge.answer(question.text()).reason == "constraint_widened"


def test_a_warm_judge_still_refuses_a_removed_anchor_and_a_corrupt_signature() -> None:
    judge = Judge(time.time)
    assert judge.answer(m.plain().text()).effect == "ALLOW"
    removed, corrupt = m.plain(), m.plain()
    removed.anchors = [m.anchor(m.OTHER)]
    corrupt.proof = corrupt.made()
    corrupt.tokens[1] = m.flipped(corrupt.tokens[1], -20)
    assert judge.answer(removed.text()).reason == "anchor_unknown"
    assert judge.answer(corrupt.text()).reason == "signature_invalid"
    assert judge.answer(m.plain().text()).effect == "ALLOW"


def test_a_stream_of_ever_other_anchors_does_not_grow_the_judge() -> None:
    judge = Judge(time.time)
    for number in range(MAX_VERIFIERS + 10):
        question = m.plain()
        question.anchors = [m.anchor(), m.anchor(m.OTHER, f"https://{number}.example")]
        assert judge.answer(question.text()).effect == "ALLOW"
    assert len(judge._verifiers) == MAX_VERIFIERS
