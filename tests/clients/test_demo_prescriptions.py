"""The demo's prescriptions: the tracker shows each as demo.json lists it, and they are in every state that messages alone reach."""

import uuid

import pytest
import requests
from test_staff_login import demo_token

PHARMACIST = "656005750105"
BY_MESSAGES = {"0000", "0001", "0002", "0003", "0005", "0006", "0007", "0008", "9000", "9001", "9005"}
REPEATS = "https://fhir.nhs.uk/StructureDefinition/Extension-EPS-RepeatInformation"


@pytest.fixture(scope="module")
def token(site):
    return demo_token(site, PHARMACIST)


def tasks(site, token, short):
    """Of each issue its number, from one, and its status."""
    head = {"Authorization": f"Bearer {token}", "X-Request-ID": str(uuid.uuid4())}
    url = site.demo["nodes"][1]["internet"] + "/fhir-dispensing/FHIR/R4/Task"
    answer = requests.get(url, params={"focus:identifier": short}, headers=head, verify=site.ca, timeout=30)
    assert answer.status_code == 200, answer.text
    found = {}
    for entry in answer.json()["entry"]:
        task = entry["resource"]
        (repeats,) = [e["extension"] for e in task["extension"] if e["url"] == REPEATS] or [[]]
        issued = [part["valueInteger"] for part in repeats if part["url"] == "numberOfRepeatsIssued"]
        found[issued[0] if issued else 1] = task["businessStatus"]["coding"][0]["code"]
    return found


def test_the_tracker_shows_every_prescription_as_the_demo_lists_it(site, token):
    listed = site.demo["prescriptions"]
    assert {state for one in listed for state in one["states"]} == BY_MESSAGES
    for one in listed:
        assert one["state"] == one["states"][one["issue"] - 1], one
        found = tasks(site, token, one["id"])
        assert found[one["issue"]] == one["state"], (one, found)
        for issue, state in found.items():
            assert one["states"][issue - 1] == state, (one, found)
