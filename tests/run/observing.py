"""A program that is run, and tells what it finds and what it can do. (A script.)"""

import ctypes
import json
import os
from pathlib import Path

from chain import mint
from chain.client import Client, inherited
from chain.errors import ChainError
from chain.order import Issue, Revoke


def refused(work: object) -> str:
    assert callable(work)
    try:
        work()
    except ChainError as error:
        return error.reason.value
    return "done"


descriptors = sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208 - before anything of its own is open
session = inherited()
client = Client(os.environ["CHAIN_SERVER"])
grant = mint.grant({"tools": {"mail.send": {}, "bank.pay": {}}})
order = Issue(holder=session.signer.key, grant=grant, owner="team", task="t1")
died = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(died))
status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines())
place = Path(os.environ["CHAIN_KEY"]).parent
told = {
    "environ": dict(os.environ),
    "modes": {path.name: oct(path.stat().st_mode & 0o777) for path in (place, *place.iterdir())},
    "place": str(place),
    "key": Path(os.environ["CHAIN_KEY"]).read_text(),
    "tokens": session.tokens,
    "purpose": session.purpose,
    "granted": session.check("mail.send", {}).effect.value,
    "beyond": session.check("bank.pay", {}).reason.value,
    "issue": refused(lambda: client.issue(order)),
    "revoke": refused(lambda: client.revoke(Revoke(session.leaf.digest, "mine"))),
    "dies with": died.value,
    "blocked": int(status["SigBlk"], 16),
    "descriptors": descriptors,
}
print(json.dumps(told))  # noqa: T201
