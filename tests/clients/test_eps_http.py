"""What stands around prescriptions' messages (spec/eps.md §2, §3, §14, §15): headers, base paths, who may do what, the trackers, pharmacies'
status updates, and input that is wrong in every way, which gets 4xx and changes nothing. Promises P5 and P10."""

import datetime as dt
import json
import re
import uuid

import pytest
from eps import (
    BUSINESS,
    DISPENSING,
    DOCTOR,
    FHIR_JSON,
    OLD,
    PHARMACIST,
    PHARMACY,
    PRESCRIBING,
    R4,
    SHORT_ID,
    SYSTEM,
    Case,
    Eps,
    extension,
    nhs_number,
    pharmacy,
    published,
    refused,
    released,
    resources,
    short_id,
    state_of,
    succeeded,
    walk,
)

ORDER = "01-order-acute-nominated/order-request.json"
TRACKER = "/clinical-prescription-tracker"
UPDATES = "/prescription-status-update"
# What the clinical tracker does not answer without (§14.2).
SMARTCARD = {
    "NHSD-Organization-UUID": "X26",
    "NHSD-Session-URID": "656014452107",
    "NHSD-Identity-UUID": DOCTOR,
    "NHSD-Session-JobRole": "S8000:G8000:R8000",
}


@pytest.fixture(scope="module")
def eps(site):
    return Eps(site)


@pytest.fixture
def case(eps):
    one = Case(eps, pharmacy())
    one.order()
    return one


@pytest.fixture
def order(eps):
    """An order that was not sent."""
    return Case(eps, pharmacy()).read(ORDER)


# Headers and paths.


@pytest.mark.parametrize("base", [PRESCRIBING, DISPENSING, OLD])
def test_each_base_path_serves_the_same(eps, order, base):
    answer = eps.message(order, base=base)
    succeeded(answer)
    escaped = eps.call("POST", f"{base}{R4}/%24process-message", order)
    succeeded(escaped)
    assert eps.call("GET", f"{base}{R4}/Nothing").status_code == 404
    assert eps.call("PUT", f"{base}{R4}/Task", {}).status_code == 404


def test_the_request_id_is_wanted_and_mirrored(eps, order):
    refused(eps.message(order, headers={"X-Request-ID": None}), text="X-Request-ID")
    for wrong in ("", "1", "not-a-uuid", "00000000-0000-0000-0000-00000000000"):
        refused(eps.message(order, headers={"X-Request-ID": wrong}), text="X-Request-ID")
    own, more = str(uuid.uuid4()).upper(), str(uuid.uuid4())
    answer = eps.message(order, request=own, headers={"X-Correlation-ID": more})
    succeeded(answer)
    assert answer.headers["x-request-id"] == own and answer.headers["x-correlation-id"] == more
    # Without one the site makes one up, so that its logs can be asked for it.
    assert eps.message(order).headers["x-correlation-id"]


@pytest.mark.parametrize(
    "kind", ["application/fhir+json; charset=utf-8", "application/json", "application/json;charset=UTF-8", FHIR_JSON]
)
def test_content_types(eps, order, kind):
    succeeded(eps.message(order, headers={"Content-Type": kind}))


def test_what_it_can_do_and_how_it_is(eps):
    for base, names in ((PRESCRIBING, {"Task"}), (DISPENSING, {"Task", "Claim"}), (OLD, {"Task", "Claim"})):
        for below in ("", R4):
            answer = eps.call("GET", f"{base}{below}/metadata")
            assert answer.status_code == 200 and answer.headers["content-type"] == FHIR_JSON
            told = answer.json()
            assert (told["resourceType"], told["fhirVersion"]) == ("CapabilityStatement", "4.0.1")
            assert {one["type"] for one in told["rest"][0]["resource"]} == names
            assert told["implementation"]["url"] == answer.url.removesuffix("/metadata")
            assert dt.datetime.fromisoformat(told["date"]).tzinfo
        assert eps.call("GET", f"{base}/_ping", who=None).json()["version"]
        shown = eps.call("GET", f"{base}/_status", who=None).json()
        assert shown["status"] == "pass" and {"commitId", "versionNumber", "checks"} <= set(shown)
        assert eps.call("GET", f"{base}/healthcheck", who=None).status_code == 200
        assert eps.call("GET", f"{base}/metadata", who=None).status_code == 401


