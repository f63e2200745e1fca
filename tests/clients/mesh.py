"""What the tests share: the running demo site, tokens made by hand, and raw calls over mutual TLS."""

import datetime as dt
import hashlib
import hmac
import itertools
import json
import os
import ssl
import subprocess
import time
import uuid

import requests
from requests.adapters import HTTPAdapter

V1 = "application/vnd.mesh.v1+json"
V2 = "application/vnd.mesh.v2+json"

ONE, TWO, THREE = "X26ABC1", "X26ABC2", "X26ABC3"

_counter = itertools.count()


def wait_for(what, condition, seconds=30):
    """Polls until the condition holds; its last value is returned."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            value = condition()
        except (requests.RequestException, OSError, ValueError):
            value = None
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.05)


def token(mailbox, password="password", key="TestKey", nonce=None, count=0, at=None):
    """An Authorization value, as a client makes it. `at` is a time or the twelve digits themselves."""
    nonce = nonce or str(uuid.uuid4())
    if at is None:
        at = dt.datetime.now(dt.timezone.utc)
    stamp = at if isinstance(at, str) else at.strftime("%Y%m%d%H%M")
    text = f"{mailbox}:{nonce}:{count}:{password}:{stamp}"
    digest = hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()
    return f"NHSMESH {mailbox}:{nonce}:{count}:{stamp}:{digest}"


def unique(prefix="test"):
    return f"{prefix}-{next(_counter)}-{uuid.uuid4().hex[:8]}"


class Tls(HTTPAdapter):
    """Mutual TLS, by default as requests does it; the highest version can be held down."""

    def __init__(self, site, client=0, highest=None, **kwargs):
        self.context = site.context(client, highest)
        super().__init__(**kwargs)

    def init_poolmanager(self, *args, **kwargs):
        return super().init_poolmanager(*args, ssl_context=self.context, **kwargs)


class Site:
    """A running `spine demo`, by its demo.json."""

    def __init__(self, folder, binary):
        self.folder, self.binary = folder, binary
        self.reload()

    def reload(self):
        with open(os.path.join(self.folder, "demo.json"), encoding="utf-8") as file:
            self.demo = json.load(file)

    def path(self, relative):
        return os.path.join(self.folder, relative)

    @property
    def size(self):
        return len(self.demo["nodes"])

    @property
    def ca(self):
        return self.path(self.demo["ca"])

    def cert(self, client=0):
        one = self.demo["clients"][client]
        return self.path(one["cert"]), self.path(one["key"])

    def url(self, node=0):
        return self.demo["nodes"][node % self.size]["supplier"].rstrip("/")

    def context(self, client=0, highest=None):
        context = ssl.create_default_context(cafile=self.ca)
        if client is not None:
            context.load_cert_chain(*self.cert(client))
        if highest:
            context.maximum_version = highest
        return context

    def raw(self, node=0, client=0, highest=None):
        return Raw(self, node, client, highest)

    def kill(self, node_id):
        subprocess.run([self.binary, "demo", "kill", str(node_id), "--dir", self.folder], check=True, timeout=30)

    def start(self, node_id):
        subprocess.run([self.binary, "demo", "start", str(node_id), "--dir", self.folder], timeout=30, check=False)

    def ready(self, node):
        """True if the node answers a read that needs the whole site's agreement."""
        with self.raw(node) as raw:
            return raw.get(f"/messageexchange/{ONE}/inbox", timeout=5).status_code == 200

    def wait_ready(self, seconds=60):
        for node in range(self.size):
            wait_for(f"node {node + 1} to serve", lambda node=node: self.ready(node), seconds)

    def drain(self):
        """Acknowledges whatever waits in the demo's mailboxes."""
        with self.raw() as raw:
            for mailbox in (ONE, TWO, THREE):
                while ids := raw.get(f"/messageexchange/{mailbox}/inbox?max_results=500").json()["messages"]:
                    for message in ids:
                        raw.acknowledge(mailbox, message)


class Raw:
    """Calls as they stand on the wire; no retry, no help."""

    def __init__(self, site, node=0, client=0, highest=None):
        self.url = site.url(node)
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.mount("https://", Tls(site, client, highest))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.session.close()

    def call(self, method, path, accept=V2, auth="right", headers=None, **kwargs):
        """`auth`: "right" makes a fresh token for the path's mailbox; None sends none; else it is the value itself."""
        send = {"Accept": accept, **(headers or {})}
        if auth == "right":
            parts = path.split("/")
            send["Authorization"] = token(parts[2].split("?")[0]) if len(parts) > 2 else None
        elif auth is not None:
            send["Authorization"] = auth
        kwargs.setdefault("timeout", 60)
        return self.session.request(method, self.url + path, headers=send, **kwargs)

    def get(self, path, **kwargs):
        return self.call("GET", path, **kwargs)

    def post(self, path, data=b"", **kwargs):
        return self.call("POST", path, data=data, **kwargs)

    def put(self, path, **kwargs):
        return self.call("PUT", path, **kwargs)

    def send(self, sender, recipient, data=b"hello", workflow="FREE", headers=None, **kwargs):
        """POSTs a message; headers with the value None are left out."""
        head = {"Mex-To": recipient, "Mex-WorkflowID": workflow, "Content-Type": "text/plain", **(headers or {})}
        head = {name: value for name, value in head.items() if value is not None}
        return self.post(f"/messageexchange/{sender}/outbox", data=data, headers=head, **kwargs)

    def sent(self, *args, **kwargs):
        """Sends and gives the message's id."""
        answer = self.send(*args, **kwargs)
        assert answer.status_code == 202, (answer.status_code, answer.text)
        body = answer.json()
        return body.get("message_id") or body["messageID"]

    def list(self, mailbox, query="", **kwargs):
        return self.get(f"/messageexchange/{mailbox}/inbox{query}", **kwargs).json()["messages"]

    def fetch(self, mailbox, message, chunk=None, **kwargs):
        tail = f"/{chunk}" if chunk is not None else ""
        return self.get(f"/messageexchange/{mailbox}/inbox/{message}{tail}", **kwargs)

    def acknowledge(self, mailbox, message, **kwargs):
        return self.put(f"/messageexchange/{mailbox}/inbox/{message}/status/acknowledged", **kwargs)

    def track(self, mailbox, message, **kwargs):
        return self.get(f"/messageexchange/{mailbox}/outbox/tracking?messageID={message}", **kwargs)


def check_error(answer, status, version=2, event=None, code=None, text=None):
    """The error shapes of MESH §12.1 and §12.2."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    body = answer.json()
    if version == 1:
        got = body["errorEvent"], body["errorCode"], body["errorDescription"]
    else:
        first = body["detail"][0]
        got = first.get("event"), first.get("code"), first["msg"]
    if event is not None:
        assert got[0] == event, body
    if code is not None:
        assert got[1] == code, body
    if text is not None:
        assert text in got[2], body
    return body


def check_validation(answer, place, name=None):
    """The validation shape of MESH §12.3."""
    assert answer.status_code == 400, (answer.status_code, answer.text)
    first = answer.json()["detail"][0]
    assert first["loc"][0] == place and "msg" in first, first
    if name:
        assert first["loc"][1].lower() == name.lower(), first
