"""The directory by LDAP, with pip's ldap3 and Debian's ldap-utils: what suppliers' look-ups send, over mutual TLS."""

import json
import os
import shutil
import ssl
import subprocess

import ldap3
import pytest
from ldap3.core.exceptions import LDAPException

BASE = "ou=Services,o=nhs"
INTERACTION = "urn:nhs:names:services:gp2gp:RCMR_IN010000UK05"
LDIF = os.path.join(os.path.dirname(__file__), "../../src/services/directory/tests/data/sample.ldif")


@pytest.fixture(scope="module")
def url(site, tmp_path_factory):
    """The first node's LDAP address, with systems of the sample and a thousand practices in the registry."""
    folder = tmp_path_factory.mktemp("directory")
    with open(LDIF, encoding="utf-8") as file:
        entries = file.read().split("\n\n")
    services = folder / "services.ldif"
    services.write_text("\n\n".join(entries[:2]))
    practices = folder / "epraccur.csv"
    rows = []
    for n in range(1000):
        cells = [f"Z{n:05}", f"PRACTICE {n} SURGERY", "Y63", "QHM", "1 HIGH STREET", "", "", "LEEDS", "WEST YORKSHIRE"]
        cells += [f"LS{n % 30} {n % 9}AA", "19740401", "", "A", "B", "16C", "20130401", "", "0113 0000000"]
        cells += ["", "", "", "0", "", "16C", "", "4", ""]
        rows.append(",".join(f'"{cell}"' for cell in cells))
    practices.write_text("\n".join(rows) + "\n")
    socket = site.path(site.demo["nodes"][0]["socket"])
    for file in (services, practices):
        command = [site.binary, "party", "import", str(file), "--socket", socket]
        subprocess.run(command, check=True, timeout=120)
    return site.demo["nodes"][0]["ldap"]


@pytest.fixture
def connection(site, url):
    cert, key = site.cert()
    tls = ldap3.Tls(
        local_certificate_file=cert, local_private_key_file=key, ca_certs_file=site.ca, validate=ssl.CERT_REQUIRED
    )
    server = ldap3.Server(url, tls=tls, get_info=ldap3.ALL)
    with ldap3.Connection(server, auto_bind=True, receive_timeout=20) as connection:
        yield connection


def test_a_system_and_its_endpoint_are_found_as_adaptors_look_them_up(connection):
    query = f"(&(nhsIDCode=A99999) (objectClass=nhsAs) (nhsAsSvcIA={INTERACTION}))"
    assert connection.search(BASE, query, attributes=["nhsMHSPartyKey", "uniqueIdentifier"])
    (entry,) = connection.entries
    assert entry.uniqueIdentifier.value == "200000009001"
    party_key = entry.nhsMHSPartyKey.value
    query = f"(&(objectClass=nhsMhs) (nhsMHSPartyKey={party_key}) (nhsMhsSvcIA={INTERACTION}))"
    assert connection.search(BASE, query, attributes=["nhsMHSEndPoint", "nhsMhsCPAId", "nhsMHSRetries"])
    (entry,) = connection.entries
    assert entry.nhsMHSEndPoint.values == ["https://mhs.a99999.example.nhs.uk/reliablemessaging/intermediary"]
    assert entry.nhsMhsCPAId.value == "S20260101000001"


def test_the_schema_and_the_root_are_read(connection):
    assert "o=nhs" in connection.server.info.naming_contexts
    assert "nhsMhs" in connection.server.schema.object_classes


def test_a_thousand_practices_come_page_by_page(connection):
    found = connection.extend.standard.paged_search(
        "ou=Organisations,o=nhs", "(nhsOrgTypeCode=RO177)", attributes=["o"], paged_size=300, generator=False
    )
    names = {entry["attributes"]["o"][0] for entry in found}
    assert len(names) >= 1000 and "PRACTICE 999 SURGERY" in names


