"""Every example runs as it stands, and says what it should."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import chain
from tests.client.running import running, secret
from tests.support import PEP

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(EXAMPLES / name), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, cwd=EXAMPLES.parent)


def output(name: str, *arguments: str) -> list[str]:
    done = run(name, *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_the_example_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    lines = (chain.__doc__ or "").splitlines()
    code = textwrap.dedent("\n".join(line for line in lines if not line or line.startswith("    ")))
    with pytest.raises(chain.DeniedError, match=r"^the action is not authorized$") as raised:
        exec(compile(code, "chain.__doc__", "exec"), {})  # noqa: S102 - that is the test
    assert capsys.readouterr().out == "sent 20\n"
    assert raised.value.reason is chain.Reason.CONSTRAINT_VIOLATED


def test_the_names_of_the_package_are_there_and_shadow_no_module() -> None:
    assert sorted(chain.__all__, key=str.lower) == sorted(set(chain.__all__), key=str.lower)
    modules = {path.stem for path in Path(chain.__file__).parent.glob("*.py")}
    assert not modules & set(chain.__all__)
    for name in chain.__all__:
        assert getattr(chain, name).__module__.startswith("chain.")


def test_library() -> None:
    assert output("library.py") == [
        'refused: `mail.read` argument `folder` asks one of "inbox", "sent" where hop 1 grants "inbox"',
        "inbox: ALLOW",
        'sent:  DENY: hop 1: `mail.read` argument `folder` is not what is granted: "inbox" (constraint_violated)',
        "send:  DENY: hop 1: `mail.send` is not granted (tool_not_granted)",
        "fallen: 1",
        "inbox: DENY: hop 1: revoked (revoked)",
        "planner: ALLOW",
    ]


def test_guard_tool() -> None:
    generic = "model: the action is not authorized | operator: DENY: "
    amount = "hop 0: `bank.transfer` argument `amount` is not what is granted: "
    assert output("guard_tool.py") == [
        f"{generic}no session is active (session_missing)",
        "sent 20 to bob",
        f"{generic}{amount}from 1 up to 100 (constraint_violated)",
        "sent 30 to bob",
        f"{generic}{amount}from 1 up to 100 (constraint_violated)",
    ]


def test_service_client(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        told = output("service_client.py", server.address, secret("issuer"), secret("agent"), PEP)
    assert [line.partition(":")[2].split()[0] for line in told] == ["ALLOW", "DENY:", "ALLOW", "1", "DENY:"]
    gone = run("service_client.py", server.address, secret("issuer"), secret("agent"), PEP)
    assert gone.returncode == 3
    assert secret("issuer") not in gone.stderr


def test_a_payment_that_waits_for_two_people() -> None:
    lines = output("approval.py")
    assert lines[0] == "the model sees: the action waits for a person's approval"
    assert [line for line in lines if line.startswith(("now", "sent", "once"))] == [
        "now it is pending",
        "now it is approved",
        "sent 250 to ACME",
        "once: the next one has to be approved anew",
    ]