def test_what_is_optional_or_retired_says_that_it_is_not_there(eps, order):
    for method, path in (
        ("POST", f"{PRESCRIBING}{R4}/$convert"),
        ("POST", f"{OLD}{R4}/$dose-to-text"),
        ("POST", f"{DISPENSING}{R4}/%24verify-signature"),
        ("GET", f"{OLD}{R4}/Tracker?prescription_id={short_id()}&repeat_number=1"),
        ("GET", f"{DISPENSING}/_poll/1"),
        ("GET", f"{UPDATES}/checkprescriptionstatusupdates"),
    ):
        (issue,) = refused(eps.call(method, path, order if method == "POST" else None), status=404)["issue"]
        assert (issue["severity"], issue["code"]) == ("error", "not-supported"), path
        assert issue["diagnostics"].startswith("This Spine does not offer ")
    for method, path in (("GET", "Nothing"), ("DELETE", "Task"), ("POST", "Task/"), ("GET", "$prepare")):
        (issue,) = refused(eps.call(method, f"{PRESCRIBING}{R4}/{path}"), status=404)["issue"]
        assert issue["code"] == "not-found"


def test_any_resource_is_validated_and_what_is_none_is_refused(eps, order):
    path = f"{PRESCRIBING}{R4}/$validate"
    succeeded(eps.call("POST", path, order, SYSTEM))
    for body, element in (
        ({"a": 1}, "resourceType"),
        ({"resourceType": "Patient", "identifier": [{"value": "1"}], "gender": "F"}, "Patient.gender"),
        ({"resourceType": "Patient", "identifier": [{"value": "1"}], "birthDate": "1 May"}, "Patient.birthDate"),
    ):
        assert refused(eps.call("POST", path, body))["issue"][0]["expression"] == [element]


# Who may do what.


def test_scopes_and_activities(eps, order, case):
    denied = "Your app does not have permission to access prescribing functionality."
    assert refused(eps.message(order, PHARMACY), text=denied, status=403)["issue"][0]["severity"] == "fatal"
    user = "Prescribing functionality can only be accessed using the user-restricted access mode."
    for path in ("$prepare", "$process-message"):
        told = refused(eps.call("POST", f"{PRESCRIBING}{R4}/{path}", order, SYSTEM), text=user, status=403)
        assert told["issue"][0]["code"] == "forbidden"
    user = "Dispensing functionality can only be accessed using the user-restricted access mode."
    by_id = case.read("08-release/by-prescription-id-request.json")
    refused(eps.release(by_id, SYSTEM), text=user, status=403)
    refused(eps.message(case.notification(), PHARMACY), text=user, status=403)
    refused(eps.task(case.read("10-return/acute-request.json"), PHARMACY), text=user, status=403)
    refused(eps.claim(case.read("12-claim/acute-request.json"), PHARMACY), text=user, status=403)
    # A person may do what their role is for.
    refused(eps.message(order, PHARMACIST), status=403, text="B0420")
    refused(eps.message(case.notification(), DOCTOR), status=403, text="B0570")
    refused(eps.release(by_id, DOCTOR), status=403)
    assert eps.state(case)[0] == "0001"
    assert eps.message(order, None).status_code == 401
    assert eps.message(order, headers={"Authorization": "Bearer nonsense"}).status_code == 401
    # What an application may do by itself.
    assert released(eps.release(case.nominated(), PHARMACY)) == [case.id]
    assert eps.tasks(PHARMACY, query={"identifier": case.id}).status_code == 200


# Trackers.


def test_each_form_of_the_task_query(eps, case):
    today, number = str(eps.today), case.number
    status = f"{BUSINESS}|0001"
    for query in (
        {"focus:identifier": case.id},
        {"focus:identifier": f"{SHORT_ID}|{case.id.lower()}"},
        {"identifier": case.id},
        {"patient:identifier": number},
        {"patient:identifier": f"https://fhir.nhs.uk/Id/nhs-number|{number}", "business-status": status},
        {"patient:identifier": number, "authored-on": [f"ge{today}", f"le{today}"], "unknown": "x"},
        {"patient:identifier": number, "authored-on": f"eq{today}"},
        {"identifier": case.id, "business-status": "0001"},
    ):
        bundle = eps.tasks(query=query, node=1).json()
        assert (bundle["type"], bundle["total"]) == ("searchset", 1), (query, bundle)
        (task,) = resources(bundle, "Task")
        assert task["focus"]["identifier"]["value"] == case.id and task["for"]["identifier"]["value"] == number
        assert (task["status"], task["intent"]) == ("requested", "order")
        assert state_of(task, case) == ("0001", ["0007"] * 4)
        # Who has it and who wrote it: by the id only.
        by_id = "patient:identifier" not in query
        assert ("requester" in task, "owner" in task) == (by_id, by_id), query
    for query in ({"business-status": "0002"}, {"authored-on": "2020-01-01"}):
        assert eps.tasks(query={"patient:identifier": number, **query}).json()["total"] == 0
    assert eps.tasks(query={"patient:identifier": nhs_number()}).json()["total"] == 0
    unknown = eps.tasks(query={"identifier": short_id()})
    refused(unknown, "INVALID", status=200)


