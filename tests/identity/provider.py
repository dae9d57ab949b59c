"""An OpenID provider of one test: keys, tokens, and a web server on loopback that can be made to misbehave."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm, get_default_algorithms

from chain.base64url import b64encode

NOW = 1_800_000_000
ISSUER, US = "https://login.example", "https://chain.example"


@cache
def private(name: str) -> Any:
    """A key, the same one for a name: `rsa…`, `ed…`, `p384…` are of these types, `weak` is RSA, all others P-256."""
    if name == "weak":
        return rsa.generate_private_key(65537, 1024)  # noqa: S505 - it is there to be refused
    if name.startswith("rsa"):
        return rsa.generate_private_key(65537, 2048)
    if name.startswith("ed"):
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP384R1() if name.startswith("p384") else ec.SECP256R1())


def public(name: str, **members: Any) -> dict[str, Any]:
    """Its JWK, with `kid` its name; a member that is None is left out."""
    key = private(name)
    kinds = {ec.EllipticCurvePrivateKey: ECAlgorithm, rsa.RSAPrivateKey: RSAAlgorithm}
    to = next((to for kind, to in kinds.items() if isinstance(key, kind)), OKPAlgorithm)
    made = json.loads(to.to_jwk(key.public_key()))
    made.pop("key_ops", None)
    made |= {"kid": name, "use": "sig"} | members
    return {member: value for member, value in made.items() if value is not None}


def jwks(*names: str) -> bytes:
    return json.dumps({"keys": [public(name) for name in names]}).encode()


def claims(**changes: Any) -> dict[str, Any]:
    """What an ID token says; a claim that is None is left out."""
    said = {"iss": ISSUER, "sub": "dana", "aud": US, "iat": NOW, "exp": NOW + 300, "nonce": "n"} | changes
    return {name: value for name, value in said.items() if value is not None}


def token(said: dict[str, Any] | None = None, key: str = "a", **header: Any) -> str:
    told = {"alg": "ES256", "kid": key, "typ": "JWT"} | header
    told = {name: value for name, value in told.items() if value is not None}
    return signed(json.dumps(told), json.dumps(claims() if said is None else said), key, told.get("alg"))


def signed(header: str, payload: str, key: str = "a", alg: Any = "ES256") -> str:
    text = f"{b64encode(header.encode())}.{b64encode(payload.encode())}"
    known = get_default_algorithms()
    fits = alg if isinstance(alg, str) and alg in known and alg[:2] in {"RS", "PS", "ES", "Ed"} else "ES256"
    return f"{text}.{b64encode(known[fits].sign(text.encode(), private(key)))}"


class Provider:
    """Answers on loopback.

    Attributes:
        keys: its JWK set.
        answer: what it does instead of answering, if anything; it gets the handler.
        asked: paths, in order.
    """

    def __init__(self, *names: str, tls: ssl.SSLContext | None = None) -> None:
        self.tls = tls
        self.keys = jwks(*names)
        self.answer: Callable[[Any], None] | None = None
        self.description: dict[str, Any] = {}
        self.cache_control = ""
        self.asked: list[str] = []
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.asked.append(self.path)
                if provider.answer is not None:
                    provider.answer(self)
                elif self.path.endswith("/.well-known/openid-configuration"):
                    said = {"issuer": provider.issuer, "jwks_uri": provider.uri} | provider.description
                    reply(self, json.dumps(said).encode())
                else:
                    reply(self, provider.keys, cache_control=provider.cache_control)

            do_CONNECT = do_GET  # noqa: N815 - a proxy is asked so

            def log_message(self, *_: object) -> None: ...

        self._handler = Handler
        self._server: ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}" if self.tls is None else f"https://localhost:{self.port}"

    @property
    def uri(self) -> str:
        return f"{self.issuer}/keys"

    def start(self) -> None:
        """Listen, on the same port as before."""
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler)
        self._server.daemon_threads = True
        if self.tls is not None:
            self._server.socket = self.tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Be down."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def reply(handler: Any, body: bytes, status: int = 200, cache_control: str = "", **headers: str) -> None:
    handler.send_response(status)
    for name, value in ({"Cache-Control": cache_control} | headers).items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@contextmanager
def serving(*names: str, tls: ssl.SSLContext | None = None) -> Iterator[Provider]:
    provider = Provider(*names, tls=tls)
    try:
        yield provider
    finally:
        provider.stop()
