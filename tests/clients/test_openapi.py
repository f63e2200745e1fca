"""schemathesis, driven by what the nodes serve at /openapi/<service>.json, asks all nodes what the document allows and what it does not: nothing ends in a fault of
ours, and each answer has a status, a content type and a shape that the document tells. People, relationships, alerts and audit events that are
there are among those that are asked for and changed. SPINE_OPENAPI_EXAMPLES=200 takes so many for each operation, kind of request and caller.
Promise P6."""

import itertools
import json
import os
import subprocess
import uuid
from pathlib import Path

import pytest
import requests
import schemathesis
from callers import citizen, claims_access, officer
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from mesh import ONE, TWO, token
from openapi_files import documents
from openapi_spec_validator import validate
from test_citizens import provider  # noqa: F401
from test_staff_login import PDS, demo_token, headers, spine
from test_token_service import Application

# The files that are compiled in; a test compares them with what is served.
FILES = {path.stem: path for path in sorted((Path(__file__).parents[2] / "docs" / "openapi").glob("*.json"))}


def operations(services):
    schemas = [schemathesis.openapi.from_path(FILES[service]) for service in services]
    return {found.ok().label: found.ok() for schema in schemas for found in schema.get_all_operations()}


OPERATIONS = operations(service for service in FILES if service != "mesh")
MESH = operations(["mesh"])
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
SDS = {
    "organization": "https://fhir.nhs.uk/Id/ods-organization-code|X26",
    "identifier": ["https://fhir.nhs.uk/Id/nhsServiceInteractionId|urn:nhs:names:services:psis:REPC_IN150016UK05"],
}
# Of whom the caller asks about: where the query says so.
ABOUT = {
    "GET /personal-demographics/FHIR/R4/Coverage": "subscriber:identifier",
    "GET /patient-audit/FHIR/R4/AuditEvent": "patient",
}
# What is found.
WISHES = {
    f"GET {PDS}": {"family": "Sm*", "birthdate": ["ge1900-01-01"]},
    "GET /spine-directory/FHIR/R4/Device": SDS,
    "GET /spine-directory/FHIR/R4/Endpoint": SDS,
    "GET /FHIR/R4/Practitioner": {"name": "D"},
    "GET /FHIR/R4/PractitionerRole": {"organization": "X26"},
}
# Holders of a scope have these too, and they are not for suppliers: asked with an operator's key.
OPERATORS = {"pds.status"}
# Lists of what has an id of its own, and where the id is.
LISTS = {
    "/patient-audit/FHIR/R4/AuditEvent": lambda told: [one["resource"]["id"] for one in told.get("entry", [])],
    "/legitimate-relationships/alerts": lambda told: [one["id"] for one in told["items"]],
    "/legitimate-relationships/patients/{nhs}/relationships": lambda told: [one["id"] for one in told["items"]],
}
EXAMPLES = int(os.environ.get("SPINE_OPENAPI_EXAMPLES", "6"))


@pytest.fixture(scope="module")
def people(site):
    """NHS numbers of people in the register."""
    run = [site.binary, "generate", "people", "--count", "10", "--seed", "41"]
    lines = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    spine(site, "pds", "import", "-", stdin=lines)
    return [json.loads(line)["nhsNumber"] for line in lines.splitlines()]


@pytest.fixture(scope="module")
def askers(site, people, provider, tmp_path_factory):  # noqa: F811
    """A member of staff, an application, a citizen who asks for themself, and a privacy officer who has an alert to look at."""
    app = Application(site)
    staff, system = (demo_token(site, who) for who in (site.demo["users"][0]["id"], site.demo["applications"][0]["name"]))
    claims_access(app, staff, people[0])
    themself, privacy = citizen(app, provider, people[1]), officer(site, app, tmp_path_factory.mktemp("officer"))
    known = [
        Asker(site, "staff", staff, people),
        Asker(site, "application", system, people),
        Asker(site, "citizen", themself, people[1:2]),
        Asker(site, "officer", privacy, people),
    ]
    for asker in known:
        asker.look()
    events, alerts = (known[2].seen["/patient-audit/FHIR/R4/AuditEvent"], known[3].seen["/legitimate-relationships/alerts"])
    assert events and alerts, "a citizen sees who looked at them, an officer sees the claim"
    return known


