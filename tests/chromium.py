"""A headless Chromium driven over its DevTools pipe: no driver, no network, no port."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
_FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --remote-debugging-pipe"
)

# Elements whose right edge lies beyond the page, or whose content is wider than they are and would be cut or scrolled.
CUT_OFF = """
[...document.querySelectorAll('body *')].filter(element => {
  const box = element.getBoundingClientRect();
  if (!box.width) return false;
  const inner = element.closest('svg') && element.tagName !== 'svg';
  return box.right > innerWidth + 1 || box.left < -1 || (!inner && element.scrollWidth > element.clientWidth + 1
      && getComputedStyle(element).display !== 'inline');
}).map(element => element.tagName + ' ' + (element.id || element.className.baseVal || element.className))
"""
# How far the page's colours of text stand out from its paper.
CONTRAST = """
['--ink', '--muted', '--good', '--warn', '--link'].map(name => {
  const style = getComputedStyle(document.documentElement);
  const light = colour => {
    const parts = [1, 3, 5].map(i => parseInt(colour.trim().slice(i, i + 2), 16) / 255)
      .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2] + 0.05;
  };
  const pair = [light(style.getPropertyValue(name)), light(style.getPropertyValue('--paper'))];
  return Math.max(...pair) / Math.min(...pair);
})
"""


class Chromium:
    """`with Chromium() as browser: browser.open(page, width=390); browser.run("document.title")`."""

    def __enter__(self) -> "Chromium":
        self.messages: list[str] = []
        self._number = 0
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        ours, theirs = os.pipe(), os.pipe()
        # The browser reads commands from 3 and writes answers to 4; high numbers are not overwritten by these.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 20) for end in (ours[0], theirs[1])]
        self._commands, self._answers = ours[1], theirs[0]
        self._process = subprocess.Popen(
            [PROGRAM, *_FLAGS.split(), f"--user-data-dir={self._folder.name}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            close_fds=False,
            preexec_fn=lambda: [os.dup2(end, number) for number, end in enumerate(ends, start=3)],
        )
        for end in (*ends, ours[0], theirs[1]):
            os.close(end)
        self._buffer = b""
        self._session: str | None = None
        targets = self._call("Target.getTargets")["targetInfos"]
        target = next(item["targetId"] for item in targets if item["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self._call(f"{domain}.enable")
        return self

    def __exit__(self, *error: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._commands)
        os.close(self._answers)
        self._folder.cleanup()

    def open(self, page: Path | str, *, width: int, dark: bool = False) -> None:
        """Show a file or an address at a width in CSS pixels; what the console says is added to `messages`."""
        self._call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 700
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])
        self._call("Page.navigate", url=page if isinstance(page, str) else page.resolve().as_uri())
        while self._receive().get("method") != "Page.loadEventFired":
            pass

    def choose(self, selector: str, path: Path) -> None:
        """Give a file to an input of the page, as its dialogue does."""
        root = self._call("DOM.getDocument")["root"]["nodeId"]
        node = self._call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._call("DOM.setFileInputFiles", files=[str(path.resolve())], nodeId=node)

    def picture(self, path: Path) -> None:
        """Write what is shown as a PNG: for people."""
        shot = self._call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression on the page; of a promise, what it comes to."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def _call(self, method: str, **params: Any) -> Mapping[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def _receive(self) -> Mapping[str, Any]:
        while b"\0" not in self._buffer:
            chunk = os.read(self._answers, 1 << 16)
            assert chunk, "the browser has gone"
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\0")
        message = json.loads(line)
        if message.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.messages.append(json.dumps(message["params"]))
        return message
