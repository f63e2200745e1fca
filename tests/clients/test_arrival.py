"""Phased arrival (docs/arriving.md): a second site of its own stands for the system that is being replaced, and requests are handed to
it by organisation and service over mutual TLS, switched at run time with real clients at work. Promises P4, P5 and P6."""

import hashlib
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
import uuid

import mesh_client
import pytest
import requests
from mesh import ONE, THREE, TWO, Site, check_error, token, unique, wait_for
from own_site import free_port
from test_token_service import Application

PATIENT = "/personal-demographics/FHIR/R4/Patient/9000000009"


class Old:
    """The system that is being replaced: a site of one node."""

    def __init__(self, binary):
        self.binary, self.folder = binary, tempfile.mkdtemp(prefix="spine-old-")
        self.port = os.environ.get("SPINE_OLD_PORT") or str(free_port())
        self.process = None

    def __enter__(self):
        command = [self.binary, "demo", "--dir", self.folder, "--port", self.port, "--nodes", "1", "--people", "1"]
        command += ["--no-restart"]
        with open(os.path.join(self.folder, "log"), "w", encoding="utf-8") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_for("the old system", lambda: os.path.exists(os.path.join(self.folder, "demo.json")), 120)
        self.site = Site(self.folder, self.binary)
        return self

    def up(self):
        """Running, and its mailboxes empty."""
        try:
            self.site.drain()
        except requests.ConnectionError:
            self.site.start(1)
            self.site.reload()
            self.site.wait_ready()
            self.site.drain()

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