class Asker:
    """Sends cases to the nodes in turn. Each second one asks for people and things that are there, at the version that is there, and in no strange
    role: what is made at random would seldom get so far."""

    def __init__(self, site, name, token, people):
        self.site, self.name, self.token, self.people = site, name, token, people
        self.sent, self.seen = 0, {}
        self.session = requests.Session()
        self.session.trust_env = False

    def look(self):
        """What the lists show to this caller; the person is looked at first, which leaves an event."""
        self.version(self.people[0])
        for path, ids in LISTS.items():
            url = self.node() + path.format(nhs=self.people[0]) + ("?patient=" + self.people[0] if "Audit" in path else "")
            answer = self.session.get(url, headers=headers(self.token), verify=self.site.ca, timeout=30)
            self.seen[path] = ids(answer.json()) if answer.status_code == 200 else []

    def node(self):
        nodes = self.site.demo["nodes"]
        return nodes[self.sent % len(nodes)]["internet"]

    def version(self, number):
        url = f"{self.node()}{PDS}/{number}"
        return self.session.get(url, headers=headers(self.token), verify=self.site.ca, timeout=30).headers.get("etag")

    def aim(self, case):
        known = case.headers if case.headers else {}
        known.pop("NHSD-Session-URID", None)
        if "X-Request-ID" in known:
            known["X-Request-ID"] = str(uuid.uuid4())
        number = self.people[self.sent % len(self.people)]
        if case.path_parameters and "nhs" in case.path_parameters:
            case.path_parameters["nhs"] = number
            if "If-Match" in known:
                known["If-Match"] = self.version(number) or known["If-Match"]
        if case.path_parameters and "id" in case.path_parameters:
            there = self.seen[case.operation.path.partition("/{id}")[0]]
            if there:
                case.path_parameters["id"] = there[self.sent % len(there)]
                case.path_parameters["nhs"] = self.people[0]
        if case.operation.label in ABOUT and case.query is not None:
            case.query[ABOUT[case.operation.label]] = number
        if case.operation.label in WISHES and case.query is not None:
            case.query.update(WISHES[case.operation.label])

    def ask(self, case):
        self.sent += 1
        if self.sent % 2:
            self.aim(case)
        more = {"Authorization": f"Bearer {self.token}"}
        answer = case.call(
            base_url=self.node(), headers=more, session=self.session, verify=self.site.ca, timeout=30
        )
        try:
            case.validate_response(answer, checks=CHECKS)
        except Exception as why:
            why.add_note(f"asked by: {self.name}")
            raise


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize("label", OPERATIONS)
def test_no_request_ends_in_a_fault(askers, label, mode):
    operation = OPERATIONS[label]
    if mode == schemathesis.GenerationMode.NEGATIVE and not list(operation.iter_parameters()) and not operation.body:
        return
    # Each request comes from the next caller: what one is refused for, another may do.
    turn = itertools.cycle(askers)

    @settings(
        max_examples=EXAMPLES * len(askers),
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case):
        next(turn).ask(case)

    ask()


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode), ids=lambda mode: mode.name.lower())
@pytest.mark.parametrize("label", MESH)
def test_no_request_to_a_mailbox_ends_in_a_fault(site, label, mode):
    operation = MESH[label]
    if mode == schemathesis.GenerationMode.NEGATIVE and not list(operation.iter_parameters()) and not operation.body:
        return
    with site.raw() as raw:
        there = raw.sent(TWO, ONE)

        @settings(
            max_examples=EXAMPLES * 4,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case):
            # Every other one is for a mailbox and a message that are there.
            turn = next(turns)
            for name, value in {"mailbox_id": ONE, "message_id": there}.items() if turn % 2 else ():
                if case.path_parameters and name in case.path_parameters:
                    case.path_parameters[name] = value
            mailbox = ONE if turn % 2 else str((case.path_parameters or {}).get("mailbox_id", ONE))
            known = {"Authorization": token(mailbox).encode("ascii", "ignore").decode()}
            answer = case.call(base_url=site.url(turn), headers=known, session=raw.session, verify=site.ca, timeout=30)
            case.validate_response(answer, checks=CHECKS[:2])

        turns = itertools.count()
        ask()


def test_each_node_serves_the_documents_as_they_are(site):
    made = documents()
    assert set(made) == set(FILES)
    for service, text in made.items():
        file = FILES[service].read_bytes()
        assert file == text.encode(), f"{service}: run python3 tests/clients/openapi_files.py"
        validate(json.loads(text))
        for node in range(site.size):
            url = f"{site.demo['nodes'][node]['internet'].rstrip('/')}/openapi/{service}.json"
            answer = requests.get(url, verify=site.ca, timeout=30)
            assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "application/json", file)
    with site.raw() as raw:
        assert raw.get("/openapi/mesh.json", auth=None).content == FILES["mesh"].read_bytes()


def test_a_client_finds_out_what_there_is_and_where_tokens_are(site):
    node = site.demo["nodes"][0]["internet"].rstrip("/")
    told = requests.get(f"{node}{PDS.rpartition('/')[0]}/metadata", verify=site.ca, timeout=30)
    assert told.headers["content-type"] == "application/fhir+json"
    patient = next(one for one in told.json()["rest"][0]["resource"] if one["type"] == "Patient")
    names = {param["name"] for param in patient["searchParam"]}
    query = next(op for op in OPERATIONS.values() if op.definition.raw["x-interactions"] == ["pds.search"])
    assert {param.name for param in query.query} <= names
    for base in ("", PDS.rpartition("/")[0], "/patient-audit/FHIR/R4"):
        smart = requests.get(f"{node}{base}/.well-known/smart-configuration", verify=site.ca, timeout=30)
        assert smart.status_code == 200 and smart.json()["token_endpoint"] == site.demo["token_url"]


def test_the_document_and_the_gate_know_the_same_interactions(site):
    run = [site.binary, "role", "matrix", "--output", "json"]
    rows = json.loads(subprocess.run(run, capture_output=True, text=True, check=True).stdout)["items"]
    api = {row["interaction"]: row["admits"] for row in rows if row["listener"] == "api"}
    told = [name for operation in OPERATIONS.values() for name in operation.definition.raw["x-interactions"]]
    assert len(told) == len(set(told)), "one operation for each"
    assert set(told) <= set(api), "the gate has a row for each"
    guarded = {name for name, admits in api.items() if admits != "anyone"} - OPERATORS
    assert guarded <= set(told), "nothing that takes a token is left out"
