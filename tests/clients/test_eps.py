"""Prescriptions as a supplier's system sees them (spec/eps.md): each published example in order (§22), the digest that is signed, and every
step from release to claim on the nodes of a site, with what the tracker shows. Promises P1, P2 and P3."""

import base64
import concurrent.futures
import json
import uuid
from collections import Counter

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from eps import (
    DOCTOR,
    EXTENSION,
    SYSTEM,
    Case,
    Eps,
    digest_value,
    nhs_number,
    pharmacy,
    published,
    refused,
    released,
    resources,
    response_code,
    sha256,
    signed_info,
    succeeded,
    unaddressed,
    walk,
)
from mesh import wait_for

ACUTE, REPEAT, ERD = "01-order-acute-nominated", "03-order-repeat-prescribing", "04-order-erd"


@pytest.fixture(scope="module")
def eps(site):
    return Eps(site)


@pytest.fixture
def case(eps):
    """A prescription of four items, ordered for a pharmacy of its own."""
    one = Case(eps, pharmacy())
    one.order()
    return one


# Every row of §22.


@pytest.mark.parametrize(
    "name",
    [
        f"{ACUTE}/order-request.json",
        f"{ACUTE}/order-multiple-dosage-request.json",
        "02-order-acute-no-nomination/order-request.json",
        f"{REPEAT}/order-request.json",
        f"{ERD}/order-request.json",
        f"{ERD}/order-with-medication-list-request.json",
        "05-order-secondary-care-four-items/order-request.json",
        "06-order-controlled-drug/order-request.json",
        "07-cancel/acute-order-request.json",
    ],
)
def test_each_published_order_is_taken_and_comes_out_as_it_went_in(eps, name):
    case = Case(eps, pharmacy())
    order = case.order(name)
    succeeded(eps.message(order, node=1))
    nominated = any("performer" in r["dispenseRequest"] for r in resources(order, "MedicationRequest"))
    given = released(eps.release(case.nominated(), node=2))
    assert given == ([case.id] if nominated else [])
    if not nominated:
        assert released(case.release(node=2)) == [case.id]
    assert eps.state(case)[0] == "0002"


def in_words(bundle):
    return [part["valueString"] for part in walk(bundle) if part.get("url") == "quantityWords"]


def test_an_order_comes_back_with_what_was_prescribed(eps):
    case = Case(eps, pharmacy())
    order = case.order("06-order-controlled-drug/order-request.json")
    (entry,) = case.release().json()["parameter"][0]["resource"]["entry"]
    back = entry["resource"]
    assert back["identifier"]["value"] == order["identifier"]["value"]
    for sent, got in zip(resources(order, "MedicationRequest"), resources(back, "MedicationRequest")):
        assert got["identifier"] == sent["identifier"] and got["status"] == "active"
        assert got["dispenseRequest"]["quantity"]["value"] == sent["dispenseRequest"]["quantity"]["value"]
    assert in_words(back) == in_words(order) != []
    assert resources(back, "Patient")[0]["name"][0]["family"] == resources(order, "Patient")[0]["name"][0]["family"]
    (provenance,) = resources(back, "Provenance")
    assert provenance["signature"][0]["data"]


@pytest.mark.parametrize(
    "folder", [ACUTE, "02-order-acute-no-nomination", ERD, "06-order-controlled-drug"]
)
def test_each_published_preparation_gives_a_digest(eps, folder):
    answer = eps.prepare(Case(eps).read(f"{folder}/prepare-request.json"))
    assert answer.status_code == 200, answer.text
    told = answer.json()["parameter"]
    assert [part["name"] for part in told] == ["digest", "timestamp", "algorithm"]
    assert told[2]["valueString"] == "RS256" and told[1]["valueString"].endswith("+00:00")
    assert digest_value(signed_info(told[0]["valueString"]))