def test_task_queries_that_are_wrong(eps, case):
    for query, text in (
        ({}, "At least one of the following query parameters must be provided: focus:identifier, identifier, patient:identifier."),
        ({"business-status": "0001"}, "At least one of the following"),
        ({"identifier": [case.id, case.id]}, "Invalid combination of query parameters."),
        ({"identifier": f"x|{case.id}"}, f"Query parameter identifier must have system {SHORT_ID} if specified."),
        ({"identifier": case.id, "authored-on": f"x|{eps.today}"}, "must not have a system specified."),
        ({"identifier": case.id, "authored-on": "yesterday"}, "authored-on"),
    ):
        told = refused(eps.tasks(query=query), text=text)
        assert told["issue"][0]["severity"] == "error"
    refused(eps.tasks(query={"identifier": case.id}, headers={"X-Request-ID": None}), text="X-Request-ID")


def group(eps, path="", query=None, headers=None, base=TRACKER, **more):
    return eps.call("GET", f"{base}/RequestGroup{path}", query and None, headers={**SMARTCARD, **(headers or {})}, params=query, **more)


def test_the_clinical_tracker_searches(eps, case):
    for query in ({"prescriptionId": case.id}, {"nhsNumber": case.number}, {"nhsNumber": case.number, "lowDate": f"{eps.today:%Y%m%d}"}):
        for base in (TRACKER, f"{TRACKER}{R4}", f"{PRESCRIBING}{R4}"):
            answer = group(eps, query=query, base=base, node=2)
            assert answer.status_code == 200, answer.text
            bundle = answer.json()
            assert (bundle["type"], bundle["total"]) == ("searchset", 1)
            patient, found = (entry["resource"] for entry in bundle["entry"])
            assert [entry["search"]["mode"] for entry in bundle["entry"]] == ["include", "match"]
            assert patient["identifier"][0]["value"] == case.number and patient["name"][0]["family"]
            assert found["identifier"][0]["value"] == case.id and found["intent"] == "order"
            history = extension(found, "Extension-EPS-PrescriptionStatusHistory")["extension"]
            assert history[0]["valueCoding"]["code"] == "0001"
    nothing = json.loads(published("13-tracker/requestgroup-search-200_NoResults.json"))
    found = group(eps, query={"nhsNumber": nhs_number()}).json()
    assert (found["total"], found.get("entry", [])) == (0, nothing.get("entry", []))


def test_the_clinical_tracker_shows_one(eps, case):
    assert released(case.release()) == [case.id]
    succeeded(eps.dispense(case.notification(1, items=["0001", "0004", "0003", "0002"], status="0003")))
    case.cancel(1)
    answer = group(eps, f"/{case.id}", {"issueNumber": 1})
    assert answer.status_code == 200, answer.text
    bundle = answer.json()
    last = bundle["entry"][-1]["resource"]
    assert (bundle["total"], last["resourceType"]) == (1, "RequestGroup")
    kinds = [entry["resource"]["resourceType"] for entry in bundle["entry"]]
    assert kinds.count("MedicationRequest") == 4 and kinds.count("MedicationDispense") >= 3 and kinds.count("Patient") == 1
    history = extension(last, "Extension-EPS-PrescriptionStatusHistory")["extension"]
    assert history[0]["valueCoding"]["code"] == "0003"
    titles = [action["title"] for action in last["action"]]
    assert titles == ["Prescription Line Items(Medications)", "Prescription status transitions"]
    assert len(last["action"][1]["action"]) >= 3
    for request in resources(bundle, "MedicationRequest"):
        performer = request["dispenseRequest"].get("performer")
        assert performer is None or isinstance(performer["identifier"], dict)
    expected = json.loads(published("13-tracker/requestgroup-404_NotFound.json"))["issue"][0]["details"]["coding"][0]["code"]
    refused(group(eps, f"/{short_id()}"), expected, status=404)


