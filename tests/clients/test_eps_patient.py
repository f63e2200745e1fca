"""What happens to a patient reaches the prescriptions (spec/eps.md §8.3, §17.7): another nomination and a death, as a prescriber's system tells the
demographics service of them. Promises P2 and P3."""

import json
import subprocess

import pytest
from eps import ODS, Case, Eps, pharmacy, refused, released, resources, response_code
from mesh import wait_for

PDS = "/personal-demographics/FHIR/R4/Patient"
UK = "https://fhir.hl7.org.uk/StructureDefinition/Extension-UKCore-"
# Behind the demo's patients, and before those that other tests change.
FIRST, LAST = 40, 120


@pytest.fixture(scope="module")
def eps(site):
    return Eps(site)


@pytest.fixture
def patient(eps, site):
    """The number of one of the demo's people who lives and has no pharmacy."""
    run = [site.binary, "generate", "people", "--count", str(LAST), "--seed", "1"]
    lines = subprocess.run(run, capture_output=True, text=True, check=True).stdout.splitlines()[FIRST:]
    for number in (json.loads(line)["nhsNumber"] for line in lines):
        answer = eps.call("GET", f"{PDS}/{number}")
        person = answer.json()
        whole = answer.status_code == 200 and person["id"] == number and person["meta"]["security"][0]["code"] == "U"
        if whole and "deceasedDateTime" not in person and "extension" not in person:
            return number
    raise AssertionError("nobody fits")


def patch(eps, number, *changes):
    """Changes the person as they stand now."""
    match = eps.call("GET", f"{PDS}/{number}").headers["etag"]
    headers = {"Content-Type": "application/json-patch+json", "If-Match": match}
    answer = eps.call("PATCH", f"{PDS}/{number}", {"patches": list(changes)}, headers=headers)
    assert answer.status_code == 200, answer.text


def nominates(code):
    return {"url": UK + "NominatedPharmacy", "valueReference": {"identifier": {"system": ODS, "value": code}}}


def known_pharmacy(site):
    """One that the directory has: whoever loaded reference data is told of all others that they are wrong."""
    code = pharmacy()
    socket = site.path(site.demo["nodes"][0]["socket"])
    add = [site.binary, "party", "add", code, "--name", "Pharmacy", "--socket", socket]
    subprocess.run(add, capture_output=True, check=True)
    return code


def died():
    system = "https://fhir.hl7.org.uk/CodeSystem/UKCore-DeathNotificationStatus"
    coding = {"system": system, "version": "1.0.0", "code": "1", "display": "Informal"}
    status = {"url": "deathNotificationStatus", "valueCodeableConcept": {"coding": [coding]}}
    return {"url": UK + "DeathNotificationStatus", "extension": [status]}


def owner(eps, case):
    (task,) = resources(eps.tasks(query={"identifier": case.id}, node=1).json(), "Task")
    return task["owner"]["identifier"]["value"]


def test_prescriptions_follow_the_nomination_and_end_with_the_patient(eps, patient, site):
    first, second = known_pharmacy(site), known_pharmacy(site)
    patch(eps, patient, {"op": "add", "path": "/extension/-", "value": nominates(first)})
    waiting, held = Case(eps, first, patient), Case(eps, first, patient)
    for case in (held, waiting):
        case.order("07-cancel/acute-order-request.json")
    assert released(held.release()) == [held.id]
    patch(eps, patient, {"op": "replace", "path": "/extension/0", "value": nominates(second)})
    wait_for("the nomination to be followed", lambda: owner(eps, waiting) == second)
    assert released(eps.release(waiting.nominated(), node=2)) == []
    # What a pharmacy has stays there.
    assert owner(eps, held) == first
    day = {"op": "add", "path": "/deceasedDateTime", "value": "2026-01-02"}
    patch(eps, patient, {"op": "add", "path": "/extension/-", "value": died()}, day)
    wait_for("the prescription to be cancelled", lambda: eps.state(waiting, node=2)[0] == "0005")
    assert set(eps.state(waiting)[1:]) == {"0005"}
    refused(waiting.release(to=second), "PRESCRIPTION_CANCELLED")
    assert response_code(waiting.cancel()) == "R-0006"
    # With its dispenser, it is cancelled when it comes back.
    assert eps.state(held)[0] == "0002"
    assert held.give_back().status_code == 200 and eps.state(held)[0] == "0005"