class New:
    """The site that takes its place: the tests' own."""

    def __init__(self, site, old):
        self.site, self.old = site, old
        self.configs = [os.path.join(site.folder, f"node-{node['id']}", "spine.toml") for node in site.demo["nodes"]]
        self.before = [open(path, encoding="utf-8").read() for path in self.configs]

    def spine(self, *args, node=0, check=True):
        socket = self.site.demo["nodes"][node]["socket"]
        done = subprocess.run(
            [self.site.binary, *args, "--socket", socket], capture_output=True, text=True, timeout=60, check=False
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    def configure(self, **changes):
        """Tells every node where the old system is; the files are read again, live."""
        demo, (cert, key) = self.old.site.demo, self.old.site.cert()
        mesh, apis = demo["nodes"][0]["supplier"], demo["nodes"][0]["internet"]
        keys = {"ca": self.old.site.ca, "cert": cert, "key": key, "mesh": mesh, "pds": apis, "identity": apis}
        keys |= {"patience": "5s", **changes}
        section = "\n[upstream]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in keys.items())
        self.write([text + section for text in self.before])

    def write(self, texts):
        for node, (path, text) in enumerate(zip(self.configs, texts, strict=True)):
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
            self.spine("config", "reload", node=node)

    def set(self, service, party, to, *options):
        told = self.spine("arrival", "set", service, "--party", party, "--to", to, *options, "--output", "json")
        told = json.loads(told.stdout)

        def knows(node):
            shown = self.show(service, party, node)
            return (shown["to"], shown["hold"]) == (told["to"], told["hold"])

        # Each node acts on it as soon as it has applied it: a moment later on the others.
        for node in range(self.site.size):
            wait_for(f"node {node + 1} to know", lambda node=node: knows(node))

    def show(self, service, party, node=0):
        return json.loads(self.spine("arrival", "show", service, "--party", party, "--output", "json", node=node).stdout)

    def forget(self):
        for row in json.loads(self.spine("arrival", "list", "--output", "json").stdout)["items"]:
            self.set(row["service"], row["party"], "none")

    def metric(self, name, node=0, **labels):
        text = requests.get(self.site.demo["nodes"][node]["metrics"], timeout=10).text
        values = 0
        for line in text.splitlines():
            if line.startswith(name + "{") and all(f'{k}="{v}"' in line for k, v in labels.items()):
                values += float(line.rsplit(" ", 1)[1])
        return values


@pytest.fixture(scope="module")
def old(site):
    with Old(site.binary) as old:
        yield old


@pytest.fixture
def new(site, old):
    old.up()
    new = New(site, old)
    try:
        new.configure()
        yield new
        new.forget()
    finally:
        new.write(new.before)


def pds(site, bearer, node=0):
    headers = {"Authorization": f"Bearer {bearer}", "X-Request-ID": str(uuid.uuid4())}
    url = site.demo["nodes"][node]["internet"] + PATIENT
    return requests.get(url, headers=headers, verify=site.ca, timeout=30)


def is_relayed(answer):
    return "spine" in answer.headers.get("via", "")


def test_an_organisation_moves_there_and_back_with_its_mailboxes(site, old, new, client):
    new.set("mesh", "X26", "relay")
    one, two = client(ONE), client(TWO, node=1)
    assert one.handshake() is not None
    body = os.urandom(3 << 20)
    message = one.send_message(TWO, body, workflow_id="FREE", subject="Über")
    with old.site.raw() as there, site.raw() as here:
        assert there.list(TWO) == [message], "it lies in the old system"
        answer = there.fetch(TWO, message)
        assert hashlib.sha256(answer.content).digest() == hashlib.sha256(body).digest()
        listed = here.get(f"/messageexchange/{TWO}/inbox")
        assert listed.json()["messages"] == [message] and is_relayed(listed)
        assert two.retrieve_message(message).read() == body
        assert here.track(ONE, message).json() == there.track(ONE, message).json()
        two.acknowledge_message(message)
        assert there.list(TWO) == []
        # The other system's refusals come as it says them.
        refused = here.get(f"/messageexchange/{ONE}/inbox", auth=token(ONE, password="wrong"))
        check_error(refused, 403, text="Invalid Authentication Token")
        assert is_relayed(refused)

        told = new.spine("audit", "search", "--object", "X26", "--output", "jsonl").stdout
        relayed = [record for line in told.splitlines() if (record := json.loads(line))["outcome"] == "relayed"]
        assert {"mesh.send", "mesh.download"} <= {record["interaction"] for record in relayed}
        assert "directory.arrival.set" in new.spine("audit", "search", "--user", f"uid:{os.getuid()}").stdout

        left = one.send_message(TWO, b"left behind", workflow_id="FREE")
        new.set("mesh", "X26", "local")
        assert here.list(TWO) == [] and there.list(TWO) == [left]
        moved = one.send_message(TWO, b"here", workflow_id="FREE")
        assert two.list_messages() == [moved] and not is_relayed(here.get(f"/messageexchange/{TWO}/inbox"))


def test_sender_and_recipient_must_be_on_one_side(site, new, raw):
    new.set("mesh", "*", "relay")
    new.set("mesh", "X26", "local")
    for sender, recipient in ((ONE, THREE), (THREE, ONE)):
        answer = raw.send(sender, recipient)
        check_error(answer, 409, code="SPN-1038", text="The recipient is reached by another system than the sender")
    assert raw.send(ONE, TWO).status_code == 202
    assert raw.send(THREE, THREE).status_code == 202


def held_back(site, recipient):
    """Whoever sends to it hears when to come again, on each node, and nothing is kept of it."""
    for node in range(site.size):
        with site.raw(node) as here:
            for sender in (ONE, THREE):
                answer = here.send(sender, recipient, b"too early")
                text = "The recipient is moving and takes no messages for a while (SPN-1039)"
                assert (answer.status_code, answer.json().get("message")) == (503, text), answer.text
                assert 1 <= int(answer.headers["retry-after"]) <= 60, answer.headers


def emptied(client, mailbox, messages):
    """A real client collects what is there, until there is no more."""
    assert sorted(client.list_messages()) == sorted(messages)
    for message in client.iterate_all_messages():
        with message as body:
            assert body.read() == b"before"
    assert client.list_messages() == []


def test_new_messages_are_held_back_while_an_inbox_is_emptied(site, old, new, client, raw):
    new.set("mesh", "*", "relay")
    waiting = [raw.sent(sender, TWO, b"before") for sender in (ONE, ONE, THREE)]
    with old.site.raw() as there:
        new.set("mesh", "X26", "relay", "--hold")
        assert new.show("mesh", "X26")["hold"] is True
        held_back(site, TWO)
        # Others still hear from it, and it collects.
        assert raw.send(ONE, THREE).status_code == 202
        assert sorted(there.list(TWO)) == sorted(waiting), "no message came while it was held"
        emptied(client(TWO, node=1), TWO, waiting)
        held_back(site, TWO)
        assert there.list(TWO) == []
        new.set("mesh", "*", "local")
        new.set("mesh", "X26", "local")
        assert new.show("mesh", "X26")["hold"] is False
        arrived = [raw.sent(sender, TWO, b"before") for sender in (ONE, THREE)]
        assert (there.list(TWO), sorted(raw.list(TWO))) == ([], sorted(arrived))
        # And back: held here, then there.
        new.set("mesh", "X26", "local", "--hold")
        held_back(site, TWO)
        emptied(client(TWO, node=2), TWO, arrived)
        new.set("mesh", "X26", "relay")
        back = raw.sent(ONE, TWO)
        assert there.list(TWO) == [back] and raw.list(TWO) == [back]


def test_a_node_without_the_address_is_named_and_refuses_for_a_while(site, new):
    new.set("mesh", "X26", "relay")
    new.write([open(path, encoding="utf-8").read() for path in new.configs[:2]] + new.before[2:])
    name = site.demo["nodes"][2].get("name", "node-3")
    for node, status in enumerate((200, 200, 503)):
        with site.raw(node) as here:
            answer = here.get(f"/messageexchange/{ONE}/inbox")
            assert answer.status_code == status, (node, answer.text)
            if status == 503:
                assert answer.json()["message"] == "The system that answers this is not configured here (SPN-1032)"
                assert int(answer.headers["retry-after"]) >= 1
    # Whichever node is asked knows which one lacks it.
    told = f"mesh is handed on, and upstream.mesh is empty on {name} (SPN-1032)"
    assert told in json.loads(new.spine("status", "--output", "json", check=False).stdout)["troubles"]
    report = json.loads(new.spine("doctor", "--output", "json", check=False).stdout)["items"]
    assert [f["found"] for f in report if (f["check"], f["result"]) == ("upstreams", "FAIL")] == [told]
    done = new.spine("arrival", "set", "mesh", "--party", "X27", "--to", "relay", check=False)
    assert done.returncode == 5 and "SPN-2301" in done.stderr and f"configuration of {name}" in done.stderr, done.stderr
    assert new.show("mesh", "X27")["by"] == "*", "nothing was changed"
    new.configure()
    new.set("mesh", "X27", "relay")
    assert new.spine("doctor", "--output", "json", check=False).stdout.count("upstream.mesh is empty") == 0


class Asker(threading.Thread):
    """A real client that sends to itself and collects, again and again."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client, self.sent, self.got, self.errors = client, set(), set(), []
        self.over = threading.Event()

    def run(self):
        while not self.over.is_set():
            try:
                body = unique("body").encode()
                self.client.send_message(ONE, body, workflow_id="FREE")
                self.sent.add(body)
                self.collect()
            except Exception as error:  # noqa: BLE001
                self.errors.append(error)

    def collect(self):
        for message in self.client.list_messages():
            try:
                with_body = self.client.retrieve_message(message)
                self.got.add(with_body.read())
                with_body.acknowledge()
            except mesh_client.MeshError:
                # It was listed by one side, and asked for behind the switch.
                continue
            except requests.HTTPError as error:
                if error.response.status_code not in (404, 410):
                    raise


def test_switching_under_load_fails_no_request_and_loses_no_message(site, old, new, client):
    before = new.show("mesh", "X26")
    askers = [Asker(client(ONE, node=node)) for node in range(3)]
    for asker in askers:
        asker.start()
    for to in ("relay", "local") * 4:
        goal = sum(len(asker.sent) for asker in askers) + 12
        new.set("mesh", "X26", to)
        wait_for("traffic", lambda goal=goal: sum(len(asker.sent) for asker in askers) >= goal, 60)
    for asker in askers:
        asker.over.set()
    for asker in askers:
        asker.join(60)
    assert [asker.errors for asker in askers] == [[], [], []]
    # What a switch left behind is where it was sent, whole.
    new.set("mesh", "X26", "relay")
    askers[0].collect()
    new.set("mesh", "X26", "local")
    askers[0].collect()
    sent, got = (set().union(*(getattr(asker, name) for asker in askers)) for name in ("sent", "got"))
    assert len(sent) > 90 and sent <= got, sent - got
    row = new.show("mesh", "X26")
    assert row["relay"]["requests"] > 10 and row["local"]["requests"] > 10
    assert all(row[side]["errors"] == before[side]["errors"] for side in ("relay", "local"))
    assert 0 < row["relay"]["p50_ms"] <= row["relay"]["p99_ms"] and 0 < row["local"]["p50_ms"]
    assert new.metric("spine_relayed_requests_total", service="mesh", outcome="ok") > 10
    assert new.metric("spine_relayed_request_duration_seconds_count", service="mesh") > 10


def test_an_old_system_that_is_down_or_another_is_told(site, old, new, raw):
    new.set("mesh", "X26", "relay")
    assert raw.get(f"/messageexchange/{ONE}/inbox").status_code == 200
    old.site.kill(1)
    wait_for("the kill", lambda: raw.get(f"/messageexchange/{ONE}/inbox").status_code == 502)
    for _ in range(3):
        begun = time.monotonic()
        answer = raw.get(f"/messageexchange/{ONE}/inbox")
        text = "The system that answers this cannot be reached (SPN-1033)"
        assert (answer.status_code, answer.json()["message"]) == (502, text)
        assert time.monotonic() - begun < 6 and int(answer.headers["retry-after"]) >= 1
    # Whoever has moved in does not feel it.
    assert raw.get(f"/messageexchange/{THREE}/inbox").status_code == 200
    assert new.metric("spine_relayed_requests_total", service="mesh", outcome="unreached") >= 3
    new.set("mesh", "X26", "local")
    assert raw.get(f"/messageexchange/{ONE}/inbox").status_code == 200
    old.up()
    new.set("mesh", "X26", "relay")
    wait_for("the old system", lambda: raw.get(f"/messageexchange/{ONE}/inbox").status_code == 200, 60)
    # An address that shows a certificate of other authorities is not the old system.
    new.configure(ca=site.ca)
    answer = raw.get(f"/messageexchange/{ONE}/inbox")
    told = "The system that answers this is not the one it should be (SPN-1034)"
    assert (answer.status_code, answer.json()["message"]) == (502, told)


def test_what_cannot_be_handed_on_is_refused(site, new):
    done = new.spine("arrival", "set", "eps", "--party", "X26", "--to", "relay", check=False)
    assert done.returncode == 5 and "SPN-2301" in done.stderr and "upstream.eps" in done.stderr
    done = new.spine("arrival", "set", "post", "--party", "X26", "--to", "relay", check=False)
    assert done.returncode == 2 and "none of mesh, smsp" in done.stderr
    done = new.spine("arrival", "set", "mesh", "--party", "no code", "--to", "relay", check=False)
    assert done.returncode == 2
    assert json.loads(new.spine("arrival", "list", "--output", "json").stdout)["items"] == []


def test_an_application_moves_from_the_old_systems_tokens_to_ours(site, old, new):
    """Before: everybody's tokens and requests are the old system's. Then PDS of one organisation is answered here, then its tokens."""
    theirs, ours = Application(old.site), Application(site)
    bearer = theirs.fetch()["access_token"]
    assert pds(site, bearer).status_code == 401, "nobody here knows it"
    new.set("pds", "*", "relay")
    new.set("identity", "*", "relay")

    def by_us():
        """A token by way of the new site, of whoever gives them; the JWT is for the old one, under whose name it is asked."""
        fields = {"grant_type": "client_credentials", "client_assertion": theirs.jwt()}
        fields["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        return ours.post("/oauth2/token", 1, **fields)

    answer = by_us()
    assert answer.status_code == 200 and is_relayed(answer), answer.text
    for node in range(3):
        read = pds(site, answer.json()["access_token"], node)
        assert (read.status_code, is_relayed(read), read.json()["id"]) == (200, True, "9000000009"), read.text
    # One that nobody has is refused by whom it was handed to; one of ours is not known there.
    for unknown in ("0" * 43, "nonsense"):
        read = pds(site, unknown)
        assert read.status_code == 401 and is_relayed(read)
    ods = new.site.demo["clients"][0]["ods"]
    new.set("pds", ods, "local")
    new.set("identity", ods, "local")
    own = ours.fetch()["access_token"]
    read = pds(site, own)
    assert (read.status_code, is_relayed(read)) == (200, False), read.text
    # What the old system gave out is good there until it is over.
    assert is_relayed(pds(site, bearer)) and pds(site, bearer).status_code == 200
    # The trail knows of each: those let in by the other system name no one here, and the person they looked at.
    told = new.spine("audit", "search", "--object", "9000000009", "--output", "jsonl").stdout
    relayed = [record for line in told.splitlines() if (record := json.loads(line))["outcome"] == "relayed"]
    let_in = [record for record in relayed if record["object"] == "*"]
    assert len(let_in) >= 5 and all("answered 200" in record["detail"] for record in let_in), told[-2000:]
    assert any(record["object"] == "strangers" for record in relayed), "those refused there are told of together"
    # The old system is down: the refusal is an OperationOutcome.
    old.site.kill(1)
    wait_for("the kill", lambda: pds(site, bearer).status_code == 502)
    read = pds(site, bearer)
    assert read.json()["resourceType"] == "OperationOutcome" and read.headers["retry-after"], read.text
    assert "cannot be reached" in read.text and re.search(r"fhir\+json", read.headers["content-type"])