def test_the_digest_is_that_of_the_published_vector(eps):
    """Fragments as published but for the time, which is Spine's, and the prescription's long id."""
    request = json.loads(published("14-signature/prepare-request-of-fixture.json"))
    long_id = "f5012e83-bd9e-4866-b453-86f75aee2bd6"
    for part in walk(request):
        if part.get("url") == EXTENSION + "Extension-DM-PrescriptionId":
            part["valueIdentifier"]["value"] = long_id
    told = {p["name"]: p["valueString"] for p in eps.prepare(request).json()["parameter"]}
    stamp = "".join(c for c in told["timestamp"].split("+")[0] if c.isdigit())
    text = published("14-signature/fragments-canonical.txt").rstrip("\n").replace("20201218123434", stamp)
    assert digest_value(signed_info(told["digest"])) == sha256(text)
    # Told twice within a second or not, and by whichever node: the digest follows from the message and the time alone.
    again = {p["name"]: p["valueString"] for p in eps.prepare(request, node=1).json()["parameter"]}
    moved = text.replace(stamp, "".join(c for c in again["timestamp"].split("+")[0] if c.isdigit()))
    assert digest_value(signed_info(again["digest"])) == sha256(moved)


def test_an_order_is_prepared_signed_and_sent(eps):
    case = Case(eps, pharmacy())
    order = case.keep(case.read(f"{ACUTE}/order-request.json"))
    provenance = resources(order, "Provenance")[0]
    bare = {**order, "entry": [e for e in order["entry"] if e["resource"] is not provenance]}
    told = {p["name"]: p["valueString"] for p in eps.prepare(bare).json()["parameter"]}
    info = signed_info(told["digest"])
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    value = base64.b64encode(key.sign(info, padding.PKCS1v15(), hashes.SHA256())).decode()
    inner = info.decode().replace(' xmlns="http://www.w3.org/2000/09/xmldsig#"', "", 1)
    data = (
        f'<Signature xmlns="http://www.w3.org/2000/09/xmldsig#">{inner}<SignatureValue>{value}</SignatureValue><KeyInfo>'
        "<X509Data><X509Certificate>MIIB</X509Certificate></X509Data></KeyInfo></Signature>"
    )
    signature = provenance["signature"][0]
    signature["when"], signature["data"] = told["timestamp"], base64.b64encode(data.encode()).decode()
    succeeded(eps.message(order))
    (entry,) = case.release().json()["parameter"][0]["resource"]["entry"]
    (back,) = resources(entry["resource"], "Provenance")
    assert base64.b64decode(back["signature"][0]["data"]).decode() == data
    assert back["signature"][0]["when"] == told["timestamp"]
    # Without a signature, or with one that is none, it is refused.
    other = Case(eps).read(f"{ACUTE}/order-request.json")
    unsigned = [e for e in other["entry"] if e["resource"]["resourceType"] != "Provenance"]
    refused(eps.message({**other, "entry": unsigned}), "MISSING_DIGITAL_SIGNATURE")
    resources(other, "Provenance")[0]["signature"][0]["data"] = "bm8geG1s"
    refused(eps.message(other), "INVALID_VALUE", "Invalid signature format.")


def test_a_wrong_check_character_and_a_second_order_are_refused(eps, case):
    expected = json.loads(published("15-errors/order-invalid-checksum-response.json"))["issue"][0]["details"]["coding"][0]
    answer = eps.message(json.loads(published("15-errors/order-invalid-checksum-request.json")))
    assert refused(answer)["issue"][0]["details"]["coding"][0] == expected
    refused(eps.message(case.read(f"{ACUTE}/order-request.json")), "DUPLICATE_PRESCRIPTION_ID", "Duplicate prescription ID exists")


def as_published(told):
    """The issues of a refusal without what stands beside the published ones: where it lies, and what would be right."""
    assert all(issue["expression"][0] and issue["diagnostics"].endswith(".") for issue in told["issue"]), told
    return [{name: issue[name] for name in issue if name not in ("expression", "diagnostics")} for issue in told["issue"]]


