"""A client of a running service: `python examples/service_client.py TARGET ISSUER_SECRET AGENT_SECRET AUDIENCE`.

TARGET is host:port or unix:PATH. The two secrets belong to a caller in the role of an issuer and to one in the role of
an agent, whose registered audience is AUDIENCE; see `chain serve --help`.
"""

import os
import sys

from chain import Issue, KeySigner, UnreachableError
from chain.client import Client, Session
from chain.mint import grant


def main(target: str, issuer_secret: str, agent_secret: str, audience: str) -> int:
    """Issue a root, hand some of it on, ask, and revoke."""
    planner, reader = KeySigner.from_seed(os.urandom(32)), KeySigner.from_seed(os.urandom(32))
    task = grant({"tools": {"mail.read": {}, "mail.send": {}}, "limits": {"purposes": ["reporting"]}})
    order = Issue(holder=planner.key, grant=task, owner="office", task="summary")  # it lives as long as the tools allow
    with Client(target, issuer_secret) as issuer, Client(target, agent_secret) as agent:
        try:
            root = issuer.issue(order)
        except UnreachableError as error:
            print(error, file=sys.stderr)
            return 3
        planning = Session(signer=planner, tokens=[root.token], audience=audience, door=agent, purpose="reporting")
        inbox = {"constraint_type": "exact", "value": "inbox"}
        handed = planning.delegate(reader.key, grant({"tools": {"mail.read": {"folder": inbox}}}))
        reading = planning.as_holder(reader, handed.tokens)

        print("inbox: ", reading.check("mail.read", {"folder": "inbox"}))
        print("sent:  ", reading.check("mail.read", {"folder": "sent"}))
        with agent.check_stream() as stream:  # for one question after the other
            decision = stream.check(reading.presented, reading.asking("mail.read", {"folder": "inbox"}))
            print("stream:", decision)
        print("fallen:", planning.revoke(handed.delegation.id, "done").count)
        print("inbox: ", reading.check("mail.read", {"folder": "inbox"}))
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
