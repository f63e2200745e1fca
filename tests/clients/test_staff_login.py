"""People log in through the pages, as a browser without JavaScript does, and Authlib completes authorization code with PKCE, refresh and
token exchange; the token lets a clinician change a person on every node, and a suspended user is refused at once. Promises P2, P5."""

import base64
import hashlib
import hmac
import json
import re
import struct
import subprocess
import time
import uuid
from urllib.parse import parse_qs, urlencode, urlparse

import pytest
import requests
from authlib.common.security import generate_token
from authlib.integrations.requests_client import OAuth2Session
from authlib.jose import jwt as jose
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from test_token_service import KIND, Application

PDS = "/personal-demographics/FHIR/R4/Patient"


def totp(secret, step):
    """RFC 6238 by hand: the six digits of a step of 30 seconds."""
    key = base64.b32decode(secret)
    tag = hmac.new(key, struct.pack(">Q", step), hashlib.sha1).digest()
    at = tag[-1] & 15
    return f"{(struct.unpack('>I', tag[at : at + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"


class Person:
    """One of the demo's people with a browser of their own. A one-time code is good once: `code` waits for a fresh one."""

    used = {}

    def __init__(self, site, user):
        self.site, self.user, self.browser = site, user, requests.Session()
        self.browser.verify, self.browser.trust_env = site.ca, False

    def code(self):
        last = Person.used.get(self.user["id"], 0)
        step = max(int(time.time()) // 30 - 1, last + 1)
        while step > int(time.time()) // 30 + 1:
            time.sleep(0.5)
        Person.used[self.user["id"]] = step
        return totp(self.user["totp_secret"], step)

    def visit(self, url, end, role=None, password=None):
        """Follows redirects and fills in pages until it is sent to `end`; the last answer otherwise."""
        answer = self.browser.get(url, allow_redirects=False, timeout=30)
        for _ in range(12):
            to = answer.headers.get("location")
            if to and to.startswith(end):
                return to
            if to:
                answer = self.browser.get(to, allow_redirects=False, timeout=30)
                continue
            if answer.status_code != 200:
                return answer
            self.plain(answer)
            fields = {"ticket": re.search(r'name="ticket" value="([^"]+)"', answer.text)[1]}
            if 'name="role"' in answer.text:
                fields["role"] = role
            else:
                fields |= {"user": self.user["id"], "password": password or self.user["password"], "code": self.code()}
            action = re.search(r'action="([^"]+)"', answer.text)[1]
            host = "{0.scheme}://{0.netloc}".format(urlparse(answer.url))
            answer = self.browser.post(host + action, data=fields, allow_redirects=False, timeout=30)
        raise AssertionError("the log-in went on and on")

    @staticmethod
    def plain(answer):
        """The page works without a script, is in no frame, is kept nowhere, and labels each field."""
        assert "<script" not in answer.text
        assert answer.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        shown = [field for field in re.findall(r"<input [^>]+>", answer.text) if 'type="hidden"' not in field]
        for field in shown:
            named = re.search(r' id="([^"]+)"', field)[1]
            assert f'for="{named}"' in answer.text, field
        assert ("//localhost" in answer.url) != ("strict-transport-security" in answer.headers)


def spine(site, *args, stdin=None):
    socket = site.path(site.demo["nodes"][0]["socket"])
    done = subprocess.run(
        [site.binary, *args, "--socket", socket], input=stdin, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def app(site):
    return Application(site)


@pytest.fixture(scope="module")
def number(site):
    """The NHS number of a person in the register."""
    people = subprocess.run(
        [site.binary, "generate", "people", "--count", "3", "--seed", "11"], capture_output=True, text=True, check=True
    ).stdout
    spine(site, "pds", "import", "-", stdin=people)
    return json.loads(people.splitlines()[0])["nhsNumber"]


def user(site, at):
    return site.demo["users"][at]


def client(app):
    told = app.told
    session = OAuth2Session(
        app.client_id,
        told["client_secret"],
        redirect_uri=told["redirect_uris"][0],
        token_endpoint_auth_method="client_secret_post",
        code_challenge_method="S256",
    )
    session.trust_env, session.verify = False, app.site.ca
    return session


def log_in(app, person):
    """Authlib's client through the combined flow."""
    session, verifier = client(app), generate_token(48)
    url, _ = session.create_authorization_url(app.url(0, "/oauth2/authorize"), code_verifier=verifier)
    back = person.visit(url, app.told["redirect_uris"][0])
    assert isinstance(back, str), back.text
    token = session.fetch_token(app.token_url, authorization_response=back, code_verifier=verifier)
    return session, token


def headers(token, **more):
    return {"Authorization": f"Bearer {token}", "X-Request-ID": str(uuid.uuid4()), **more}


def read(app, token, number, node=0, **more):
    url = app.url(node, f"{PDS}/{number}")
    return requests.get(url, headers=headers(token, **more), verify=app.site.ca, timeout=30)


def patch(app, token, number, node, etag, **more):
    changes = {"patches": [{"op": "replace", "path": "/gender", "value": "unknown"}]}
    more = {"If-Match": etag, "Content-Type": "application/json-patch+json", **more}
    url = app.url(node, f"{PDS}/{number}")
    return requests.patch(url, json=changes, headers=headers(token, **more), verify=app.site.ca, timeout=30)


def test_a_clinician_logs_in_and_changes_a_person(app, site, number):
    session, token = log_in(app, Person(site, user(site, 0)))
    assert token["refresh_token"] and token["refresh_count"] == "0"
    seen = read(app, token["access_token"], number)
    assert seen.status_code == 200, seen.text
    done = patch(app, token["access_token"], number, 1, seen.headers["etag"])
    assert done.status_code == 200 and done.json()["gender"] == "unknown", done.text
    info = requests.get(app.url(2, "/oauth2/userinfo"), headers=headers(token["access_token"]), verify=site.ca, timeout=30)
    assert info.json()["nhsid_nrbac_roles"][0]["person_roleid"] == user(site, 0)["roles"][0]["urp"]
    second = session.refresh_token(app.token_url, refresh_token=token["refresh_token"])
    assert second["refresh_count"] == "1"
    assert all(read(app, second["access_token"], number, node).status_code == 200 for node in range(3))
    fields = {"grant_type": "refresh_token", "refresh_token": token["refresh_token"], **secret(app)}
    again = app.post("/oauth2/token", 2, **fields)
    assert (again.status_code, again.json()["error_description"]) == (401, "refresh_token is invalid")


def secret(app):
    return {"client_id": app.client_id, "client_secret": app.told["client_secret"]}


def test_who_has_several_roles_names_one(app, site, number):
    doctor = user(site, 1)
    _, token = log_in(app, Person(site, doctor))
    assert read(app, token["access_token"], number).status_code == 400
    role = doctor["roles"][1]["urp"]
    assert read(app, token["access_token"], number, **{"NHSD-Session-URID": role}).status_code == 200
    strange = user(site, 0)["roles"][0]["urp"]
    assert read(app, token["access_token"], number, **{"NHSD-Session-URID": strange}).status_code == 400


def test_a_role_without_activities_opens_nothing_of_pds(app, site, number):
    _, token = log_in(app, Person(site, user(site, 2)))
    for refused in (read(app, token["access_token"], number), patch(app, token["access_token"], number, 1, 'W/"1"')):
        coding = refused.json()["issue"][0]["details"]["coding"][0]
        told = (refused.status_code, coding["code"], coding["display"])
        assert told == (403, "ACCESS_DENIED", "Role cannot perform this action"), refused.text


def test_an_id_token_is_checked_by_its_key_set_and_exchanged(app, site, number):
    doctor, verifier, nonce = user(site, 1), generate_token(48), generate_token(16)
    path = urlparse(site.demo["staff_issuer"]).path
    told = requests.get(app.url(1, path + "/.well-known/openid-configuration"), verify=site.ca, timeout=30).json()
    assert told["issuer"] == site.demo["staff_issuer"]
    person, role = Person(site, doctor), doctor["roles"][1]["urp"]
    query = {
        "client_id": app.client_id,
        "redirect_uri": app.told["redirect_uris"][0],
        "response_type": "code",
        "scope": "openid profile nationalrbacaccess selectedrole",
        "state": "s",
        "nonce": nonce,
        "acr_values": "AAL2_ANY",
        "code_challenge": create_s256_code_challenge(verifier),
        "code_challenge_method": "S256",
    }
    back = person.visit(told["authorization_endpoint"] + "?" + urlencode(query), app.told["redirect_uris"][0], role)
    code = parse_qs(urlparse(back).query)["code"][0]
    fields = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": app.told["redirect_uris"][0],
        "code_verifier": verifier,
        **secret(app),
    }
    answer = app.post(path + "/access_token", 2, **fields).json()
    # Every node publishes the same keys.
    sets = [requests.get(app.url(n, path + "/connect/jwk_uri"), verify=site.ca, timeout=30).json() for n in range(3)]
    assert sets[0]["keys"] and sets[0] == sets[1] == sets[2]
    claims = jose.decode(answer["id_token"], sets[0])
    claims.validate()
    assert (claims["sub"], claims["nonce"], claims["selected_roleid"]) == (doctor["id"], nonce, role)
    exchange = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        "subject_token": answer["id_token"],
        "client_assertion_type": KIND,
        "client_assertion": app.jwt(),
    }
    given = app.post("/oauth2/token", 0, **exchange).json()
    assert given["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token", given
    assert read(app, given["access_token"], number, 1).status_code == 200
    ended = person.browser.get(told["end_session_endpoint"], params={"id_token_hint": answer["id_token"]}, timeout=30)
    assert ended.status_code == 200
    assert all(read(app, given["access_token"], number, node).status_code == 401 for node in range(3))


def test_a_suspended_user_is_refused_at_once(app, site, number):
    nurse = user(site, 0)
    _, token = log_in(app, Person(site, nurse))
    assert read(app, token["access_token"], number).status_code == 200
    spine(site, "user", "suspend", nurse["id"])
    try:
        assert read(app, token["access_token"], number).status_code == 401
        answer = Person(site, nurse).visit(
            app.url(0, "/oauth2/authorize?") + urlencode({**query_of(app), "state": "s"}), app.told["redirect_uris"][0]
        )
        assert answer.status_code == 401 and "could not be logged in" in answer.text
    finally:
        spine(site, "user", "resume", nurse["id"])
    # What was opened before stays shut, whoever holds it; a new log-in is let in.
    assert read(app, token["access_token"], number).status_code == 401
    _, token = log_in(app, Person(site, nurse))
    assert read(app, token["access_token"], number).status_code == 200


def demo_token(site, who):
    """What `spine demo token` prints for somebody of the demo: an access token. The code that it used is good for nobody else."""
    run = [site.binary, "demo", "token", "--as", who, "--dir", site.folder]
    told = subprocess.run(run, capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == 0, told.stderr
    Person.used[who] = max(int(time.time()) // 30 - 1, Person.used.get(who, 0) + 1)
    return told.stdout.strip()


def query_of(app):
    return {"client_id": app.client_id, "redirect_uri": app.told["redirect_uris"][0], "response_type": "code"}


def test_the_demo_prints_a_ready_user_token(app, site, number):
    assert read(app, demo_token(site, user(site, 0)["id"]), number).status_code == 200
