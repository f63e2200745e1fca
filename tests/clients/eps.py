"""What the EPS tests share: the published examples with ids, people and dates renewed, and calls as a supplier's system makes them.

A `Case` is one prescription: whatever example is read through it gets that prescription's ids, patient and pharmacy, so that
examples of different folders fit together; a message's own id is new each time."""

import base64
import datetime as dt
import hashlib
import json
import os
import random
import re
import subprocess
import threading
import uuid

import requests

DATA = os.path.join(os.path.dirname(__file__), "../data/eps")
PRESCRIBING, DISPENSING, OLD = "/fhir-prescribing", "/fhir-dispensing", "/electronic-prescriptions"
R4 = "/FHIR/R4"
# Who asks: a doctor (two roles, so that the header says which), a pharmacist, applications.
DOCTOR, PHARMACIST, SYSTEM, PHARMACY = "656005750107", "656005750105", "demo-app", "demo-pharmacy"
ROLE = "656014452107"
FHIR_JSON = "application/fhir+json; fhirVersion=4.0"

SHORT_ID = "https://fhir.nhs.uk/Id/prescription-order-number"
ITEM_ID = "https://fhir.nhs.uk/Id/prescription-order-item-number"
NHS_NUMBER = "https://fhir.nhs.uk/Id/nhs-number"
ODS = "https://fhir.nhs.uk/Id/ods-organization-code"
BUSINESS = "https://fhir.nhs.uk/CodeSystem/EPS-task-business-status"
EXTENSION = "https://fhir.nhs.uk/StructureDefinition/"
# Dispensers of the examples: each becomes the case's.
DISPENSERS = {"VNE51", "VNFKT", "VNCEL", "FCG71", "FH542", "FA565"}
TIMES = {"whenHandedOver", "authoredOn", "created", "timestamp", "recorded", "when", "lastModified", "lastUpdated"}
UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ+"
# NHS numbers and names of people that were sent: none may stand in a log.
NUMBERS, NAMES = set(), set()


def check_character(payload):
    """Modulus 37, radix 2 (spec/eps.md §4.2)."""
    total = 0
    for character in payload.replace("-", ""):
        total = (total + _ALPHABET.index(character)) * 2 % 37
    return _ALPHABET[(38 - total) % 37]


def short_id(ods="A83008"):
    payload = f"{random.randrange(16**6):06X}-{ods.rjust(6, '0')}-{random.randrange(16**5):05X}"
    return payload + check_character(payload)


def nhs_number():
    """One of the 999 range, which no person has."""
    while True:
        digits = "999" + f"{random.randrange(10**6):06}"
        check = 11 - sum(int(digit) * (10 - at) for at, digit in enumerate(digits)) % 11
        if check != 10:
            NUMBERS.add(digits + str(check % 11))
            return digits + str(check % 11)


def pharmacy():
    """A dispenser that no other test uses."""
    return f"F{random.randrange(10**6):06}"


def walk(value):
    """Every object of a document."""
    if isinstance(value, dict):
        yield value
        for part in value.values():
            yield from walk(part)
    elif isinstance(value, list):
        for part in value:
            yield from walk(part)


def resources(bundle, kind):
    return [entry["resource"] for entry in bundle["entry"] if entry["resource"]["resourceType"] == kind]


def extension(resource, name):
    return next(e for e in resource["extension"] if e["url"].endswith(name))


def published(name):
    with open(os.path.join(DATA, name), encoding="utf-8") as file:
        return file.read()


