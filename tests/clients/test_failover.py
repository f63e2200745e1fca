"""Real clients while nodes are killed: what was acknowledged stays, nothing comes twice, and only 503 or a closed
connection is seen on the way. Promises P1, P3 and P9."""

import threading
import time

import mesh_client
import pytest
import requests
import urllib3
from mesh import ONE, TWO, token, unique, wait_for

FINE = (requests.ConnectionError, requests.Timeout)
# The client never repeats a first chunk; a 503 to one comes out of its HTTP layer as it is.
FAILURES = (requests.RequestException, mesh_client.MeshError, urllib3.exceptions.HTTPError)


def only_503(error):
    """The outage as a client may see it: 503 with Retry-After, or no answer."""
    if isinstance(error, requests.HTTPError):
        assert error.response.status_code == 503, error.response.text
        assert "retry-after" in error.response.headers
    elif isinstance(error, urllib3.exceptions.ResponseError):
        assert "503" in str(error)
    else:
        assert isinstance(error, (*FINE, urllib3.exceptions.HTTPError)), repr(error)


class Sender(threading.Thread):
    """Sends one message after another through one node until told to stop."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client, self.sent, self.tried, self.errors = client, {}, set(), []
        self.over = threading.Event()

    def run(self):
        while not self.over.is_set():
            body = unique("body").encode()
            self.tried.add(body)
            try:
                self.sent[self.client.send_message(TWO, body, workflow_id="FREE")] = body
            except FAILURES as error:
                self.errors.append(error)
                time.sleep(0.05)

    def more(self, count):
        goal = len(self.sent) + count
        wait_for("messages to be accepted again", lambda: len(self.sent) >= goal, 30)

    def stop(self):
        self.over.set()
        self.join(70)
        assert not self.is_alive()


def collect(client):
    """Everything in mailbox two, each acknowledged after it was read."""
    got = {}
    for message in client.iterate_messages():
        assert message.id() not in got
        got[message.id()] = message.read()
        message.acknowledge()
    return got


@pytest.mark.parametrize("victim", [1, 2, 3])
def test_a_node_dies_while_clients_send(site, client, victim):
    senders = [Sender(client(ONE, node, timeout=10)) for node in range(3) if node != victim - 1]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.more(20)
    site.kill(victim)
    for sender in senders:
        sender.more(50)
        sender.stop()
    for error in [e for s in senders for e in s.errors]:
        only_503(error)
    accepted = {m: b for s in senders for m, b in s.sent.items()}
    tried = set().union(*(s.tried for s in senders))
    site.wait_ready()
    # The node that died tells the same story as the others.
    got = collect(client(TWO, victim - 1))
    assert {m: got.get(m) for m in accepted} == accepted, "acknowledged and lost"
    assert set(got.values()) <= tried and len(set(got.values())) == len(got), "never sent, or there twice"
    assert client(TWO).list_messages() == []


def test_a_reader_goes_on_while_a_node_dies(site, client):
    sent = {client(ONE).send_message(TWO, b"%d" % n, workflow_id="FREE"): b"%d" % n for n in range(120)}
    reader = client(TWO, 1, timeout=10, max_retries=8)
    got = {}
    for n, message in enumerate(sent):
        if n == 40:
            site.kill(1)
        if n == 80:
            site.wait_ready()
            site.kill(3)
        fetched = reader.retrieve_message(message)
        got[message] = fetched.read()
        fetched.acknowledge()
    assert got == sent
    site.wait_ready()
    assert client(TWO, 2).list_messages() == []


def test_13_the_same_token_comes_again_after_a_503(site):
    """Checklist line 13: a request answered 503 leaves its token unused."""
    with site.raw() as raw:
        message = raw.sent(ONE, TWO)
    site.kill(2)
    site.kill(3)
    once = token(TWO)
    seen = []
    with site.raw(0) as raw:

        def again():
            try:
                answer = raw.acknowledge(TWO, message, auth=once, timeout=20)
            except FINE:
                return None
            seen.append(answer.status_code)
            assert answer.status_code in (200, 503), answer.text
            if answer.status_code == 503:
                assert "retry-after" in answer.headers
            return answer.status_code == 200

        wait_for("the acknowledgement to pass", again, 90)
    assert seen[-1] == 200
    site.wait_ready()
    with site.raw(2) as raw:
        assert raw.list(TWO) == []


def test_all_nodes_die_at_once_and_nothing_is_lost(site, client):
    sent = {client(ONE).send_message(TWO, b"%d" % n, workflow_id="FREE"): b"%d" % n for n in range(30)}
    for node in (1, 2, 3):
        site.kill(node)
    site.wait_ready()
    assert collect(client(TWO, 1)) == sent
