"""Tools that run only where the active session allows it.

Run: python examples/guard_tool.py
"""

import asyncio
import os
import time
from typing import Any

from chain import Authority, DeniedError, Issue, KeySigner, Principal, TrustAnchor, Verifier, embedded
from chain.client import AsyncLocal, AsyncSession, Local, Session, guard
from chain.mint import grant
from chain.store.memory import MemoryStore

ISSUER = "https://idp.example"
BANK = "https://bank.example"


class Bank:
    """The tools of a bank. What the model says is in the arguments; on whose authority is in the session."""

    @guard("bank.transfer")
    def transfer(self, amount: int, to: str = "bob") -> str:
        """Send money."""
        return f"sent {amount} to {to}"

    @guard("bank.transfer")
    async def transfer_later(self, amount: int, to: str = "bob") -> str:
        """Send money, without blocking the loop."""
        return f"sent {amount} to {to}"


def attempt(amount: int) -> None:
    """Call the tool as a framework would: the model sees the error's text, the operator its decision."""
    try:
        print(Bank().transfer(amount))
    except DeniedError as denied:
        print(f"model: {denied} | operator: {denied.decision}")


async def attempt_later(amount: int) -> None:
    """Do the same without blocking."""
    try:
        print(await Bank().transfer_later(amount))
    except DeniedError as denied:
        print(f"model: {denied} | operator: {denied.decision}")


def main() -> None:
    """Make an authority, give a bot up to 100, and let it try."""
    idp, bot = KeySigner.from_seed(os.urandom(32)), KeySigner.from_seed(os.urandom(32))
    anchors = Verifier([TrustAnchor(idp.key, ISSUER)])
    authority = Authority(
        MemoryStore(),
        anchors,
        clock=time.time,
        entropy=os.urandom,
        audience="https://chain.example",
        signer=idp,
        issuer=ISSUER,
    )
    program = embedded(BANK)
    authority.enrol(program, bot.key, Principal(id="spiffe://example.org/bot", owner="treasury"))
    amount, to = {"constraint_type": "range", "min": 1, "max": 100}, {"constraint_type": "one_of", "values": ["bob"]}
    up_to_100 = grant({"tools": {"bank.transfer": {"amount": amount, "to": to}}, "limits": {"purposes": ["allowance"]}})
    root = authority.issue(program, Issue(holder=bot.key, grant=up_to_100, owner="treasury", task="june", lifetime=600))
    held: dict[str, Any] = {"signer": bot, "tokens": [root.token], "audience": BANK, "purpose": "allowance"}

    attempt(20)  # no session: nothing runs
    with Session(**held, door=Local(authority, program)):
        attempt(20)
        attempt(5000)

    async def asynchronous() -> None:
        door = AsyncLocal(authority, program)
        async with AsyncSession(**held, door=door):
            await attempt_later(30)
            await attempt_later(-1)

    asyncio.run(asynchronous())
    authority.close()


if __name__ == "__main__":
    main()
