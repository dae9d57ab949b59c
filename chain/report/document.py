"""The page as one file.

The law of this file: everything is inside, and nothing else can be loaded or run. The policy of the page names the
digests of its own script and style; the data stand in elements that no browser runs, with every character escaped that
could end one.
"""

from __future__ import annotations

import json
import re
import zlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

SCRIPTS = ("base", "model", "filters", "tree", "overview", "panel", "lists", "proof", "save", "main")
"""Parts of the script, in order; together they are one function."""

STYLES = ("page", "graph", "print")

LIVE = "live"
"""What the page has beside, as script and as style, where a server feeds it; a file asks nobody."""

_ESCAPED = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
_PLACE = re.compile(r"\[\[(\w+)\]\]")


def embedded(value: object) -> str:
    """Return a value as JSON that cannot end the element that it stands in; beyond ASCII all is escaped."""
    return json.dumps(value, separators=(",", ":")).translate(_ESCAPED)


def page(told: Mapping[str, Any], records: Sequence[bytes] = (), log: Mapping[str, Any] | None = None) -> str:
    """Return the page.

    Args:
        told: from `chain.report.content`.
        records: those that it shows, in their exact bytes.
        log: from `chain.report.proof`; None where nobody signed for them.
    """
    held = b64encode(zlib.compress(b"\n".join(records), 6)).decode()
    return _filled(SCRIPTS, STYLES, policy=policy(), data=embedded(told), log=embedded(log), records=held)


def live_page() -> str:
    """Return the same page without any fact: it asks the server that it came from."""
    scripts, styles = (*SCRIPTS, LIVE), (*STYLES, LIVE)
    return _filled(scripts, styles, policy=live_policy(), data="null", log="null", records="")


def policy() -> str:
    """Return the page's Content-Security-Policy: nothing is loaded, and nothing runs but what is in this folder."""
    return _policy(SCRIPTS, STYLES)


def live_policy() -> str:
    """Return that of the live page, which may ask its own server and nobody else."""
    return f"{_policy((*SCRIPTS, LIVE), (*STYLES, LIVE))}; connect-src 'self'"


def _policy(scripts: Sequence[str], styles: Sequence[str]) -> str:
    script, style = _digest(_joined(scripts, "js")), _digest(_joined(styles, "css"))
    return f"default-src 'none'; script-src {script}; style-src {style}; base-uri 'none'; form-action 'none'"


def _filled(scripts: Sequence[str], styles: Sequence[str], **fields: str) -> str:
    fields |= {"style": _joined(styles, "css"), "script": _joined(scripts, "js")}
    parts = _PLACE.split(_text("page.html"))  # in one pass: a stranger may be named like a place
    parts[1::2] = [fields[name] for name in parts[1::2]]
    return "".join(parts)


@cache
def _joined(names: Sequence[str], ending: str) -> str:
    """Return the parts as one text: a script is one function, so that no name in it is the page's."""
    text = "\n".join(_text(f"{name}.{ending}") for name in names)
    return f'"use strict";\n(() => {{\n{text}}})();\n' if ending == "js" else text


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
