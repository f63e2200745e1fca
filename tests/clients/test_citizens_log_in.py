"""An application sends a citizen to log in at the provider that the site trusts, and gets tokens for their own record; whoever denies, comes
with another's state, or brings an ID token of another log-in gets none. With a provider on this machine and Authlib as the application's client. Promise P5."""

import json
import os
import subprocess
from urllib.parse import parse_qs, urlparse

import pytest
import requests
from authlib.common.security import generate_token
from citizens_provider import Provider
from test_staff_login import PDS, client, headers, spine
from test_token_service import Application


@pytest.fixture(scope="module")
def app(site):
    return Application(site)


@pytest.fixture(scope="module")
def people(site):
    run = [site.binary, "generate", "people", "--count", "2", "--seed", "29"]
    lines = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    spine(site, "pds", "import", "-", stdin=lines)
    return [json.loads(line)["nhsNumber"] for line in lines.splitlines()[:2]]


@pytest.fixture
def provider(site, people, tmp_path):
    key = tmp_path / "key.pem"
    with Provider().running() as there:
        key.write_bytes(there.ours.as_pem(is_private=True))
        at = ("--authorize", there.at + "/authorize", "--token", there.at + "/token")
        who = ("--client-id", there.client, "--client-key", str(key))
        spine(site, "identity", "issuer", there.issuer, "--jwks", "-", *who, *at, stdin=there.keys())
        there.citizen = {"sub": "a-citizen", "nhs_number": people[0], "identity_proofing_level": "P9", "vot": "P9.Cp.Cd"}
        yield there
    spine(site, "identity", "issuer", there.issuer, "--remove")


class Browser:
    """A citizen's, which goes where it is sent."""

    def __init__(self, app):
        self.app, self.session, self.verifier = app, client(app), generate_token(48)
        self.browser = requests.Session()
        self.browser.verify, self.browser.trust_env = app.site.ca, False

    def go(self, url):
        answer = self.browser.get(url, allow_redirects=False, timeout=30)
        return answer.headers.get("location", ""), answer

    def begin(self):
        """Where the provider would be entered."""
        url = self.app.url(0, "/oauth2/authorize")
        url, self.state = self.session.create_authorization_url(url, code_verifier=self.verifier, scope="nhs-login")
        to, answer = self.go(url)
        assert answer.status_code == 302, answer.text
        return to

    def log_in(self):
        """Back at the application."""
        callback, _ = self.go(self.begin())
        self.callback = callback
        to, answer = self.go(callback)
        assert answer.status_code == 302 and to.startswith(self.app.told["redirect_uris"][0]), answer.text
        return to

    def token(self, back):
        return self.session.fetch_token(self.app.token_url, authorization_response=back, code_verifier=self.verifier)


def told(url):
    return {name: value[0] for name, value in parse_qs(urlparse(url).query).items()}


def read(app, token, number, node):
    url = app.url(node, f"{PDS}/{number}")
    return requests.get(url, headers=headers(token), verify=app.site.ca, timeout=30)


def test_a_citizen_logs_in_and_sees_themself_alone(app, site, provider, people):
    own, other = people
    browser = Browser(app)
    # A trace that the caller keeps goes on to the provider.
    browser.browser.headers["traceparent"] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    given = browser.token(browser.log_in())
    assert provider.traced == browser.browser.headers["traceparent"]
    assert given["refresh_token_expires_in"] == "3599"
    for node in range(3):
        mine, theirs = read(app, given["access_token"], own, node), read(app, given["access_token"], other, node)
        assert mine.status_code == 200 and mine.json()["id"] == own, mine.text
        assert theirs.status_code == 403, theirs.text
    again = browser.session.refresh_token(app.token_url, refresh_token=given["refresh_token"])
    assert read(app, again["access_token"], own, 1).status_code == 200
    # The callback was good once, and the provider was asked once.
    answer = browser.browser.get(browser.callback, allow_redirects=False, timeout=30)
    assert (answer.status_code, answer.json()["error_description"]) == (400, "Invalid state parameter.")
    assert len(provider.asked) == 1
    # The key by which the provider knows the site is shown, its private half is not.
    shown = spine(site, "identity", "issuers", "--output", "json")
    log_in = json.loads(shown)["items"][0]["log_in"]
    assert log_in["jwk"]["n"] == provider.ours.as_dict(is_private=False)["n"]
    assert "PRIVATE" not in shown and provider.ours.as_dict(is_private=True)["d"] not in shown


def test_who_does_not_get_there_hears_why(app, provider):
    provider.agrees = False
    browser = Browser(app)
    back = told(browser.log_in())
    assert (back["error"], back["error_description"]) == ("access_denied", "The citizen does not agree")
    assert back["state"] == browser.state
    provider.agrees = True
    for claims, status, error in [
        ({"nonce": "of-another-log-in"}, 200, "access_denied"),
        ({"aud": "another-client"}, 200, "access_denied"),
        ({"exp": 1}, 200, "access_denied"),
        ({}, 503, "temporarily_unavailable"),
        ({}, 401, "server_error"),
    ]:
        provider.claims, provider.status = claims, status
        browser = Browser(app)
        assert told(browser.log_in()) == {"error": error, "state": browser.state}
    provider.claims, provider.status = {}, 200
    # A state that another browser began with.
    thief, callback = Browser(app), Browser(app).go(Browser(app).begin())[0]
    answer = thief.browser.get(callback, allow_redirects=False, timeout=30)
    assert (answer.status_code, answer.json()["error_description"]) == (400, "Invalid state parameter.")


def test_a_provider_that_is_down_is_told_and_nothing_secret_is_kept(app, site, provider):
    browser = Browser(app)
    callback, _ = browser.go(browser.begin())
    provider.server.shutdown()
    provider.server.server_close()
    to, _ = browser.go(callback)
    assert told(to) == {"error": "temporarily_unavailable", "state": browser.state}
    trail = spine(site, "audit", "search", "--object", app.client_id, "--output", "json")
    assert any(r["outcome"] == "unreachable" for r in json.loads(trail)["items"]), trail[:2000]
    code, state = told(callback)["code"], told(callback)["state"]
    secrets = [code, state, *(form["client_assertion"] for form in provider.asked)]
    logs = ""
    for node in site.demo["nodes"]:
        with open(os.path.join(os.path.dirname(site.path(node["socket"])), "log"), errors="replace") as file:
            logs += file.read()
    assert "outgoing.unanswered" in logs and not [secret for secret in secrets if secret in logs]
    assert not [secret for secret in secrets if secret in trail]