def test_the_published_refusals_of_a_release(eps, case):
    holder = pharmacy()
    assert released(case.release(to=holder)) == [case.id]
    told = refused(case.release(to=pharmacy()), "PRESCRIPTION_WITH_ANOTHER_DISPENSER")
    expected = json.loads(published("08-release/response-with-another-dispenser.json"))
    assert as_published(told) == expected["issue"]
    assert told["contained"][0]["identifier"][0]["value"] == holder
    assert told["extension"][0]["valueReference"]["reference"] == "#" + told["contained"][0]["id"]
    refused(case.release(to=holder), "PRESCRIPTION_WITH_ANOTHER_DISPENSER")
    nobody = Case(eps)
    expected = json.loads(published("08-release/response-not-found.json"))
    assert as_published(refused(nobody.release())) == expected["issue"]


def test_thirty_nominated_prescriptions_come_oldest_first_and_once(eps):
    to = pharmacy()
    cases = [Case(eps, to) for _ in range(30)]
    for at, one in enumerate(cases):
        one.order("07-cancel/acute-order-request.json", node=at % 3)
    ids, first = [one.id for one in cases], str(uuid.uuid4())
    request = cases[0].nominated()
    answer = eps.release(request, request=first)
    assert released(answer) == ids[:25]
    rest = eps.release(request, who=SYSTEM, node=1)
    assert released(rest) == ids[25:]
    assert released(eps.release(request, node=2)) == []
    # A pharmacy whose connection broke asks again, here or elsewhere.
    assert eps.release(request, request=first).text == answer.text
    for node in (1, 2):
        assert unaddressed(eps.release(request, request=first, node=node)) == unaddressed(answer)
    # The same request id of another pharmacy is another request.
    assert released(eps.release(Case(eps, pharmacy()).nominated(), request=first)) == []


def test_two_pharmacies_at_the_same_moment_and_one_wins(eps):
    cases = [Case(eps) for _ in range(20)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one: one.order("07-cancel/acute-order-request.json"), cases))
        for one in cases:
            askers = [Case(eps, to) for to in ("FA001", "FA002")]
            for asker in askers:
                asker.id = one.id
            answers = list(pool.map(lambda pair: pair[1].release(node=pair[0]), enumerate(askers)))
            assert Counter(answer.status_code for answer in answers) == {200: 1, 400: 1}, [a.text for a in answers]
            loser = next(answer for answer in answers if answer.status_code == 400)
            told = refused(loser, "PRESCRIPTION_WITH_ANOTHER_DISPENSER")
            winner = askers[answers[0].status_code == 400].dispenser
            assert told["contained"][0]["identifier"][0]["value"] == winner


def test_one_pharmacy_with_two_systems_gets_each_prescription_once(eps):
    to = pharmacy()
    cases = [Case(eps, to) for _ in range(12)]
    for one in cases:
        one.order("07-cancel/acute-order-request.json")
    request, given = cases[0].nominated(), []
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        while got := [one for answer in pool.map(lambda node: eps.release(request, node=node), range(4)) for one in released(answer)]:
            given += got
    assert sorted(given) == sorted(one.id for one in cases)


# Dispensing: §17.4 and 09-dispense-notification in sequence.


