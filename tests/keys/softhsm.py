"""SoftHSM2: a token in a folder, and the ways to put into it what a careful owner would not."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism

from chain.identity.pkcs11 import P256, Place
from tests.keys.conftest import PIN

MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so")


def module() -> Path | None:
    """The library, where it and its tool are installed."""
    found = next((Path(path) for path in MODULES if Path(path).exists()), None)
    return found if shutil.which("softhsm2-util") else None


@dataclass(frozen=True)
class SoftToken:
    """One token."""

    folder: Path
    label: str
    place: Place

    def at(self, label: str | None, **changes: Any) -> Place:
        return replace(self.place, label=label, **changes)

    def put(self, label: str, number: int, curve: bytes = P256, **private: bool) -> Place:
        """Make a P-256 key with these attributes of its private half."""
        template = {Attribute[name.upper()]: value for name, value in private.items()}
        with self.session() as session:
            domain = session.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: curve}, local=True)
            domain.generate_keypair(
                store=True,
                label=label,
                id=bytes([number]),
                mechanism=Mechanism.EC_KEY_PAIR_GEN,
                private_template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False} | template,
            )
        return self.at(label)

    def session(self) -> Any:
        token = pkcs11.lib(str(self.place.module)).get_token(token_label=self.label)
        try:
            return token.open(rw=True, user_pin=PIN)
        except pkcs11.UserAlreadyLoggedIn:
            return token.open(rw=True)

    def gone(self) -> None:
        """Take the token out."""
        (self.folder / "tokens").rename(self.folder / "away")
        (self.folder / "tokens").mkdir()
        pkcs11.lib(str(self.place.module)).reinitialize()

    def back(self) -> None:
        """Put it in again; who had it open sees that only in a module that is initialised anew."""
        (self.folder / "tokens").rmdir()
        (self.folder / "away").rename(self.folder / "tokens")


def make(folder: Path, library: Path, label: str = "chain") -> SoftToken:
    """A token, for this process and those that it starts."""
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\nlog.level = ERROR\n")
    os.environ["SOFTHSM2_CONF"] = str(folder / "softhsm2.conf")
    init = ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "12345678"]
    subprocess.run(init, check=True, capture_output=True, timeout=20)
    (folder / "pin").touch(mode=0o600)
    (folder / "pin").write_text(f"{PIN}\n")
    return SoftToken(folder, label, Place(library, label, folder / "pin"))
