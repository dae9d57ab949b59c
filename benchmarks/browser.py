"""A real browser, driven over a pipe (Chrome DevTools Protocol): real clicks, real keys, and what it complained of.

Nothing but Debian's `chromium` is needed; messages are JSON that ends in a NUL, on the descriptors 3 and 4.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")

PATIENCE = 60.0
"""Seconds for one answer: a page of twenty thousand delegations on a busy machine."""

_KEYS = {
    "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Enter": 13, "Tab": 9, "Home": 36, "End": 35,
    "Escape": 27,
}  # fmt: skip


class BrowserError(Exception):
    """What the browser or a page in it answered instead of a result."""


def program() -> str | None:
    """The browser that is installed here."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), None)


class Browser:
    """One browser, without a window, and with no network but this machine."""

    def __init__(self, path: str, profile: str) -> None:
        ours, theirs = os.pipe(), os.pipe()
        words = [
            *(path, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
            *("--disable-background-networking", "--disable-dev-shm-usage", "--force-device-scale-factor=1"),
            *(
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                f"--user-data-dir={profile}",
                "--remote-debugging-pipe",
            ),
            "about:blank",
        ]
        # bash: descriptors above 9 are beyond a plain sh
        line = ["bash", "-c", f'exec "$@" 3<&{theirs[0]} 4>&{ours[1]}', "bash", *words]
        self.process = subprocess.Popen(
            line, pass_fds=(theirs[0], ours[1]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(theirs[0])
        os.close(ours[1])
        self._in, self._out = ours[0], theirs[1]
        self._ids, self._buffer = itertools.count(1), bytearray()
        self.events: list[dict[str, Any]] = []

    def send(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Ask for something and wait for the answer.

        Raises:
            BrowserError: it refused, or did not answer.
        """
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params} | ({"sessionId": session} if session else {})
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._out, data) :]
        while True:
            answer = self._read()
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserError(f"{method}: {answer['error']['message']}")
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def wait(self, method: str, session: str) -> dict[str, Any]:
        """Wait for an event of a page, which may have come already."""
        while True:
            for event in self.events:
                if event.get("method") == method and event.get("sessionId") == session:
                    self.events.remove(event)
                    return event
            self.events.append(self._read())

    def _read(self) -> dict[str, Any]:
        while (end := self._buffer.find(b"\0")) < 0:
            if not select.select([self._in], [], [], PATIENCE)[0]:
                raise BrowserError("the browser says nothing")
            data = os.read(self._in, 1 << 20)
            if not data:
                raise BrowserError("the browser has ended")
            self._buffer += data
        message: dict[str, Any] = json.loads(self._buffer[:end])
        del self._buffer[: end + 1]
        return message

    def close(self) -> None:
        """End it."""
        try:
            self.send("Browser.close")
        except (BrowserError, OSError):
            self.process.kill()
        self.process.wait(20)
        os.close(self._in)
        os.close(self._out)


class Page:
    """One page, with what it asked the network for and what it complained of."""

    def __init__(self, browser: Browser, *, width: int = 1400, height: int = 1000, dark: bool = False) -> None:
        self._browser = browser
        target = browser.send("Target.createTarget", url="about:blank")["targetId"]
        self.session: str = browser.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.target = target
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask something of this page."""
        return self._browser.send(method, self.session, **params)

    def open(self, place: Path | str) -> None:
        """Load a file, or an address on this machine, and wait until it was loaded."""
        self.ask("Page.navigate", url=place if isinstance(place, str) else place.as_uri())
        self._browser.wait("Page.loadEventFired", self.session)

    def js(self, expression: str) -> Any:
        """Evaluate an expression; a promise is waited for.

        Raises:
            BrowserError: it threw.
        """
        answer = self.ask("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def until(self, expression: str) -> Any:
        """Evaluate an expression until it is true.

        Raises:
            BrowserError: it does not become true.
        """
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if found := self.js(expression):
                return found
            time.sleep(0.02)
        raise BrowserError(f"never true: {expression}")

    def click(self, selector: str) -> None:
        """Click in the middle of an element, as a hand does: whatever lies over it gets the click."""
        place = self.js(
            f"""(() => {{ const one = document.querySelector({json.dumps(selector)});
            if (!one) throw new Error("nothing is " + {json.dumps(selector)});
            one.scrollIntoView({{block: "center", inline: "nearest"}}); const edges = one.getBoundingClientRect();
            return [edges.x + edges.width / 2, edges.y + edges.height / 2]; }})()"""
        )
        self.press(*place)

    def press(self, x: float, y: float) -> None:
        """Move the mouse to a point and click."""
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def key(self, name: str) -> None:
        """Press and release a key."""
        text = {"text": "\r"} if name == "Enter" else {}
        code = {"key": name, "code": name, "windowsVirtualKeyCode": _KEYS[name]}
        self.ask("Input.dispatchKeyEvent", type="keyDown", **code, **text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **code)

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.ask("Input.insertText", text=text)

    def picture(self, file: Path) -> None:
        """Write what is seen as a PNG."""
        file.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))

    @property
    def asked(self) -> list[str]:
        """Addresses that it asked for, its own file aside, and what its policy blocked before it left."""
        failed = [event["params"] for event in self._told("Network.loadingFailed")]
        blocked = {one["requestId"] for one in failed if one.get("blockedReason") == "csp"}
        sent = [event["params"] for event in self._told("Network.requestWillBeSent")]
        urls = [one["request"]["url"] for one in sent if one["requestId"] not in blocked]
        return [url for url in urls if not url.startswith(("file:", "blob:", "about:", "data:"))]

    @property
    def complaints(self) -> list[str]:
        """Errors, exceptions and breaches of the policy."""
        thrown = [
            event["params"]["exceptionDetails"].get("exception", {}).get("description", "exception")
            for event in self._told("Runtime.exceptionThrown")
        ]
        entries = [event["params"]["entry"] for event in self._told("Log.entryAdded")]
        return thrown + [entry["text"] for entry in entries if entry["level"] in {"error", "warning"}]

    def _told(self, method: str) -> list[dict[str, Any]]:
        self.js("0")  # what happened before is read before
        return [one for one in self._browser.events if one.get("method") == method and one["sessionId"] == self.session]

    def close(self) -> None:
        """Close it."""
        self._browser.send("Target.closeTarget", targetId=self.target)


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser with a profile of its own, which is thrown away.

    Raises:
        BrowserError: none is installed.
    """
    path = program()
    if path is None:
        raise BrowserError(f"none of {', '.join(PROGRAMS)} is installed")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        made = Browser(path, profile)
        try:
            yield made
        finally:
            made.close()