def test_the_published_notifications_in_sequence(eps, case):
    cancelled = case.cancel(3)
    assert (cancelled.status_code, response_code(cancelled)) == (200, "R-0001")
    assert released(case.release()) == [case.id]
    assert eps.state(case, node=1) == ("0002", "0008", "0008", "0008", "0005")
    ids = [str(uuid.uuid4()) for _ in range(4)]
    shown = [
        ("0003", "0001", "0001", "0004", "0005"),
        ("0003", "0001", "0001", "0003", "0005"),
        ("0006", "0001", "0001", "0001", "0005"),
        ("0006", "0001", "0001", "0001", "0005"),
    ]
    for at, expected in enumerate(shown):
        body = case.notification(at + 1, ids[at], replaces=ids[2] if at == 3 else None)
        succeeded(eps.dispense(body, node=at % 3))
        assert eps.state(case, node=(at + 1) % 3) == expected, at + 1
        # The same message again changes nothing and is answered alike.
        succeeded(eps.dispense(body, node=(at + 2) % 3))
    refused(eps.dispense(case.notification(4, replaces=ids[2])), "DISPENSE_AMEND_IDENTIFIER_MISMATCH")
    refused(eps.dispense(case.notification(3)), "PRESCRIPTION_INVALID_STATE_TRANSITION")
    expected = json.loads(published("15-errors/dispense-mixed-non-dispensing-reason-response.json"))
    other = Case(eps).read("09-dispense-notification/acute-05-request.json")
    assert refused(eps.dispense(other))["issue"] == expected["issue"]


def test_notifications_that_do_not_fit_are_refused_and_change_nothing(eps, case):
    assert released(case.release()) == [case.id]
    before = eps.states(case)
    fine = ["0001", "0001", "0001", "0001"]
    refused(eps.dispense(case.notification(1, items=fine, sender=pharmacy())), "PRESCRIPTION_WITH_ANOTHER_DISPENSER")
    refused(eps.dispense(case.notification(1)), "MEDICATIONREQUEST_INVALID_STATE_TRANSITION")
    refused(eps.dispense(case.notification(1, items=["0001", "0001", "0004", "0001"], status="0006")), "PRESCRIPTION_INVALID_STATE_TRANSITION")
    missing = case.notification(1, items=fine)
    missing["entry"] = [e for e in missing["entry"] if e["resource"] is not resources(missing, "MedicationDispense")[0]]
    refused(eps.dispense(missing), "MEDICATIONREQUEST_NOT_FOUND")
    other = case.notification(1, items=fine)
    for dispense in resources(other, "MedicationDispense"):
        dispense["subject"]["identifier"]["value"] = "9990548609"
    refused(eps.dispense(other), "FAILURE_TO_PROCESS_MESSAGE")
    refused(eps.dispense(Case(eps).notification(1, items=fine)), "PRESCRIPTION_NOT_FOUND")
    assert eps.states(case) == before


def test_a_notification_is_withdrawn_and_given_again(eps, case):
    assert released(case.release()) == [case.id]
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    succeeded(eps.dispense(case.notification(1, first, items=["0001", "0004", "0003", "0002"], status="0003")))
    succeeded(eps.dispense(case.notification(1, second, items=["0001", "0001", "0001", "0002"], status="0006")))
    refused(case.withdraw(first), "DISPENSE_AMEND_IDENTIFIER_MISMATCH")
    # Clients send the id in upper case.
    succeeded(case.withdraw(second.upper()))
    assert eps.state(case, node=1) == ("0003", "0001", "0004", "0003", "0002")
    succeeded(case.withdraw(first))
    assert eps.state(case, node=2) == ("0002", "0008", "0008", "0008", "0008")
    refused(case.withdraw(first), "PRESCRIPTION_INVALID_STATE_TRANSITION")
    assert case.dispensed() and eps.state(case) == ("0006", "0001", "0001", "0001", "0001")


def test_a_returned_prescription_goes_out_by_its_id_alone(eps, case):
    assert released(eps.release(case.nominated())) == [case.id]
    succeeded(case.give_back())
    assert eps.state(case, node=1) == ("0001", "0007", "0007", "0007", "0007")
    assert released(eps.release(case.nominated())) == []
    assert released(case.release(to=pharmacy(), node=2)) == [case.id]
    refused(Case(eps).give_back(), "PRESCRIPTION_NOT_FOUND")


def test_a_prescription_is_returned_before_anything_was_dispensed_only(eps, case):
    assert released(case.release()) == [case.id]
    succeeded(eps.dispense(case.notification(1, items=["0001", "0004", "0003", "0002"], status="0003")))
    refused(case.give_back(), "PRESCRIPTION_INVALID_STATE_TRANSITION")


