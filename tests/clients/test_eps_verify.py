"""Prescriptions where signatures are verified (spec/eps.md §6.5, §9.4), on a site of its own with a test's own authorities: what passes, what each of the
nine checks refuses and in which words, and what happens to a prescription whose signature no longer holds when it is given out. Then the
same site with functions switched off (§3.2) and each choice of who must hold a prescription (§21 no. 2). Promises P3 and P10."""

import base64
import hashlib
import json
import os
import re
import uuid

import own_site
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from eps import EXTENSION, PHARMACY, PRESCRIBING, UUID, Case, Eps, digest_value, pharmacy, published, refused, released, resources, succeeded
from mesh import wait_for
from prescribers import RS1, RS256, Holder, prepared, put, signed, value_of

ORDER = "01-order-acute-nominated/order-request.json"
# The rule of each check (§6.5), in its order.
FORMAT, SEVERAL, CERTIFICATE, INVALID, MISMATCH, REVOKED, AUTHORITY_REVOKED, EXPIRED, NOT_TRUSTED = (
    "Invalid signature format",
    "Multiple certificates detected",
    "Invalid certificate",
    "Signature is invalid",
    "Signature doesn't match prescription",
    "Certificate is revoked",
    "CA certificate is revoked",
    "Certificate expired when signed",
    "Certificate not trusted",
)


class Pki:
    """A root, two authorities below it of which one was revoked, and prescribers."""

    def __init__(self, folder):
        self.trust, self.revocations = os.path.join(folder, "trust.pem"), os.path.join(folder, "revoked.pem")
        self.root = Holder("Test root")
        self.authority, self.fallen = (Holder(name, self.root, authority=True) for name in ("Level 1 A", "Level 1 B"))
        self.doctor, self.gone = Holder("doctor", self.authority), Holder("gone", self.authority)
        self.expired = Holder("expired", self.authority, since=-700, until=-1)
        self.under_fallen, self.foreign = Holder("under", self.fallen), Holder("foreign", Holder("Nobody's authority"))
        with open(self.trust, "wb") as file:
            file.write(self.authority.pem() + self.fallen.pem())
        self.revoke(self.gone)

    def revoke(self, *prescribers):
        with open(self.revocations, "wb") as file:
            file.write(self.authority.list_of(*prescribers) + self.root.list_of(self.fallen, reason=x509.ReasonFlags.ca_compromise))


class Verifying(Eps):
    """One node whose settings change with a restart."""

    def again(self, **settings):
        """The node starts anew, with these keys of [eps]."""
        self.site.kill(1)
        path = self.site.path("node-1/spine.toml")
        with open(path, encoding="utf-8") as file:
            text = file.read()
        lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
        text, sections = re.subn(r"(?m)^\[eps\]\n(?:\w.*\n)*", f"[eps]\n{lines}", text)
        assert sections == 1, text
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        self.site.start(1)
        self.site.wait_ready()
        self.local.__dict__.clear()
        wait_for("prescriptions to be served", lambda: self.call("GET", f"{PRESCRIBING}/metadata").status_code == 200)


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def eps(site, pki, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("verify") / "site")
    settings = [("eps.signatures", "verify"), ("eps.trust", pki.trust), ("eps.revocations", pki.revocations)]
    with own_site.running(site.binary, folder, "--nodes", "1", "--people", "0", settings=settings) as own:
        yield Verifying(own)


@pytest.fixture(autouse=True)
def empty():
    """Instead of the other tests': the shared site is not asked for anything here."""


@pytest.fixture
def case(eps):
    return Case(eps, pharmacy())


def fresh(case):
    return case.keep(case.read(ORDER))


def texts(answer):
    """Why a signature is not taken: each reason an issue of its own."""
    body = refused(answer)
    for issue in body["issue"]:
        assert (issue["severity"], issue["code"]) == ("error", "invalid"), body
        # Beside the published words: what would be right, and where.
        assert set(issue["details"]) == {"text"} and issue["expression"] == ["Provenance.signature.data"], body
    return [issue["diagnostics"] for issue in body["issue"]]


def nothing_is_known_of(eps, case):
    refused(eps.tasks(query={"identifier": case.id}), "INVALID", status=200)


def test_a_signed_order_is_taken_and_given_out(eps, pki, case):
    order = signed(eps, fresh(case), pki.doctor)
    succeeded(eps.message(order))
    answer = eps.release(case.nominated())
    assert released(answer) == [case.id]
    (back,) = resources(answer.json()["parameter"][0]["resource"]["entry"][0]["resource"], "Provenance")
    assert back["signature"][0]["data"] == resources(order, "Provenance")[0]["signature"][0]["data"]


