"""A real browser without a window, asked through its own debugging protocol."""

import base64
import json
import shutil
import subprocess
import time
from itertools import count

import requests
from websockets.sync.client import connect

BROWSER = shutil.which("chromium")


class Page:
    """A tab of a browser that ends with the block."""

    def __init__(self, folder):
        self._folder, self._log = folder / "browser", folder / "browser.log"
        with self._log.open("w") as out:
            self._process = subprocess.Popen(
                [
                    BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
                    "--disable-dev-shm-usage", f"--user-data-dir={self._folder}", "--window-size=1280,720",
                    "--remote-debugging-port=0", "about:blank",
                ],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip
        self._numbers = count(1)
        self._socket = None

    def __enter__(self):
        deadline = time.monotonic() + 60
        while not (pages := self._pages()):
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.2)
        self._socket = connect(pages[0]["webSocketDebuggerUrl"], max_size=1 << 26, open_timeout=30)
        return self

    def __exit__(self, *_):
        if self._socket is not None:
            self._socket.close()
        self._process.terminate()
        self._process.wait(timeout=30)

    def _pages(self):
        """The tabs it has; none while it starts."""
        try:
            port = (self._folder / "DevToolsActivePort").read_text().splitlines()[0]
            listing = requests.get(f"http://127.0.0.1:{port}/json/list", timeout=5).json()
        except (FileNotFoundError, IndexError, requests.RequestException):
            return []
        return [page for page in listing if page["type"] == "page"]

    def ask(self, method, **parameters):
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (answer := json.loads(self._socket.recv(timeout=60))).get("id") != number:
            continue
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, url, cookies):
        """Go to an address with these cookies."""
        for name, value in cookies.items():
            self.ask("Network.setCookie", name=name, value=value, url=url)
        self.ask("Page.navigate", url="about:blank")
        self.ask("Page.navigate", url=url)

    def text(self):
        """What the page shows."""
        return self.ask("Runtime.evaluate", expression="document.body ? document.body.innerText : ''")["result"]["value"]

    def shows(self, *words, within_s=90):
        """Wait until the page shows all of these words."""
        deadline = time.monotonic() + within_s
        while missing := [word for word in words if word not in self.text()]:
            assert time.monotonic() < deadline, f"{missing} not in: {self.text()}"
            time.sleep(1)

    def picture(self, file):
        """Write what it shows as a PNG."""
        file.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))