def test_the_clinical_tracker_refuses(eps, case):
    for name in ("X-Request-ID", *SMARTCARD):
        # Whoever has one role only need not say which to get past the gate.
        who = PHARMACIST if name == "NHSD-Session-URID" else DOCTOR
        headers = {"NHSD-Session-URID": "656014452105"} if who == PHARMACIST else {}
        answer = group(eps, query={"prescriptionId": case.id}, headers={**headers, name: None}, who=who)
        refused(answer, text=f"Missing required header, {name.lower()}.")
    wrong_check = case.id[:-1] + ("A" if case.id[-1] != "A" else "B")
    for query, text in (
        ({}, "Missing required query string parameter; either prescriptionId or nhsNumber must be included."),
        ({"prescriptionId": case.id, "nhsNumber": case.number}, "Invalid query string parameters; only prescriptionId or nhsNumber must be"),
        ({"prescriptionId": "x"}, "prescriptionId does not match required format."),
        ({"prescriptionId": wrong_check}, "prescriptionId checksum is invalid."),
        ({"nhsNumber": "12"}, "nhsNumber does not match required format."),
        ({"nhsNumber": "9990000001"}, "nhsNumber checksum is invalid."),
    ):
        refused(group(eps, query=query), text=text, severity="error")
    assert group(eps, query={"prescriptionId": case.id}, who=PHARMACY).status_code == 403


# Status updates.


def update(eps, case, name="request-multiple-items.json"):
    """The published updates, all of one prescription."""
    body = case.read(f"16-status-update/{name}")
    body.pop("identifier", None)
    for part in walk(body):
        if "lastModified" in part:
            part["lastModified"] = f"{eps.today}T00:00:00Z"
        if part.get("system", "").endswith("ods-organization-code"):
            part["value"] = "C9Z1O"
    return body


def told(answer, status):
    assert answer.status_code == status, (answer.status_code, answer.text)
    body = answer.json()
    assert (body["resourceType"], body["type"]) == ("Bundle", "transaction-response"), body
    entries = [entry["response"] for entry in body.get("entry", [])]
    return [(entry["status"], entry["outcome"]["issue"][0].get("diagnostics")) for entry in entries]


def send(eps, body, **more):
    return eps.call("POST", f"{UPDATES}/", body, PHARMACY, **more)


def test_status_updates_each_outcome(eps, case):
    good = ("201 Created", "No issues detected during validation.")
    body = update(eps, case)
    assert told(send(eps, body), 201) == [good, good]
    # The same again by the same request is answered alike; by another it is a conflict.
    request, more = str(uuid.uuid4()), update(eps, Case(eps))
    assert told(send(eps, more, request=request), 201) == [good, good] == told(send(eps, more, request=request, node=1), 201)
    assert [status for status, _ in told(send(eps, more, node=2), 409)] == ["409 Conflict"] * 2
    assert told(send(eps, update(eps, Case(eps), "request-erd-dispatched.json")), 201) == [good]
    assert told(send(eps, {"resourceType": "Bundle", "type": "transaction", "entry": []}), 200) == []
    # One bad entry: nothing is stored, so that the good one can be sent again.
    mixed = update(eps, Case(eps))
    mixed["entry"][0]["resource"]["for"]["identifier"]["value"] = "9990000001"
    outcome = [("400 Bad Request", "NHS number is invalid."), ("200 OK", "Data not committed due to issues in other entries.")]
    assert told(send(eps, mixed), 400) == outcome
    mixed["entry"] = mixed["entry"][1:]
    assert told(send(eps, mixed), 201) == [good]
    (missing,) = told(send(eps, update(eps, Case(eps), "request-missing-fields.json")), 400)
    assert missing[0] == "400 Bad Request" and missing[1].startswith("Missing required field(s) - ")
    ods = update(eps, Case(eps))
    ods["entry"][0]["resource"]["owner"]["identifier"]["value"] = "c9z1o!"
    ((_, text),) = told(send(eps, ods), 400)
    assert text.startswith("Received invalid ODS codes: ")
    for wrong in ({"resourceType": "Task"}, {"resourceType": "Bundle", "type": "message"}):
        assert told(send(eps, wrong), 400)[0][1] == "Request body does not have resourceType of 'Bundle' and type of 'transaction'."
    assert told(send(eps, body, headers={"X-Request-ID": None}), 400)[0][1] == "Missing or empty x-request-id header."
    assert send(eps, body, headers={"Authorization": None}).status_code == 401
    assert eps.call("POST", f"{UPDATES}/", body, DOCTOR).status_code == 403
    # They do not change the prescription.
    assert eps.state(case)[0] == "0001"