def broken(eps, pki, case, kind):
    """An order in which one thing is wrong."""
    order = fresh(case)
    if kind == "a sample":
        return order
    if kind == "changed":
        order = signed(eps, order, pki.doctor)
        resources(order, "MedicationRequest")[0]["dispenseRequest"]["quantity"]["value"] = 999
        return order
    if kind in ("gone", "under_fallen", "expired", "foreign"):
        return signed(eps, order, getattr(pki, kind))
    info, when, _ = prepared(eps, order)
    value, certificates = value_of(pki.doctor, info), [pki.doctor.text()]
    if kind == "another key":
        value = value_of(pki.gone, info)
    elif kind == "another hash":
        value = value_of(pki.doctor, info, hashes.SHA1)
    elif kind == "another method":
        info = info.replace(RS256.encode(), b"http://www.w3.org/2001/04/xmldsig-more#rsa-sha512")
        value = value_of(pki.doctor, info, hashes.SHA512)
    elif kind == "two certificates":
        certificates *= 2
    elif kind == "no certificate":
        certificates = ["MIIB"]
    elif kind == "no value":
        value = ""
    else:
        resources(order, "MedicationRequest")[0]["note"] = [{"text": "another"}]
        value, certificates = value_of(pki.gone, info), [pki.expired.text()]
    return put(order, when, info, value, *certificates)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("a sample", [FORMAT]),
        ("changed", [MISMATCH]),
        ("gone", [REVOKED]),
        ("under_fallen", [AUTHORITY_REVOKED]),
        ("expired", [EXPIRED]),
        ("foreign", [NOT_TRUSTED]),
        ("another key", [INVALID]),
        ("another hash", [INVALID]),
        ("another method", [INVALID, MISMATCH]),
        ("two certificates", [SEVERAL]),
        ("no certificate", [CERTIFICATE]),
        ("no value", [FORMAT]),
        ("all at once", [INVALID, MISMATCH, EXPIRED]),
    ],
)
def test_a_signature_that_does_not_hold_is_refused_for_its_reasons(eps, pki, case, kind, told):
    assert texts(eps.message(broken(eps, pki, case, kind))) == told
    nothing_is_known_of(eps, case)


def vector(case):
    """The published vector's order with a Provenance to sign in, and the text that is hashed (§6.3), both with this case's ids; their time is
    yet to be put in."""
    order = case.read("14-signature/prepare-request-of-fixture.json")
    (provenance,) = [e for e in case.read(ORDER)["entry"] if e["resource"]["resourceType"] == "Provenance"]
    order["entry"].append(provenance)
    provenance["resource"]["signature"][0]["who"] = resources(order, "MedicationRequest")[0]["requester"]
    group = resources(case.keep(order), "MedicationRequest")[0]["groupIdentifier"]
    text = UUID.sub(lambda found: case.uuids.get(found[0].lower(), found[0]).upper(), published("14-signature/fragments-canonical.txt"))
    text = text.replace("F5012E83-BD9E-4866-B453-86F75AEE2BD6", group["extension"][0]["valueIdentifier"]["value"].upper())
    (number,) = re.findall(r'extension="(\d{10})" root="2.16.840.1.113883.2.1.4.1"', text)
    return order, text.rstrip("\n").replace(number, case.number)


def hashed(text, when, hash_of):
    stamp = "".join(c for c in when.split("+")[0] if c.isdigit())
    return base64.b64encode(hash_of(text.replace("20201218123434", stamp).encode()).digest()).decode()


def test_both_algorithms_hold_and_an_application_on_the_list_prepares_the_older(eps, pki):
    """§6.1, §6.2."""
    case, other = Case(eps, pharmacy()), Case(eps, pharmacy())
    order, text = vector(case)
    info, when, name = prepared(eps, order)
    assert (name, digest_value(info)) == ("RS256", hashed(text, when, hashlib.sha256))
    succeeded(eps.message(put(order, when, info, value_of(pki.doctor, info), pki.doctor.text())))
    application = eps.site.demo["applications"][0]["client_id"]
    eps.spine("app", "set", application, "--attribute", "eps.rs1=true")
    order, text = vector(other)
    info, when, name = prepared(eps, order)
    assert (name, digest_value(info)) == ("RS1", hashed(text, when, hashlib.sha1))
    assert RS1.encode() in info and RS256.encode() not in info
    refused(eps.message(put(order, when, info, value_of(pki.doctor, info), pki.doctor.text())), text=INVALID)
    succeeded(eps.message(put(order, when, info, value_of(pki.doctor, info, hashes.SHA1), pki.doctor.text())))
    for one in (case, other):
        assert released(one.release()) == [one.id]
    eps.spine("app", "set", application, "--attribute", "eps.rs1=false")
    assert prepared(eps, order)[2] == "RS256"