class Eps:
    """The service as the demo's people and applications call it."""

    def __init__(self, site):
        self.site, self.tokens, self.local = site, {}, threading.local()
        self.today = dt.date.fromisoformat(self.clock()["today"])

    def clock(self, days=None):
        """Looks at the calendar of the test site, or moves it on."""
        more = [] if days is None else ["--days", str(days)]
        told = json.loads(self.spine("testdata", "clock", *more, "--output", "json"))
        self.today = dt.date.fromisoformat(told["today"])
        return told

    def spine(self, *args, stdin=None, node=0):
        socket = self.site.path(self.site.demo["nodes"][node]["socket"])
        command = [self.site.binary, *args, "--socket", socket]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def token(self, who):
        if who not in self.tokens:
            command = [self.site.binary, "demo", "token", "--dir", self.site.folder, "--as", who]
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
            self.tokens[who] = done.stdout.split()[-1]
        return self.tokens[who]

    def session(self):
        """Connections of this thread."""
        if not hasattr(self.local, "session"):
            self.local.session = requests.Session()
            self.local.session.verify, self.local.session.trust_env = self.site.ca, False
        return self.local.session

    def call(self, method, path, body=None, who=DOCTOR, node=0, request=None, headers=None, **more):
        """`body`: a document, or bytes as they go. A header that is None is left out."""
        send = {"X-Request-ID": request or str(uuid.uuid4())}
        if who:
            send["Authorization"] = f"Bearer {self.token(who)}"
        if who == DOCTOR:
            send["NHSD-Session-URID"] = ROLE
        if body is not None:
            send["Content-Type"] = "application/fhir+json"
            body = body if isinstance(body, bytes) else json.dumps(body).encode()
        send = {name: value for name, value in {**send, **(headers or {})}.items() if value is not None}
        url = self.site.demo["nodes"][node % self.site.size]["internet"].rstrip("/") + path
        more.setdefault("timeout", 30)
        return self.session().request(method, url, data=body, headers=send, **more)

    def message(self, body, who=DOCTOR, base=PRESCRIBING, **more):
        return self.call("POST", f"{base}{R4}/$process-message", body, who, **more)

    def prepare(self, body, **more):
        return self.call("POST", f"{PRESCRIBING}{R4}/$prepare", body, **more)

    def release(self, body, who=PHARMACIST, **more):
        return self.call("POST", f"{DISPENSING}{R4}/Task/$release", body, who, **more)

    def dispense(self, body, **more):
        return self.message(body, PHARMACIST, DISPENSING, **more)

    def task(self, body, who=PHARMACIST, **more):
        return self.call("POST", f"{DISPENSING}{R4}/Task", body, who, **more)

    def claim(self, body, who=PHARMACIST, **more):
        return self.call("POST", f"{DISPENSING}{R4}/Claim", body, who, **more)

    def tasks(self, who=PHARMACIST, node=0, query=None, **more):
        return self.call("GET", f"{DISPENSING}{R4}/Task", who=who, node=node, params=query, **more)

    def states(self, case, node=0):
        """(issue, {item: state}) of each issue as the tracker shows them."""
        answer = self.tasks(node=node, query={"focus:identifier": case.id})
        assert answer.status_code == 200, answer.text
        return [state_of(task, case) for task in resources(answer.json(), "Task")]

    def state(self, case, issue=1, node=0):
        """An issue's status, and those of its items in the order of the prescription."""
        status, items = self.states(case, node)[issue - 1]
        return (status, *items)


def state_of(task, case):
    items = {}
    for part in task["input"]:
        told = extension(part, "Extension-EPS-DispensingInformation")["extension"]
        code = next(e["valueCoding"]["code"] for e in told if e["url"] == "dispenseStatus")
        items[part["valueReference"]["identifier"]["value"].lower()] = code
    return task["businessStatus"]["coding"][0]["code"], [items[item] for item in case.items]