def test_a_claim_is_made_once_and_amended(eps, case):
    assert released(case.release()) == [case.id]
    refused(case.claim(), "CLAIM_INVALID_NOT_DISPENSED")
    notification = case.dispensed()
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    refused(case.claim(sender=pharmacy()), "PRESCRIPTION_WITH_ANOTHER_DISPENSER")
    succeeded(case.claim(first))
    succeeded(case.claim(first))
    assert eps.state(case, node=1)[0] == "0008"
    refused(case.claim(), "CLAIM_INVALID_NOT_DISPENSED")
    refused(case.claim(replaces=str(uuid.uuid4())), "DISPENSE_AMEND_IDENTIFIER_MISMATCH")
    succeeded(case.claim(second, replaces=first))
    refused(case.claim(replaces=first), "DISPENSE_AMEND_IDENTIFIER_MISMATCH")
    refused(case.withdraw(notification), "PRESCRIPTION_INVALID_STATE_TRANSITION")
    assert eps.state(case, node=2) == ("0008", "0001", "0001", "0001", "0001")


def mailbox_of(eps, ods, workflow):
    """A mailbox that receives what Spine sends an organisation."""
    mailbox = f"{ods}EPS1"
    eps.spine("mailbox", "add", mailbox, "--ods", ods, "--name", "PRESCRIPTIONS", "--password-file", "-", stdin="password\n")
    eps.spine("workflow", "add", workflow, "--sender", "X2601EPS1", "--receiver", mailbox)
    return mailbox


def test_claims_reach_whoever_pays(eps, client, case):
    reader, seen = client(mailbox_of(eps, "T1450", "EPS_CLAIM")), {}
    assert released(case.release()) == [case.id]
    case.dispensed()
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    succeeded(case.claim(first))
    succeeded(case.claim(second, replaces=first))

    def both():
        for message in reader.iterate_messages():
            told = json.loads(message.read())
            if told.get("resourceType") == "Claim":
                seen[told["identifier"][0]["value"]] = told
            message.acknowledge()
        return {first, second} <= set(seen)

    wait_for("both claims", both)
    assert seen[first]["prescription"] == seen[second]["prescription"]
    assert case.id in json.dumps(seen[first]["prescription"])


def test_each_step_is_in_the_trail(eps, case):
    """Who did what to whose prescription, refusals too (P4)."""
    assert released(case.release()) == [case.id]
    refused(case.release(to=pharmacy()), "PRESCRIPTION_WITH_ANOTHER_DISPENSER")
    notification = case.dispensed()
    succeeded(case.withdraw(notification))
    succeeded(case.give_back())
    assert released(case.release()) == [case.id]
    case.dispensed()
    succeeded(case.claim())
    case.cancel(0)
    lines = eps.spine("audit", "search", "--object", case.id, "--output", "jsonl", node=2).splitlines()
    trail = [json.loads(line) for line in lines]
    seen = Counter(note["interaction"] for note in trail)
    steps = {"eps.order": 1, "eps.release": 3, "eps.dispense": 2, "eps.withdraw": 1, "eps.return": 1, "eps.claim": 1, "eps.cancel": 1}
    assert {name: seen[name] for name in steps} == steps, seen
    assert {note["subject"] for note in trail if note["interaction"] in steps} == {case.number}
    # By which of the caller's scopes: of one who has both, the one that the message needed.
    by = {note["interaction"]: note["granted"].split()[0] for note in trail if note["interaction"] in steps}
    for name, scope in by.items():
        assert scope.endswith("prescribing" if name in ("eps.order", "eps.cancel") else "dispensing"), by
    people = {note["user"] for note in trail if note["interaction"] == "eps.order"}
    assert people == {DOCTOR} and all(note["request_id"] for note in trail)
    assert sorted(note["outcome"] for note in trail if note["interaction"] == "eps.release").count("ok") == 2


