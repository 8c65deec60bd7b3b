"""A browser that is driven: keys are pressed and files saved in headless Chromium, over its DevTools pipe."""

from __future__ import annotations

import base64
import itertools
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import F_DUPFD, fcntl
from pathlib import Path
from typing import Any, BinaryIO, Final

from tests.browser import BROWSER

_CODES: Final = {**{str(n): (f"Digit{n}", 48 + n) for n in range(10)}, " ": ("Space", 32)}
_WAYS: Final = ("Left", "Up", "Right", "Down")
_NAMED: Final = {"Enter": 13, "Backspace": 8} | {f"Arrow{way}": 37 + i for i, way in enumerate(_WAYS)}
_SHIFTED: Final = dict(zip("01234", ")!@#$", strict=True))
_SHIFT: Final = 8


class Tab:
    """A page in the browser; its scripts' exceptions and what its policy refused are kept in ``faults``."""

    def __init__(self, asks: BinaryIO, answers: BinaryIO, downloads: Path) -> None:
        self._asks, self._answers, self._numbers = asks, answers, itertools.count(1)
        self._session, self._loaded, self.downloads, self.faults = "", False, downloads, list[str]()
        where = {"behavior": "allow", "downloadPath": str(downloads), "eventsEnabled": False}
        self.send("Browser.setDownloadBehavior", **where)
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM", "Performance"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> Any:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        if self._session and not method.startswith(("Browser.", "Target.")):
            message["sessionId"] = self._session
        self._asks.write(json.dumps(message).encode() + b"\0")
        self._asks.flush()
        while (answer := self._next()).get("id") != number:
            self._note(answer)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def _next(self) -> dict[str, Any]:
        message = bytearray()
        while not message.endswith(b"\0"):
            part = self._answers.read(1)
            assert part, "the browser ended"
            message += part
        return dict(json.loads(bytes(message[:-1])))

    def _note(self, event: dict[str, Any]) -> None:
        self._loaded |= event.get("method") == "Page.loadEventFired"
        if event.get("method") == "Runtime.exceptionThrown":
            self.faults.append(json.dumps(event["params"]["exceptionDetails"]))
        if event.get("method") == "Log.entryAdded":
            self.faults.append(event["params"]["entry"]["text"])

    def open(self, page: Path) -> None:
        self._go("Page.navigate", url=page.as_uri())

    def reload(self) -> None:
        self._go("Page.reload")

    def _go(self, method: str, **params: Any) -> None:
        """Start to load a page, and wait until it is there."""
        self._loaded = False
        self.send(method, **params)
        while not self._loaded:
            self._note(self._next())

    def run(self, script: str) -> Any:
        """The value of an expression, awaited."""
        answer = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = 20) -> None:
        until = time.monotonic() + seconds
        while not self.run(script):
            assert time.monotonic() < until, script
            time.sleep(0.02)

    def press(self, *keys: str, shift: bool = False) -> None:
        """Press keys as a hand does: trusted events, by their names in KeyboardEvent.key."""
        for key in keys:
            named = (key, _NAMED[key]) if key in _NAMED else (f"Key{key.upper()}", ord(key[0].upper()))
            code, number = _CODES.get(key, named)
            said = _SHIFTED.get(key, key.upper()) if shift and len(key) == 1 else key
            text = {"text": "\r" if key == "Enter" else said} if key == "Enter" or len(key) == 1 else {}
            event = {"key": said, "code": code, "windowsVirtualKeyCode": number}
            event["modifiers"] = _SHIFT if shift else 0
            self.send("Input.dispatchKeyEvent", type="keyDown", **event, **text)
            self.send("Input.dispatchKeyEvent", type="keyUp", **event)

    def click(self, selector: str) -> None:
        """Click the middle of an element with the mouse."""
        place = self.run(
            f"(() => {{ const b = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        at = {"x": place[0], "y": place[1], "button": "left", "clickCount": 1}
        self.send("Input.dispatchMouseEvent", type="mousePressed", **at)
        self.send("Input.dispatchMouseEvent", type="mouseReleased", **at)

    def give_file(self, selector: str, path: Path) -> None:
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", nodeId=node, files=[str(path)])

    def downloaded(self, name: str, seconds: float = 20) -> Path:
        """A file that was saved, once it is whole."""
        until = time.monotonic() + seconds
        while not (self.downloads / name).exists():
            assert time.monotonic() < until, f"{name} was not saved"
            time.sleep(0.02)
        return self.downloads / name

    def resize(self, width: int, height: int) -> None:
        window = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **window)

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))


@contextmanager
def driven_browser(folder: Path, *options: str) -> Iterator[Tab]:
    """A browser of its own; what it saves lies in ``downloads`` in the folder."""
    assert BROWSER is not None
    (asked, asks), (answers, answered) = os.pipe(), os.pipe()
    command = [
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run",
        f"--user-data-dir={folder / 'browser'}", *options, "about:blank",
    ]  # fmt: skip
    # The browser reads what it is asked from 3 and answers to 4; the ends are moved out of the way.
    ends = [fcntl(end, F_DUPFD, 20) for end in (asked, answered)]
    shell = ["bash", "-c", f'exec "$@" 3<&{ends[0]} 4>&{ends[1]}', "bash", *command]
    process = subprocess.Popen(shell, pass_fds=ends, stderr=subprocess.DEVNULL)
    for end in (asked, answered, *ends):
        os.close(end)
    (folder / "downloads").mkdir(exist_ok=True)
    with os.fdopen(asks, "wb") as questions, os.fdopen(answers, "rb") as said:
        try:
            yield Tab(questions, said, folder / "downloads")
        finally:
            process.terminate()
            process.wait(30)
