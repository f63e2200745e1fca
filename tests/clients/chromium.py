"""Headless Chromium over its DevTools protocol, with a virtual authenticator: as much of a browser as a passkey needs. No driver program,
no browser of a package's own: Debian's `chromium`, whose absence skips the tests that want it."""

import base64
import hashlib
import itertools
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
from urllib.parse import urlparse
from urllib.request import urlopen

import websocket
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate


def binary():
    """Where Chromium is; None where there is none."""
    names = ["chromium", "chromium-browser", "google-chrome"]
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)


def key_of(url):
    """The certificate's public key at an address, as Chromium's list of excepted keys names it."""
    at = urlparse(url)
    pem = ssl.get_server_certificate((at.hostname, at.port or 443))
    key = load_pem_x509_certificate(pem.encode()).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(key).digest()).decode()


class Chromium:
    """One browser with one page. `trusted`: addresses whose certificates are taken, since the site's authority is nobody else's."""

    def __init__(self, trusted):
        self.folder = tempfile.mkdtemp(prefix="spine-chromium-")
        keys = ",".join({key_of(url) for url in trusted})
        self.process = subprocess.Popen(
            [
                binary(),
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--no-proxy-server",
                "--remote-debugging-port=0",
                "--remote-allow-origins=*",
                f"--user-data-dir={self.folder}",
                f"--ignore-certificate-errors-spki-list={keys}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.numbers, self.socket = itertools.count(1), None
        try:
            self.socket = websocket.create_connection(self.page(), timeout=30, suppress_origin=True)
        except BaseException:
            self.close()
            raise

    def page(self):
        """The page's own DevTools address, once the browser has said on which port it listens."""
        said = os.path.join(self.folder, "DevToolsActivePort")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            try:
                with open(said, encoding="ascii") as file:
                    port = int(file.readline())
                with urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
                    pages = [one for one in json.load(answer) if one["type"] == "page"]
                if pages:
                    return pages[0]["webSocketDebuggerUrl"]
            except (OSError, ValueError):
                pass
            time.sleep(0.1)
        raise AssertionError("Chromium did not start within 30 s")

    def close(self):
        if self.socket:
            self.socket.close()
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def ask(self, method, **params):
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": params}))
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            told = json.loads(self.socket.recv())
            if told.get("id") == number:
                assert "error" not in told, f"{method}: {told.get('error')}"
                return told["result"]
        raise AssertionError(f"{method} was not answered within 30 s")

    def run(self, script):
        """The value of an expression on the page; None while a page is on its way."""
        told = self.ask("Runtime.evaluate", expression=script, returnByValue=True, userGesture=True, awaitPromise=True)
        return None if "exceptionDetails" in told else told["result"].get("value")

    def open(self, url):
        self.ask("Page.navigate", url=url)

    @property
    def url(self):
        """Where the page is. An address that nobody serves counts: it is asked of the history, not of the page."""
        told = self.ask("Page.getNavigationHistory")
        return told["entries"][told["currentIndex"]]["url"]

    def wait(self, what, condition, seconds=20):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                value = condition()
            except (AssertionError, socket.timeout):
                value = None
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError(f"waited {seconds} s for {what}; the page at {self.url} says: {self.text()}")

    def see(self, selector):
        """Waits until the page shows this."""
        there = f"(e => !!e && !e.hidden)(document.querySelector({json.dumps(selector)}))"
        self.wait(selector, lambda: self.run(f"document.readyState === 'complete' && {there}"))

    def click(self, selector):
        self.see(selector)
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def fill(self, selector, value):
        self.see(selector)
        self.run(f"document.querySelector({json.dumps(selector)}).value = {json.dumps(value)}")

    def text(self):
        return self.run("document.body ? document.body.innerText : ''")

    def authenticator(self, **more):
        """Plugs a passkey device in: it is the person's own, and verifies them."""
        self.ask("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
            **more,
        }
        return self.ask("WebAuthn.addVirtualAuthenticator", options=options)["authenticatorId"]