def test_the_published_returns_withdrawals_and_claims(eps):
    """Folders 10 to 12: repeat prescribing here, acute above, repeat dispensing in test_eps_time."""
    case = Case(eps, pharmacy())
    case.order(f"{REPEAT}/order-request.json")
    assert released(case.release()) == [case.id]
    succeeded(eps.task(case.read("10-return/repeat-request.json", focus=case.response)))
    assert released(case.release()) == [case.id]
    notification = case.dispensed()
    succeeded(eps.task(case.read("11-withdraw/repeat-request.json", focus=notification)))
    assert eps.state(case)[0] == "0002"
    case.dispensed()
    succeeded(eps.claim(case.read("12-claim/repeat-request.json")))
    assert eps.state(case)[0] == "0008"


# Cancelling: each code of §8.4 that a caller can reach while the function is on.


def test_cancelling_what_nobody_has_yet(eps, case):
    answer = case.cancel(0)
    assert (answer.status_code, response_code(answer)) == (200, "R-0001")
    text = json.dumps(answer.json())
    assert "Prescription/item was cancelled" in text
    expected = json.loads(published("07-cancel/acute-cancel-2-response-R-0001.json"))

    def kinds(bundle):
        return list(dict.fromkeys(entry["resource"]["resourceType"] for entry in bundle["entry"]))

    assert sorted(kinds(answer.json())) == sorted(kinds(expected))
    assert kinds(answer.json())[:3] == ["MessageHeader", "MedicationRequest", "Patient"]
    (header,), (wanted,) = resources(answer.json(), "MessageHeader"), resources(expected, "MessageHeader")
    assert set(wanted) <= set(header) and header["eventCoding"] == wanted["eventCoding"]
    (request,), (wanted,) = resources(answer.json(), "MedicationRequest"), resources(expected, "MedicationRequest")
    assert (request["status"], request["intent"]) == (wanted["status"], wanted["intent"]) == ("cancelled", "order")
    assert request["medicationCodeableConcept"]["coding"][0]["code"] == "763158003"
    again = case.cancel(0, node=1)
    assert (again.status_code, response_code(again)) == (400, "R-0006")
    for item in (1, 2, 3):
        assert response_code(case.cancel(item, by="A99968")) == "R-0001"
    assert eps.state(case, node=2) == ("0005",) * 5
    refused(case.release(), "PRESCRIPTION_CANCELLED")


def test_cancelling_what_a_dispenser_has(eps, case):
    assert released(case.release()) == [case.id]
    first = case.cancel(0)
    assert (first.status_code, response_code(first)) == (400, "R-0002")
    (request,) = resources(first.json(), "MedicationRequest")
    assert request["dispenseRequest"]["performer"]["identifier"]["value"] == case.dispenser
    assert response_code(case.cancel(0)) == "R-0002"
    assert response_code(case.cancel(0, by="A99968", node=1)) == "R-0007"
    succeeded(eps.dispense(case.notification(1, items=["0003", "0001", "0004", "0002"], status="0003")))
    codes = [response_code(case.cancel(item, node=item % 3)) for item in (1, 2, 3)]
    assert codes == ["R-0004", "R-0003", "R-0010"]
    # Dispensed to the end, what was pending comes to nothing.
    case.dispensed()
    assert eps.state(case) == ("0006", "0001", "0001", "0001", "0002")
    assert response_code(case.cancel(0)) == "R-0004"


def test_what_is_pending_cancels_a_prescription_that_comes_back_or_is_not_dispensed(eps):
    returned, undispensed = Case(eps, pharmacy()), Case(eps, pharmacy())
    for case in (returned, undispensed):
        case.order()
        assert released(case.release()) == [case.id]
        assert [response_code(case.cancel(item)) for item in range(4)] == ["R-0002"] * 4
    succeeded(returned.give_back())
    assert eps.state(returned, node=1) == ("0005",) * 5
    refused(returned.release(), "PRESCRIPTION_CANCELLED")
    succeeded(eps.dispense(undispensed.notification(1, items=["0002"] * 4, status="0007")))
    assert eps.state(undispensed, node=2)[0] == "0005"


