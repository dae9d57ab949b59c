"""A server that answers as the transit engine does, to the two calls that are made of it, or wrongly where told to.

What it answers was compared with the engine of Vault 1.21 itself.
"""

from __future__ import annotations

import json
import ssl
import threading
from base64 import b64decode as standard_decode
from base64 import b64encode as standard_encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chain.base64url import b64encode
from chain.key import KeySigner

TOKEN = "hvs.sentinel-token-91b2c7"


class Transit:
    """One key of the engine, of several versions, and how the server is to misbehave."""

    def __init__(self, kind: str = "ecdsa-p256") -> None:
        self.kind = kind
        self.versions: list[Any] = []
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.told: dict[str, Any] = {}
        self.answers: dict[str, bytes] = {}
        self.status = 200
        self.rotate()

    def rotate(self) -> None:
        made = (
            ed25519.Ed25519PrivateKey.generate() if self.kind == "ed25519" else ec.generate_private_key(ec.SECP256R1())
        )
        self.versions.append(made)

    def signer(self, version: int = 0) -> KeySigner:
        return KeySigner(self.versions[version])

    def key(self) -> dict[str, Any]:
        def public(held: Any) -> str:
            if self.kind == "ed25519":
                return standard_encode(held.public_key().public_bytes_raw()).decode()
            return str(held.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())

        kept = {"creation_time": "2026-01-01T00:00:00Z", "name": self.kind}
        return {
            "name": "issuer",
            "type": self.kind,
            "latest_version": len(self.versions),
            "keys": {str(place): kept | {"public_key": public(held)} for place, held in enumerate(self.versions, 1)},
            "exportable": False,
            "allow_plaintext_backup": False,
            "supports_signing": True,
            "derived": False,
            "deletion_allowed": False,
            "imported_key": False,
            **self.told,
        }

    def sign(self, asked: dict[str, Any]) -> dict[str, Any]:
        version = asked["key_version"]
        found = self.signer(version - 1).sign(standard_decode(asked["input"]))
        if self.kind == "ed25519":
            return {"signature": f"vault:v{version}:{standard_encode(found).decode()}", "key_version": version}
        assert (asked["marshaling_algorithm"], asked["hash_algorithm"]) == ("jws", "sha2-256")
        return {"signature": f"vault:v{version}:{b64encode(found)}", "key_version": version}


@contextmanager
def serving(transit: Transit, pair: tuple[Path, Path] | None = None) -> Iterator[str]:
    """Serve it, over TLS where there is a certificate with its key, and give its address."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self, call: str, value: Any) -> None:
            transit.asked.append((self.command, self.path, dict(self.headers.items())))
            allowed = self.headers["X-Vault-Token"] == TOKEN and self.path.startswith("/v1/transit/")
            status = transit.status if allowed else 403
            body = transit.answers.get(
                call, json.dumps({"data": value} if status == 200 else {"errors": [TOKEN]}).encode()
            )
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Location", "http://elsewhere.example/")
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self._answer("key", transit.key())

        def do_POST(self) -> None:
            self._answer("sign", transit.sign(json.loads(self.rfile.read(int(self.headers["Content-Length"])))))

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if pair is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign] # a client that refuses is wanted here
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"{'http' if pair is None else 'https'}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