def test_the_clinical_tracker_shows_the_newest_update_of_an_item(eps, case):
    for code, hour in (("With Pharmacy", "01"), ("Ready to Collect", "03"), ("With Pharmacy - Preparing Remainder", "02")):
        body = update(eps, Case(eps))
        body["entry"] = body["entry"][1:]
        task = body["entry"][0]["resource"]
        task["basedOn"][0]["identifier"]["value"], task["for"]["identifier"]["value"] = case.id, case.number
        task["focus"]["identifier"]["value"] = case.items[1]
        task["businessStatus"]["coding"][0]["code"] = code
        task["lastModified"] = f"{eps.today - dt.timedelta(days=1)}T{hour}:00:00Z"
        assert len(told(send(eps, body), 201)) == 1
    shown = [json.dumps(request) for request in resources(group(eps, f"/{case.id}", node=1).json(), "MedicationRequest")]
    with_update = [request for request in shown if "task-businessStatus-nppt" in request]
    assert len(with_update) == 1 and case.items[1] in with_update[0].lower() and '"Ready to Collect"' in with_update[0], shown


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        (("status",), "done", "Unsupported Task.status 'done'."),
        (("businessStatus", "coding", 0, "code"), "Eaten", "Invalid business status. Unsupported Task.businessStatus 'Eaten'."),
        (("businessStatus", "coding", 0, "code"), "With Pharmacy", "requires follow up action."),
        (("businessStatus", "coding", 0, "system"), "https://x", "Invalid CodeSystem(s) - Status."),
        (("lastModified",), "yesterday", "Date format provided for lastModified is invalid."),
        (("lastModified",), "2999-01-01T00:00:00Z", "Invalid lastModified value provided."),
        (("basedOn", 0, "identifier", "value"), "24F5DA-A83008-7EFE60", "Prescription ID is invalid."),
        (("id",), "1", "Invalid entry fullUrl or task id."),
        (("resourceType",), "Patient", "Resource's resourceType is not 'Task'."),
    ],
)
def test_status_updates_that_are_wrong(eps, path, value, text):
    body = update(eps, Case(eps))
    part = body["entry"][0]["resource"]
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    first, _ = told(send(eps, body), 400)
    assert first[0] == "400 Bad Request" and text in first[1], first


# Input that is wrong.

PATHS = ("$prepare", "$process-message", "Task/$release", "Task", "Claim", "$validate")
NESTED = b'{"resourceType":"Bundle","entry":' + b"[" * 100_000 + b"]" * 100_000 + b"}"


def at(eps, path, body, **more):
    who = DOCTOR if path in PATHS[:2] else PHARMACIST
    return eps.call("POST", f"{OLD}{R4}/{path}", body, who, **more)


NO_MESSAGES = (b"", b"{", b"[]", b"null", b"1", b'"x"', b"\xff\xfe", b"{}", b'{"resourceType":"Bundle"', b'{"resourceType":"Nothing"}', NESTED)
NO_MESSAGES += (b"[" * 200, b'{"resourceType":"Bundle","entry":5}', b'{"resourceType":"Task","identifier":{}}', b'{"a":1,"a":2}')
NO_MESSAGES += (b'{"resourceType":"Parameters","parameter":[1]}', b'{"resourceType":"Bundle","entry":[{"resource":null}]}')
NO_MESSAGES += (b'{"resourceType":"Claim","item":"x"}', b'{"resourceType":"Bundle","type":"message","x":1e999999}')


@pytest.mark.parametrize("path", PATHS)
def test_what_is_no_message(eps, path):
    for body in NO_MESSAGES:
        answer = at(eps, path, body)
        if path != "$validate" or answer.status_code != 200:
            told = refused(answer, status=400)
            assert told["issue"][0].get("diagnostics") or told["issue"][0]["details"], (body[:60], told)