def test_substrings_limits_and_comparing(connection):
    assert connection.search("o=nhs", "(o=practice 77 *)", attributes=["nhsIDCode"])
    assert [e.nhsIDCode.value for e in connection.entries] == ["Z00077"]
    connection.search("ou=Organisations,o=nhs", "(o=PRACTICE*)", size_limit=5)
    assert connection.result["description"] == "sizeLimitExceeded"
    assert connection.compare(f"uniqueIdentifier=200000009001,{BASE}", "nhsIDCode", "A99999")
    assert not connection.compare(f"uniqueIdentifier=200000009001,{BASE}", "nhsIDCode", "X26")


def test_nothing_can_be_changed(connection):
    assert not connection.delete(f"uniqueIdentifier=200000009001,{BASE}")
    assert connection.result["description"] == "unwillingToPerform"


def test_refusals_are_in_the_trail_and_a_flood_of_them_leaves_few(site, connection):
    def records(outcome):
        command = ["audit", "search", "--object", system, "--output", "json", "--socket", site.path(site.demo["nodes"][0]["socket"])]
        told = subprocess.run([site.binary, *command], capture_output=True, text=True, check=True, timeout=60).stdout
        return [r for r in json.loads(told)["items"] if r["interaction"].startswith("directory.ldap") and r["outcome"] == outcome]

    system = site.demo["clients"][0]["asid"]
    for _ in range(100):
        assert not connection.rebind(user="cn=somebody", password="guess", authentication=ldap3.SIMPLE)
        assert connection.result["description"] == "invalidCredentials"
    assert 1 <= len(records("invalid_credentials")) <= 2
    connection.user = connection.password = None
    assert connection.rebind(authentication=ldap3.ANONYMOUS, read_server_info=False)
    for _ in range(20):
        assert not connection.delete(f"uniqueIdentifier=200000009001,{BASE}")
    assert 1 <= len(records("unwilling")) <= 2
    # What a client wanted no more of is no refusal; all of a thousand practices and of what else there is, is one.
    connection.search("ou=Organisations,o=nhs", "(o=PRACTICE*)", size_limit=5)
    assert not records("size_limit")
    connection.search("o=nhs", "(objectClass=*)", attributes=["o"])
    assert connection.result["description"] in ("sizeLimitExceeded", "adminLimitExceeded")
    assert records("size_limit") + records("admin_limit")


def test_no_certificate_no_answer(site, url):
    server = ldap3.Server(url, tls=ldap3.Tls(ca_certs_file=site.ca, validate=ssl.CERT_REQUIRED))
    with pytest.raises(LDAPException):
        connection = ldap3.Connection(server, auto_bind=True, receive_timeout=10)
        connection.search("o=nhs", "(objectClass=*)")


@pytest.mark.skipif(not shutil.which("ldapsearch"), reason="ldap-utils is not installed")
def test_ldap_utils_search_and_compare(site, url):
    cert, key = site.cert()
    env = {**os.environ, "LDAPTLS_CACERT": site.ca, "LDAPTLS_CERT": cert, "LDAPTLS_KEY": key, "LDAPTLS_REQCERT": "demand"}

    def run(*command):
        return subprocess.run([*command], env=env, capture_output=True, text=True, timeout=60, check=False)

    found = run("ldapsearch", "-x", "-LLL", "-H", url, "-b", BASE, "(nhsIDCode=A99999)", "uniqueIdentifier")
    assert found.returncode == 0, found.stderr
    assert "uniqueIdentifier: 200000009001" in found.stdout
    paged = run("ldapsearch", "-x", "-LLL", "-H", url, "-E", "pr=250/noprompt", "-b", "ou=Organisations,o=nhs", "(o=practice*)", "o")
    assert paged.stdout.count("dn: uniqueIdentifier=Z") == 1000, paged.stderr
    yes = run("ldapcompare", "-x", "-H", url, f"uniqueIdentifier=200000009001,{BASE}", "nhsIDCode:A99999")
    assert "TRUE" in yes.stdout