def test_a_signature_that_no_longer_holds_goes_out_apart_and_comes_back(eps, pki, case):
    good = Case(eps, case.dispenser)
    doctor = Holder("later revoked", pki.authority)
    order = signed(eps, fresh(case), doctor)
    succeeded(eps.message(order))
    succeeded(eps.message(signed(eps, fresh(good), pki.doctor)))
    pki.revoke(pki.gone, doctor)
    eps.again()
    request = str(uuid.uuid4())
    answer = eps.release(case.nominated(), request=request)
    assert answer.status_code == 200, answer.text
    passed, failed = (parameter["resource"] for parameter in answer.json()["parameter"])
    assert (passed["total"], failed["total"], len(failed["entry"])) == (1, 2, 2)
    why, what = (entry["resource"] for entry in failed["entry"])
    (issue,) = why["issue"]
    assert (issue["severity"], issue["code"], issue["expression"]) == ("error", "invalid", ["Provenance.signature.data"])
    coding = issue["details"]["coding"][0]
    assert (coding["code"], coding["display"]) == ("INVALID_VALUE", "Signature is invalid.")
    reference = why["extension"][0]
    assert reference["url"] == EXTENSION + "Extension-Spine-supportingInfo-prescription"
    assert reference["valueReference"]["identifier"]["value"] == order["identifier"]["value"] == what["identifier"]["value"]
    assert resources(what, "MedicationRequest")[0]["groupIdentifier"]["value"] == case.id
    # Spine itself has given it back: to be dispensed again, but nobody is nominated any more.
    assert eps.state(case) == ("0001", "0007", "0007", "0007", "0007") and eps.state(good)[0] == "0002"
    assert eps.release(case.nominated(), request=request).text == answer.text
    assert released(eps.release(case.nominated())) == []
    by_id = eps.release(case.read("08-release/by-prescription-id-request.json")).json()
    assert [parameter["resource"]["total"] for parameter in by_id["parameter"]] == [0, 2]
    assert eps.state(case)[0] == "0001"


def test_who_must_hold_a_prescription_is_the_sites_choice(eps, pki):
    """Nothing, notify (which the rest of these tests go by), or all."""
    others = {}
    for choice in ("all", "none"):
        eps.again(holder_only=choice)
        case = Case(eps, pharmacy())
        succeeded(eps.message(signed(eps, fresh(case), pki.doctor)))
        assert released(case.release()) == [case.id]
        stranger = pharmacy()
        others[choice] = case.give_back(sender=stranger).status_code
        if choice == "all":
            refused(case.give_back(sender=stranger), "PRESCRIPTION_WITH_ANOTHER_DISPENSER")
            refused(eps.dispense(case.notification(1, items=["0001"] * 4, status="0006", sender=stranger)), "PRESCRIPTION_WITH_ANOTHER_DISPENSER")
            notification = case.dispensed()
            refused(case.withdraw(notification, sender=stranger), "PRESCRIPTION_WITH_ANOTHER_DISPENSER")
            refused(case.claim(sender=stranger), "PRESCRIPTION_WITH_ANOTHER_DISPENSER")
            succeeded(case.withdraw(notification))
            succeeded(case.give_back())
        else:
            assert released(case.release()) == [case.id]
            notification = case.dispensed(sender=stranger)
            succeeded(case.withdraw(notification, sender=pharmacy()))
            case.dispensed(sender=stranger)
            succeeded(case.claim(sender=pharmacy()))
    assert others == {"all": 400, "none": 200}


def test_what_is_switched_off_says_so_and_the_rest_goes_on(eps, pki):
    case = Case(eps, pharmacy())
    order = signed(eps, fresh(case), pki.doctor)
    succeeded(eps.message(order))
    eps.again(prescribing=False)
    told = "Prescribing functionality is disabled."
    for answer in (eps.message(order), eps.prepare(order)):
        assert disabled(answer) == told
    (issue,) = refused(case.cancel(0), "R-0009", "Cancellation functionality disabled in SPINE", severity="error")["issue"]
    assert issue["code"] == "not-supported"
    assert released(eps.release(case.nominated(), PHARMACY)) == [case.id]
    eps.again(dispensing=False)
    told = "Dispensing functionality is disabled."
    for answer in (eps.dispense(case.notification(1, items=["0001"] * 4)), case.give_back(), case.claim()):
        assert disabled(answer) == told
    for answer in (case.release(), eps.release(case.nominated(), PHARMACY)):
        body = refused(answer, "SERVICE_DISABLED", "Functionality disabled in spine")
        assert body["issue"][0]["code"] == "exception"
    # It was with its dispenser before and still is; the prescriber may still cancel.
    assert eps.state(case)[0] == "0002"
    assert case.cancel(0).status_code == 400 and eps.state(case)[0] == "0002"
    eps.again()
    succeeded(case.give_back())


def disabled(answer):
    (issue,) = refused(answer)["issue"]
    assert (issue["severity"], issue["code"]) == ("fatal", "not-supported") and "details" not in issue
    return issue["diagnostics"]