def test_a_body_that_is_too_large(eps, order):
    order["entry"][0]["resource"]["text"] = {"status": "generated", "div": "x" * 600_000}
    for path in PATHS:
        # It may be refused while it is being sent.
        answer = at(eps, path, order)
        assert answer.status_code in (400, 413), (path, answer.status_code)
    assert eps.message(order, headers={"Content-Type": "text/plain"}).status_code in (400, 413, 415)


WRONG = (None, True, 7, -1, "", "x", [], {}, [None], [[]], [{}], {"a": 1}, "9" * 400, "\u0000", "\U0001f48a")


@pytest.mark.parametrize(
    ("name", "path"),
    [
        (ORDER, "$process-message"),
        ("04-order-erd/prepare-request.json", "$prepare"),
        ("07-cancel/acute-cancel-2-request.json", "$process-message"),
        ("08-release/by-prescription-id-request.json", "Task/$release"),
        ("09-dispense-notification/acute-01-request.json", "$process-message"),
        ("10-return/acute-request.json", "Task"),
        ("11-withdraw/acute-request.json", "Task"),
        ("12-claim/acute-request.json", "Claim"),
        ("16-status-update/request-multiple-items.json", None),
    ],
)
def test_wrong_types_anywhere_are_never_a_fault(eps, name, path):
    """Thirty places of each message, each with a value that does not belong there: spread evenly, the same ones each time."""
    who = DOCTOR if name[:2] in ("01", "04", "07") else PHARMACIST if path else PHARMACY
    url = f"{OLD}{R4}/{path}" if path else f"{UPDATES}/"
    count = len(list(places(Case(eps).read(name))))
    for turn, at_place in enumerate(range(0, count, max(1, count // 30))):
        body = Case(eps, pharmacy()).read(name)
        holder, key = list(places(body))[at_place]
        was, holder[key] = holder[key], WRONG[turn % len(WRONG)]
        answer = eps.call("POST", url, body, who)
        assert answer.status_code < 500, (key, was, holder[key], answer.status_code, answer.text)
        assert answer.json()["resourceType"] in ("OperationOutcome", "Bundle", "Parameters")


def places(value):
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in list(parts):
        yield value, key
        yield from places(part)


def test_a_refusal_names_the_element_and_changes_nothing(eps):
    for element, change, text in (
        ("status", lambda r: r.update(status="draft"), "MedicationRequest.status must be active."),
        ("intent", lambda r: r.update(intent="plan"), "MedicationRequest.intent must be order, original-order or instance-order."),
        ("lineItemID", lambda r: r["identifier"][0].update(value="x"), "lineItemID has invalid format"),
        ("category", lambda r: r["category"][0]["coding"][0].update(code="inpatient"), "same value for category. Received ["),
        ("groupIdentifier", lambda r: r["groupIdentifier"].update(value=short_id()), "same value for groupIdentifier"),
        ("medicationCodeableConcept", lambda r: r["medicationCodeableConcept"]["coding"][0].update(system="http://x"), "snomed.info/sct"),
        ("quantity.value", lambda r: r["dispenseRequest"]["quantity"].update(value=-5), "Quantity must be more than 0."),
        ("dosageInstruction.text", lambda r: r["dosageInstruction"][0].pop("text"), "Too few values submitted."),
    ):
        case = Case(eps, pharmacy())
        order = case.read(ORDER)
        change(resources(order, "MedicationRequest")[0])
        issue = refused(eps.message(order), text=text)["issue"][0]
        assert element in json.dumps(issue), (element, issue)
        refused(eps.tasks(query={"identifier": case.id}), "INVALID", status=200)
    five = Case(eps).read(ORDER)
    five["entry"].append(next(e for e in five["entry"] if e["resource"]["resourceType"] == "MedicationRequest"))
    refused(eps.message(five), text="Expected at most 4.")
    task = Case(eps).read("10-return/acute-request.json")
    refused(eps.message(task), text="Incorrect FHIR resource type. Expected Bundle.")
    refused(eps.release(task), text="Incorrect FHIR resource type. Expected Parameters.")
    refused(eps.claim(task), text="Incorrect FHIR resource type. Expected Claim.")
    other = Case(eps).read(ORDER)
    resources(other, "MessageHeader")[0]["eventCoding"]["code"] = "prescription-dance"
    text = "MessageHeader.eventCoding.code must be one of: prescription-order, prescription-order-update, dispense-notification."
    refused(eps.message(other), text=text)
    assert re.match(r"Failed to parse JSON encoded FHIR content", refused(eps.message(b"{"))["issue"][0]["diagnostics"])
