"""A citizen who has logged in at a trusted provider sees their own record and nobody else's: the provider's ID token is exchanged, and what
is not the provider's is refused. Promise P5; "a patient sees only themself"."""

import json
import subprocess
import time
import uuid

import pytest
import requests
from authlib.jose import JsonWebKey
from authlib.jose import jwt as jose
from test_signing_keys import exchanged
from test_staff_login import PDS, headers, spine
from test_token_service import Application

PROVIDER = "https://auth.login.test"


@pytest.fixture(scope="module")
def app(site):
    return Application(site)


@pytest.fixture(scope="module")
def people(site):
    """The NHS numbers of two people in the register."""
    run = [site.binary, "generate", "people", "--count", "2", "--seed", "23"]
    lines = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    spine(site, "pds", "import", "-", stdin=lines)
    return [json.loads(line)["nhsNumber"] for line in lines.splitlines()[:2]]


@pytest.fixture(scope="module")
def provider(site):
    """The key of a provider that the site trusts."""
    key = JsonWebKey.generate_key("RSA", 2048, {"kid": "login-1", "alg": "RS512", "use": "sig"}, is_private=True)
    public = json.dumps({"keys": [key.as_dict(is_private=False)]})
    spine(site, "identity", "issuer", PROVIDER, "--jwks", "-", stdin=public)
    told = json.loads(spine(site, "identity", "issuers", "--output", "json"))["items"]
    assert told == [{"issuer": PROVIDER, "kids": ["login-1"]}]
    yield key
    spine(site, "identity", "issuer", PROVIDER, "--remove")


def id_token(key, number, **more):
    claims = {
        "iss": PROVIDER,
        "sub": str(uuid.uuid4()),
        "aud": "an-app-at-the-provider",
        "exp": int(time.time()) + 300,
        "nhs_number": number,
        "identity_proofing_level": "P9",
        "vot": "P9.Cp.Cd",
        **more,
    }
    return jose.encode({"alg": "RS512", "typ": "JWT", "kid": "login-1"}, claims, key).decode()


def read(app, token, number, node):
    url = app.url(node, f"{PDS}/{number}")
    return requests.get(url, headers=headers(token), verify=app.site.ca, timeout=30)


def test_a_citizen_sees_themself_alone(app, site, provider, people):
    own, other = people
    given = exchanged(app, id_token(provider, own), 1)
    assert given.status_code == 200, given.text
    told = given.json()
    assert told["refresh_token_expires_in"] == "3599"
    for node in range(3):
        mine, theirs = read(app, told["access_token"], own, node), read(app, told["access_token"], other, node)
        assert mine.status_code == 200 and mine.json()["id"] == own, mine.text
        assert theirs.status_code == 403, theirs.text
    # Proven less well, they see nothing.
    low = exchanged(app, id_token(provider, own, identity_proofing_level="P5", vot="P5.Cp.Cd"), 2).json()
    assert read(app, low["access_token"], own, 0).status_code == 403
    stranger = JsonWebKey.generate_key("RSA", 2048, is_private=True)
    assert exchanged(app, id_token(stranger, own)).status_code == 401
    assert exchanged(app, id_token(provider, own, iss="https://elsewhere.test")).status_code == 400


def test_who_acts_for_another_sees_that_one_alone(app, site, provider, people):
    own, other = people

    def acted(**more):
        claims = {"iss": PROVIDER, "aud": "an-app-at-the-provider", "exp": int(time.time()) + 300, "nhs_number": other, **more}
        claims = {name: value for name, value in claims.items() if value is not None}
        return jose.encode({"alg": "RS512", "typ": "JWT", "kid": "login-1"}, claims, provider).decode()

    given = exchanged(app, id_token(provider, own, act={"sub": acted()}), 1)
    assert given.status_code == 200, given.text
    for node in range(3):
        theirs = read(app, given.json()["access_token"], other, node)
        assert theirs.status_code == 200 and theirs.json()["id"] == other, theirs.text
        assert read(app, given.json()["access_token"], own, node).status_code == 403
    trail = json.loads(spine(site, "audit", "search", "--object", other, "--output", "json"))
    assert any((r["citizen"], r["acts_for"], r["subject"]) == (own, other, other) for r in trail["items"])
    for name in ("iss", "aud", "exp", "nhs_number"):
        told = exchanged(app, id_token(provider, own, act={"sub": acted(**{name: None})}))
        text = f"Missing '{name}' claim in act.sub JWT"
        assert (told.status_code, told.json()["error_description"]) == (400, text)