class Case:
    """One prescription."""

    def __init__(self, eps, to="FA565", number=None):
        self.eps, self.dispenser, self.number = eps, to, number or nhs_number()
        self.id, self.uuids, self.items, self.response = None, {}, [], str(uuid.uuid4())

    def _uuid(self, found):
        return self.uuids.setdefault(found[0].lower(), str(uuid.uuid4()))

    def read(self, name, message=None, **parts):
        """The example with this prescription's ids. `message` is its own id, a new one where none is given; `parts` go to `change`."""
        root = json.loads(UUID.sub(self._uuid, published(name)))
        for part in walk(root):
            system, value = part.get("system"), part.get("value")
            if system == SHORT_ID:
                self.id = self.id or short_id(value.split("-")[1].lstrip("0"))
                part["value"] = self.id
            elif system == NHS_NUMBER:
                part["value"] = self.number
            elif system == ODS and value in DISPENSERS:
                part["value"] = self.dispenser
            if part.get("resourceType") == "Patient":
                NAMES.update(name["family"] for name in part.get("name", []) if isinstance(name.get("family"), str))
            for key in TIMES & part.keys():
                # Past at whatever hour this runs.
                part[key] = f"{self.eps.today}T00:00:00+00:00"
            if isinstance(part.get("validityPeriod"), dict):
                part["validityPeriod"] = {"start": str(self.eps.today), "end": str(self.eps.today + dt.timedelta(days=200))}
        message = message or str(uuid.uuid4())
        own = {"system": "https://tools.ietf.org/html/rfc4122", "value": message}
        if root["resourceType"] in ("Task", "Claim"):
            root["identifier"] = [own]
        elif root["resourceType"] == "Bundle":
            root["identifier"] = own
        return self.change(root, **parts)

    def change(self, root, issue=None, issues=None, focus=None, replaces=None, items=None, status=None, reason=None, sender=None):
        """What messages of one kind differ in: issue and issues count from one here; `items` and `status` are states after a notification."""
        for part in walk(root):
            if issue and part.get("url") == "numberOfRepeatsIssued":
                part["valueInteger"] = issue - 1
            if issues and part.get("url") == "numberOfRepeatsAllowed":
                part["valueInteger"] = issues - 1
            if issues and part.get("numberOfRepeatsAllowed") and "validityPeriod" in part:
                part["numberOfRepeatsAllowed"] = issues - 1
            if replaces and part.get("url") == EXTENSION + "Extension-replacementOf":
                part["valueIdentifier"]["value"] = replaces
            if status and part.get("url") == EXTENSION + "Extension-EPS-TaskBusinessStatus":
                part["valueCoding"]["code"] = status
            if sender and part.get("system") == ODS and part.get("value") == self.dispenser:
                part["value"] = sender
        if focus:
            root["focus"]["identifier"]["value"] = focus
        if reason:
            root["statusReason"]["coding"][0] = {"system": root["statusReason"]["coding"][0]["system"], "code": reason}
        for dispense, state in zip(resources(root, "MedicationDispense") if items else [], items or []):
            dispense["type"]["coding"][0]["code"] = state
        return root

    def order(self, name="01-order-acute-nominated/order-request.json", node=0, **parts):
        """Sends it; it has to be taken."""
        root = self.read(name, **parts)
        self.keep(root)
        answer = self.eps.message(root, node=node)
        succeeded(answer)
        return root

    def keep(self, order):
        """Whose items these are, in the order's order."""
        self.items = [request["identifier"][0]["value"] for request in resources(order, "MedicationRequest")]
        return order

    def cancel(self, item=0, by=None, node=0, reason=None):
        """Asks for an item to be cancelled; gives the answer."""
        root = self.read("07-cancel/acute-cancel-2-request.json")
        (request,) = resources(root, "MedicationRequest")
        request["identifier"][0]["value"] = self.items[item]
        if reason:
            request["statusReason"]["coding"][0]["code"] = reason
        if by:
            text = json.dumps(root).replace('"A83008"', f'"{by}"')
            root = json.loads(text)
        return self.eps.message(root, node=node)

    def release(self, to=None, request=None, node=0):
        """By its id. The answer, whatever it is."""
        root = self.read("08-release/by-prescription-id-request.json")
        for part in walk(root):
            if to and part.get("system") == ODS:
                part["value"] = to
        answer = self.eps.release(root, request=request, node=node)
        if answer.status_code == 200:
            self.response = answer.json()["parameter"][0]["resource"]["identifier"]["value"]
        return answer

    def nominated(self):
        """A request for whatever is nominated to the dispenser."""
        return self.read("08-release/nominated-request.json")

    def notification(self, which=1, message=None, **parts):
        return self.read(f"09-dispense-notification/acute-0{which}-request.json", message, **parts)

    def dispensed(self, **parts):
        """All that was ordered is given out; gives the notification's id."""
        message = str(uuid.uuid4())
        states = ["0001" if state in ("0003", "0004", "0008") else state for state in self.eps.state(self)[1:]]
        succeeded(self.eps.dispense(self.notification(1, message, items=states, status="0006", **parts)))
        return message

    def claim(self, message=None, replaces=None, **parts):
        root = self.read("12-claim/acute-request.json", message, **parts)
        if replaces:
            own = {"system": "https://tools.ietf.org/html/rfc4122", "value": replaces}
            root["extension"].append({"url": EXTENSION + "Extension-replacementOf", "valueIdentifier": own})
        return self.eps.claim(root)

    def give_back(self, **parts):
        return self.eps.task(self.read("10-return/acute-request.json", focus=self.response, **parts))

    def withdraw(self, notification, **parts):
        return self.eps.task(self.read("11-withdraw/acute-request.json", focus=notification, **parts))


