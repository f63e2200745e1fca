"""Authlib gives up what it got through the combined flow, by client_secret_post as it got it: a refresh token ends on every node with the
access tokens that came of it, and a person logs out at the provider without an application's help. Promises P2, P5."""

import re
from urllib.parse import urlparse

import pytest
import requests
from test_staff_login import Person, client, headers, log_in, secret, user
from test_token_service import Application


@pytest.fixture(scope="module")
def app(site):
    return Application(site)


def opens(app, token, node):
    """Whether a token is taken: user-info of the person."""
    answer = requests.get(app.url(node, "/oauth2/userinfo"), headers=headers(token), verify=app.site.ca, timeout=30)
    assert answer.status_code in (200, 401), answer.text
    return answer.status_code == 200


def test_authlib_revokes_a_refresh_token_and_what_came_of_it(app, site):
    session, first = log_in(app, Person(site, user(site, 0)))
    # By itself it takes HTTP Basic here, whatever it does at the token endpoint.
    session.revocation_endpoint_auth_method = "client_secret_post"
    second = session.refresh_token(app.token_url, refresh_token=first["refresh_token"])
    tokens = [first["access_token"], second["access_token"]]
    assert all(opens(app, token, node) for token in tokens for node in range(3))

    def active(token, node):
        answer = client(app).introspect_token(app.url(node, "/oauth2/introspect"), token=token)
        assert answer.status_code == 200, answer.text
        return answer.json()["active"]

    assert all(active(token, 1) for token in (*tokens, second["refresh_token"]))
    done = session.revoke_token(app.url(1, "/oauth2/revoke"), token=second["refresh_token"], token_type_hint="refresh_token")
    assert (done.status_code, done.json()) == (200, {})
    for node in range(3):
        assert not any(opens(app, token, node) for token in tokens)
        assert not active(second["refresh_token"], node)
        fields = {"grant_type": "refresh_token", "refresh_token": second["refresh_token"], **secret(app)}
        again = app.post("/oauth2/token", node, **fields)
        assert (again.status_code, again.json()["error_description"]) == (401, "refresh_token is invalid")
    wrong = app.post("/oauth2/revoke", 0, client_id=app.client_id, client_secret="x", token=tokens[0])
    assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")


def test_a_person_logs_out_without_a_hint(app, site):
    person = Person(site, user(site, 0))
    _, token = log_in(app, person)
    issuer = site.demo["staff_issuer"]
    redirect = app.told["redirect_uris"][0]
    query = {"client_id": app.client_id, "post_logout_redirect_uri": redirect, "state": "s-1"}
    page = person.browser.get(issuer + "/connect/endSession", params=query, allow_redirects=False, timeout=30)
    assert page.status_code == 200, page.text
    person.plain(page)
    assert opens(app, token["access_token"], 2)
    action = re.search(r'action="([^"]+)"', page.text)[1]
    url = "{0.scheme}://{0.netloc}".format(urlparse(page.url)) + action
    fields = {"ticket": re.search(r'name="ticket" value="([^"]+)"', page.text)[1]}
    # Another browser cannot use the page.
    assert requests.post(url, data=fields, verify=site.ca, timeout=30).status_code == 400
    done = person.browser.post(url, data=fields, allow_redirects=False, timeout=30)
    assert done.status_code == 303 and done.headers["location"].startswith(redirect) and "state=s-1" in done.headers["location"]
    assert not any(opens(app, token["access_token"], node) for node in range(3))
    assert person.browser.get(issuer + "/connect/endSession", timeout=30).status_code == 400