def test_a_cancelled_item_is_told_at_the_release(eps, case):
    assert response_code(case.cancel(2, reason="0005")) == "R-0001"
    (entry,) = case.release().json()["parameter"][0]["resource"]["entry"]
    items = resources(entry["resource"], "MedicationRequest")
    assert [item["status"] for item in items] == ["active", "active", "cancelled", "active"]
    assert eps.state(case) == ("0002", "0008", "0008", "0005", "0008")


def test_cancelling_what_is_not_there_or_somebody_elses(eps, case):
    before = eps.states(case)
    items, case.items = case.items, [str(uuid.uuid4())]
    refused(case.cancel(0), "R-0008", "Prescription/item not found")
    case.items, number, case.number = items, case.number, nhs_number()
    refused(case.cancel(0), "R-5000")
    case.number = number
    assert eps.states(case) == before


def test_a_cancellation_before_its_order_waits_for_it(eps):
    case = Case(eps, pharmacy())
    order = case.keep(case.read(f"{ACUTE}/order-request.json"))
    refused(case.cancel(1), "R-0008")
    assert response_code(case.cancel(1, node=1)) == "R-0008"
    assert response_code(case.cancel(1, by="A99968", node=2)) == "R-0007"
    refused(case.release(), "RESOURCE_NOT_FOUND")
    succeeded(eps.message(order))
    assert eps.state(case) == ("0001", "0007", "0005", "0007", "0007")


def test_each_published_cancellation(eps):
    for request, order in [
        ("acute-cancel-request.json", "07-cancel/acute-order-request.json"),
        ("acute-cancel-2-request.json", f"{ACUTE}/order-request.json"),
        ("repeat-cancel-request.json", f"{REPEAT}/order-request.json"),
        ("erd-cancel-request.json", f"{ERD}/order-request.json"),
    ]:
        case = Case(eps, pharmacy())
        case.order(order)
        answer = eps.message(case.read(f"07-cancel/{request}"))
        assert (answer.status_code, response_code(answer)) == (200, "R-0001"), request


def test_a_pending_cancellation_takes_effect_at_the_return_and_the_prescriber_hears_of_it(eps, client):
    workflow = "HL7FHIR_R4_PRESCRIPTION_ORDER_RESPONSE"
    mailbox = mailbox_of(eps, "A83008", workflow)
    case = Case(eps, pharmacy())
    case.order()
    assert released(case.release()) == [case.id]
    assert [response_code(case.cancel(item)) for item in (0, 2)] == ["R-0002", "R-0002"]
    assert response_code(case.cancel(1, reason="0007")) == "R-0002"
    succeeded(case.give_back())
    assert eps.state(case) == ("0001", "0005", "0005", "0005", "0007")
    reader, seen = client(mailbox), []

    def both():
        for message in reader.iterate_messages():
            if message.workflow_id == workflow:
                seen.append(json.loads(message.read()))
            message.acknowledge()
        return len(mine()) >= 2

    def mine():
        requests = [(resources(b, "MedicationRequest")[0], b) for b in seen]
        return [(r, b) for r, b in requests if r["groupIdentifier"]["value"] == case.id]

    wait_for("the prescriber's messages", both)
    # A third, for the one whose patient died, never comes: these were sent with one commit.
    told = {request["identifier"][0]["value"]: bundle for request, bundle in mine()}
    assert set(told) == {case.items[0], case.items[2]}
    for bundle in told.values():
        assert resources(bundle, "MessageHeader")[0]["eventCoding"]["code"] == "prescription-order-response"
        assert "R-0001" in json.dumps(bundle)