def succeeded(answer):
    """Success says nothing but that (§3.5)."""
    assert answer.status_code == 200, (answer.status_code, answer.text)
    body = answer.json()
    assert body["resourceType"] == "OperationOutcome", body
    assert body["issue"] == [{"code": "informational", "severity": "information"}], body
    assert answer.headers["content-type"] == FHIR_JSON


def refused(answer, code=None, text=None, status=400, severity=None):
    """An OperationOutcome; `code` is the coding's, `text` stands in display or diagnostics. Gives the body."""
    assert answer.status_code == status, (answer.status_code, answer.text)
    body = answer.json()
    assert body["resourceType"] == "OperationOutcome", body
    issues = body["issue"]
    told = [issue.get("details", {}).get("coding", [{}])[0] for issue in issues]
    assert code is None or code in [one.get("code") for one in told], body
    words = [issue.get("diagnostics", "") for issue in issues] + [one.get("display", "") for one in told]
    assert text is None or any(text in one for one in words), body
    assert severity is None or issues[0]["severity"] == severity, body
    return body


def response_code(answer):
    """R-0001 and its like: from a cancellation's answer, which is a Bundle or an OperationOutcome (§8.4)."""
    body = answer.json()
    if body["resourceType"] == "OperationOutcome":
        return body["issue"][0]["details"]["coding"][0]["code"]
    (request,) = resources(body, "MedicationRequest")
    history = extension(request, "Extension-DM-PrescriptionStatusHistory")
    return next(e["valueCoding"]["code"] for e in history["extension"] if e["url"] == "status")


def released(answer):
    """Short ids of the prescriptions in a release's answer, in its order."""
    assert answer.status_code == 200, answer.text
    body = answer.json()
    if body["resourceType"] == "OperationOutcome":
        assert body["issue"][0]["details"]["coding"][0]["code"] == "NO_MORE_PRESCRIPTIONS", body
        return []
    passed, failed = (parameter["resource"] for parameter in body["parameter"])
    assert failed["total"] == 0 and passed["total"] == len(passed["entry"]), body
    first = [resources(entry["resource"], "MedicationRequest")[0] for entry in passed["entry"]]
    return [request["groupIdentifier"]["value"] for request in first]


def unaddressed(answer):
    """A body without the address it was got from, which links name."""
    return re.sub(r"https://localhost:\d+", "https://here", answer.text)


def signed_info(digest):
    """The text to be signed: what `digest` of $prepare is base64 of."""
    return base64.b64decode(digest)


def digest_value(info):
    return re.search(r"<DigestValue>(.+?)</DigestValue>", info.decode())[1]


def sha256(text):
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
