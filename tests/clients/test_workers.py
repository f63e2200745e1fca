"""People who work here, looked up as other systems do: by LDAP with ldap3 and ldap-utils, and in FHIR R4 (spec/directory.md §B.5, §C.5). What they
log in by is told nowhere, and nobody sees them without a certificate or a token that may. Promise P5."""

import json
import os
import re
import shutil
import ssl
import subprocess
import time

import ldap3
import pytest
import requests
from test_staff_login import demo_token, spine

PEOPLE = "ou=People,o=nhs"
WARD = "555000000001"
FHIR = "/FHIR/R4"
USER_ID = "https://fhir.nhs.uk/Id/sds-user-id"
ROLE_ID = "https://fhir.nhs.uk/Id/sds-role-profile-id"


class Worker:
    """Somebody who was registered by an operator, active, with two role profiles in X26 of which one works in a workgroup."""

    uid, org, urp, password = "656005750119", "X26", "656014452119", "worker-password-4711"


def sure(site, *args, stdin=None):
    """Runs a command whose work may be done already: the site is other tests' too."""
    socket = site.path(site.demo["nodes"][0]["socket"])
    run = [site.binary, *args, "--socket", socket]
    return subprocess.run(run, input=stdin, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def worker(site):
    uid, names = Worker.uid, ["--given", "Wanda", "--family", "Worker-Bee", "--title", "Dr", "--born", "1980-07-04"]
    more = ["--email", "wanda@example.nhs.uk", "--professional", "nmc_id=12A3456E"]
    sure(site, "user", "add", "--uid", uid, *names, *more)
    applicant = sure(site, "user", "add", "--uid", "656005750118", "--given", "Abe", "--family", "Applicant")
    assert applicant.returncode == 0 or "conflict" in applicant.stderr or "somebody" in applicant.stderr, applicant.stderr
    role = ["user", "role", "add", uid, "--ods", "X26", "--role", "S8000:G8000:R8001"]
    sure(site, *role, "--urp", Worker.urp, "--activity", "B0825=Amend Patient Demographics")
    sure(site, *role, "--urp", "656014452120", "--workgroup", f"{WARD}=WARD 7")
    sure(site, "user", "password", uid, stdin=Worker.password + "\n")
    sure(site, "user", "verify", uid, "--level", "3")
    sure(site, "user", "activate", uid)
    for node in site.demo["nodes"]:
        # A fenced read: from here on this node has it, and the directory answers from what a node has.
        run = [site.binary, "user", "show", uid, "--output", "json", "--socket", site.path(node["socket"])]
        shown = json.loads(subprocess.run(run, capture_output=True, text=True, timeout=60, check=True).stdout)
        assert shown["state"] == "active", shown
    return Worker


@pytest.fixture
def connection(site, worker):
    cert, key = site.cert()
    tls = ldap3.Tls(
        local_certificate_file=cert, local_private_key_file=key, ca_certs_file=site.ca, validate=ssl.CERT_REQUIRED
    )
    server = ldap3.Server(site.demo["nodes"][-1]["ldap"], tls=tls, get_info=ldap3.ALL)
    with ldap3.Connection(server, auto_bind=True, receive_timeout=20) as connection:
        yield connection


def secrets(site):
    """What must be told nowhere."""
    demo = [user[kind] for user in site.demo["users"] for kind in ("password", "totp_secret")]
    return [*demo, Worker.password, "1980-07-04", "19800704", "Applicant"]


def test_a_person_is_found_by_what_clients_know(connection, worker):
    for query in (f"(uid={worker.uid})", "(sn=WORKER-BEE)", "(cn=wanda worker-bee)", "(sn=work*)", "(nhsNMC=12A3456E)", "(mail=wanda@*)"):
        assert connection.search(PEOPLE, f"(&(objectClass=nhsPerson) {query})", attributes=ldap3.ALL_ATTRIBUTES), query
        (entry,) = connection.entries
        assert entry.entry_dn == f"uid={worker.uid},{PEOPLE}", query
    assert (entry.cn.value, entry.nhsPersonStatus.value) == ("Wanda Worker-Bee", "active")
    assert "nhsPerson" in entry.objectClass.values
    for nobody in ("(uid=656005750100)", "(uid=656005750118)", "(sn=Nobody)", "(nhsGMC=12A3456E)"):
        assert not connection.search(PEOPLE, nobody), nobody
        assert connection.result["description"] == "success"
    assert not connection.search(f"uid=656005750100,{PEOPLE}", "(objectClass=*)", ldap3.BASE)
    assert connection.result["description"] == "noSuchObject"


def test_a_role_profile_and_its_workgroup_are_found(connection, worker):
    urp = worker.urp
    assert connection.search(PEOPLE, f"(uniqueIdentifier={urp})", attributes=ldap3.ALL_ATTRIBUTES)
    (entry,) = connection.entries
    assert entry.entry_dn.startswith(f"uniqueIdentifier={urp},uniqueIdentifier=")
    assert entry.entry_dn.endswith(f",uid={worker.uid},{PEOPLE}")
    assert entry.nhsJobRoleCode.value == "S8000:G8000:R8001"
    assert entry.nhsJobRole.value == '"Clinical":"Clinical Provision":"Nurse Access Role"'
    assert "B0825" in entry.nhsBusinessFunctionsCodes.values
    # From the person down, and by scope.
    person = f"uid={worker.uid},{PEOPLE}"
    assert connection.search(person, "(objectClass=nhsOrgPerson)", ldap3.LEVEL, attributes=["nhsIDCode", "o"])
    assert connection.entries[0].nhsIDCode.value == "X26"
    assert connection.search(person, "(objectClass=nhsOrgPersonRole)", ldap3.SUBTREE)
    assert len(connection.entries) >= 2
    assert not connection.search(person, "(objectClass=nhsOrgPersonRole)", ldap3.LEVEL)
    # Who works in a workgroup, and what it is.
    assert connection.search(PEOPLE, f"(nhsWorkGroupsCodes={WARD})", attributes=["nhsWorkGroups"])
    assert connection.entries[0].nhsWorkGroups.values == ["WARD 7"]
    assert connection.search("ou=Workgroups,o=nhs", "(nhsIDCode=X26)", attributes=ldap3.ALL_ATTRIBUTES)
    (entry,) = connection.entries
    assert (entry.uniqueIdentifier.value, entry.cn.value) == (WARD, "WARD 7")
    assert connection.compare(entry.entry_dn, "cn", "ward 7")


def test_everybody_comes_page_by_page_and_within_limits(connection):
    found = connection.extend.standard.paged_search(
        PEOPLE, "(objectClass=*)", attributes=["objectClass"], paged_size=2, generator=False
    )
    names = [entry["dn"] for entry in found]
    connection.search(PEOPLE, "(objectClass=*)")
    # ldap3 turns each page round.
    assert sorted(names) == sorted(entry.entry_dn for entry in connection.entries)
    connection.search(PEOPLE, "(objectClass=*)", size_limit=2)
    assert connection.result["description"] == "sizeLimitExceeded"


def test_the_schema_knows_people(connection):
    schema = connection.server.schema
    assert {"nhsPerson", "nhsOrgPerson", "nhsOrgPersonRole", "nhsWg"} <= set(schema.object_classes)
    assert {"givenName", "displayName", "personalTitle", "nhsJobRole"} <= set(schema.attribute_types)


def test_no_secret_is_told_by_ldap(site, connection):
    connection.search(PEOPLE, "(objectClass=*)", attributes=[ldap3.ALL_ATTRIBUTES, ldap3.ALL_OPERATIONAL_ATTRIBUTES])
    told = "\n".join(entry.entry_to_json() for entry in connection.entries)
    assert "Wanda" in told
    for secret in secrets(site):
        assert secret not in told
    for attribute in ("userPassword", "nhsPuSecret", "userCertificate"):
        assert not connection.search("o=nhs", f"({attribute}=*)"), attribute


def test_nothing_about_people_can_be_changed(connection, worker):
    person = f"uid={worker.uid},{PEOPLE}"
    for done in (
        connection.delete(person),
        connection.modify(person, {"mail": [(ldap3.MODIFY_REPLACE, ["x@y"])]}),
    ):
        assert not done and connection.result["description"] == "unwillingToPerform"


@pytest.mark.skipif(not shutil.which("ldapsearch"), reason="ldap-utils is not installed")
def test_ldap_utils_find_people(site, worker):
    cert, key = site.cert()
    env = {**os.environ, "LDAPTLS_CACERT": site.ca, "LDAPTLS_CERT": cert, "LDAPTLS_KEY": key, "LDAPTLS_REQCERT": "demand"}
    url = site.demo["nodes"][0]["ldap"]

    def run(*command):
        return subprocess.run([*command], env=env, capture_output=True, text=True, timeout=60, check=False)

    found = run("ldapsearch", "-x", "-LLL", "-H", url, "-b", PEOPLE, f"(uid={worker.uid})")
    assert found.returncode == 0, found.stderr
    assert "sn: Worker-Bee" in found.stdout and "objectClass: nhsOrgPerson" in found.stdout
    paged = run("ldapsearch", "-x", "-LLL", "-H", url, "-E", "pr=2/noprompt", "-b", PEOPLE, "(nhsIDCode=X26)", "1.1")
    assert paged.stdout.count("dn: uniqueIdentifier=") >= 4, paged.stderr
    nobody = run("ldapsearch", "-x", "-LLL", "-H", url, "-s", "base", "-b", f"uid=656005750100,{PEOPLE}")
    assert nobody.returncode == 32, nobody.stdout


def ask(site, token, path, node=0, **params):
    url = site.demo["nodes"][node]["internet"].rstrip("/") + FHIR + path
    given = {"Authorization": f"Bearer {token}"} if token else {}
    return requests.get(url, params=params, headers=given, verify=site.ca, timeout=30)


@pytest.fixture(scope="module")
def token(site):
    return demo_token(site, site.demo["applications"][0]["name"])


def test_fhir_finds_people_and_roles_on_every_node(site, worker, token):
    for node in range(len(site.demo["nodes"])):
        for params in ({"identifier": f"{USER_ID}|{worker.uid}"}, {"name": "worker"}, {"name": "Wanda"}):
            bundle = ask(site, token, "/Practitioner", node, **params).json()
            assert (bundle["type"], bundle["total"]) == ("searchset", 1), bundle
            found = bundle["entry"][0]["resource"]
            assert found["id"] == worker.uid and found["active"] is True
            assert found["name"][0]["family"] == "Worker-Bee"
            assert found["telecom"][0]["value"] == "wanda@example.nhs.uk"
        bundle = ask(site, token, "/PractitionerRole", node, practitioner=worker.uid).json()
        assert bundle["total"] >= 2
        role = bundle["entry"][0]["resource"]
        assert role["organization"]["identifier"]["value"] == "X26"
        assert role["code"][0]["coding"][0]["code"] == "R8001"
        one = ask(site, token, "/PractitionerRole", node, identifier=f"{ROLE_ID}|{role['id']}").json()
        assert one["entry"][0]["resource"] == role
        # What a role refers to is there.
        url = role["practitioner"]["reference"].split(FHIR, 1)[1]
        assert ask(site, token, url, node).json() == found
    bundle = ask(site, token, "/PractitionerRole", organization="X26", _count=1).json()
    assert len(bundle["entry"]) == 1 < bundle["total"]
    assert bundle["link"][1]["relation"] == "next"


def test_a_member_of_staff_may_look_colleagues_up(site):
    mine = demo_token(site, site.demo["users"][0]["id"])
    answer = ask(site, mine, "/Practitioner", name="doctor")
    assert answer.status_code == 200 and answer.json()["total"] == 1


def test_fhir_refuses_as_specified_and_tells_no_secret(site, worker, token):
    for path, params, status in [
        (f"/Practitioner/{worker.uid}", {}, 200),
        ("/Practitioner/656005750100", {}, 404),
        ("/PractitionerRole/656005750100", {}, 404),
        ("/Practitioner", {}, 400),
        ("/PractitionerRole", {"_count": 5}, 400),
        ("/Practitioner", {"born": "1980"}, 400),
        ("/Practitioner", {"name": "d,n"}, 200),
        ("/PractitionerRole", {"organization": "X26"}, 200),
        ("/metadata", {}, 200),
    ]:
        answer = ask(site, token, path, **params)
        assert answer.status_code == status, (path, answer.text)
        assert (answer.json()["resourceType"] == "OperationOutcome") == (status != 200)
        assert not any(secret in answer.text for secret in secrets(site))
    for refused in (None, "not-a-token"):
        answer = ask(site, refused, "/Practitioner", name="worker")
        assert answer.status_code == 401 and answer.json()["resourceType"] == "OperationOutcome"
    # The key that opens reference data does not open people.
    url = site.demo["nodes"][0]["internet"].rstrip("/") + FHIR + "/Practitioner?name=worker"
    key = {"apikey": site.demo["applications"][0]["client_id"]}
    assert requests.get(url, headers=key, verify=site.ca, timeout=30).status_code in (401, 403)


def trail(site, word):
    """Records of the audit trail by their ids, but those of looking into it."""
    told = json.loads(spine(site, "audit", "search", "--object", word, "--limit", "1000", "--output", "json"))["items"]
    return {one["id"]: one for one in told if not one["interaction"].startswith("audit.")}


def test_who_looked_at_whom_is_in_the_trail(site, worker, connection):
    mine = site.demo["users"][0]["id"]
    token, before = demo_token(site, mine), trail(site, worker.uid)
    assert ask(site, token, f"/Practitioner/{worker.uid}").status_code == 200
    assert connection.search(PEOPLE, f"(uid={worker.uid})")
    new = [one for number, one in trail(site, worker.uid).items() if number not in before]
    read, found = sorted(new, key=lambda one: one["interaction"])
    assert (read["interaction"], read["outcome"], read["user"]) == ("directory.fhir.practitioner", "ok", mine), read
    assert (found["interaction"], found["outcome"], found["object"]) == ("directory.ldap.search", "ok", PEOPLE), found
    assert found["asid"] and read["other"] == found["other"] == worker.uid
    before = trail(site, "/FHIR/R4/Practitioner/656005750100")
    assert ask(site, token, "/Practitioner/656005750100").status_code == 404
    (none,) = [one for number, one in trail(site, "/FHIR/R4/Practitioner/656005750100").items() if number not in before]
    assert (none["outcome"], none["user"], none["other"]) == ("not_found", mine, ""), none


def test_a_flood_of_strangers_leaves_a_few_records_that_tell_of_all(site):
    kind = ("pds.related", "SPN-1023")

    def strangers():
        told = trail(site, "strangers").items()
        return {number: one for number, one in told if (one["interaction"], one["outcome"]) == kind}

    url = site.demo["nodes"][0]["internet"].rstrip("/") + "/personal-demographics/FHIR/R4/Patient/9990003343/RelatedPerson"
    before, sent = strangers(), 0
    with requests.Session() as session:
        session.trust_env = False
        for n in range(1_000):
            headers = {"Authorization": f"Bearer forged-{n}", "X-Request-ID": "60e0b220-8136-4ca5-ae46-1d97ef59d068"}
            sent += session.get(url, headers=headers, verify=site.ca, timeout=30).status_code == 401

    def all_told():
        new = [one for number, one in strangers().items() if number not in before]
        times = [re.match(r"strangers: (\d+) refusals from \S+ to \S+$", one["detail"]) for one in new]
        # The first alone has no number.
        return new if sum(int(told[1]) if told else 1 for told in times) >= sent else None

    # Each look is in the trail too, and a thousand of them would hide what they look for: seldom, for longer than the minute of a record.
    new = None
    for _ in range(20):
        new = all_told()
        if new:
            break
        time.sleep(5)
    assert new, "the trail does not tell of all of them"
    assert sent > 900 and len(new) <= 4, (sent, new)
    assert all(one["address"] == "127.0.0.1" and not one["application"] for one in new)
