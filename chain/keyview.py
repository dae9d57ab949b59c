"""What is told of an issuer's keys.

The law of this file: values only, public halves only.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from chain.keyring import Held


class Listed(NamedTuple):
    """Where each key stands.

    Attributes:
        keys: in the order in which they came.
        signing: thumbprint of the key that signs; empty where none does.
        revision: the last one that survives power loss.
    """

    keys: tuple[Held, ...]
    signing: str
    revision: int


class Turned(msgspec.Struct, frozen=True):
    """A key that stands otherwise now.

    Attributes:
        key: as it stands.
        signing: thumbprint of the key that signs now; empty where none does.
        revision: of the record.
    """

    key: Held
    signing: str
    revision: int


class Distrusted(msgspec.Struct, frozen=True):
    """A key that is trusted no more, and what fell with it.

    Attributes:
        key: as it stands; of a dry run, as it would.
        signing: thumbprint of the key that signs now; empty where none does, so that nothing is issued.
        revision: of the record; 0 for a dry run.
        fallen, count, at_least: as of `chain.view.Revoked`.
        warnings: what was not done beside it, one line each.
    """

    key: Held
    signing: str
    revision: int
    fallen: tuple[str, ...]
    count: int
    at_least: bool = False
    warnings: tuple[str, ...] = ()
