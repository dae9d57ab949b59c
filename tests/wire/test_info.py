"""What a server says of itself comes back as it was."""

from __future__ import annotations

from dataclasses import fields, replace

from chain.configuration import Configuration
from chain.v1 import info_pb2
from chain.wire.info import Bounds, ServerInfo, info_from, info_to

SAID = Configuration(
    policy="digest", gates=3, shadow=("class", "policy"), profile="sound", kept=True, all_synced=True, tls=True,
    mutual_tls=True, sockets=True, tokens=True, people=True, custody=True, keys={"active": 1, "retiring": 2}, calls=4,
    denials=5, delegations=6, outstanding=7, lifetime=8, must_name=("owner",), tools=9, status_list=True,
    transmitters=10, vouching=11, checkpoints=True, witnessed=True,
)  # fmt: skip

INFO = ServerInfo(
    "1.0", "https://i.test", "aud", "https://a.test", ("k1",), Bounds(1, 2, 3, 4, 5, 6, 7), "sound", ("low",), 8,
    all_synced=True, reason_version=9, time_ms=10,
)  # fmt: skip


def test_a_configuration_comes_back_as_it_was() -> None:
    plain = Configuration()
    assert all(getattr(SAID, one.name) != getattr(plain, one.name) for one in fields(Configuration))
    told = replace(INFO, configuration=SAID)
    assert info_from(info_to(told)) == told
    assert info_from(info_to(INFO)).configuration is None


def test_what_an_older_server_does_not_tell_is_off() -> None:
    found = info_from(info_pb2.GetServerInfoResponse(configuration=info_pb2.Configuration())).configuration
    assert found == Configuration()
