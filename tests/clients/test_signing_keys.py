"""The key that ID tokens are signed with is replaced: the new one is published on every node before it signs, the old one stays until what it
signed is over; a key that others may have is gone at once, with everything it signed. Promises P2, P5."""

import json
import time
from urllib.parse import parse_qs, urlencode, urlparse

import pytest
import requests
from authlib.jose import jwt as jose
from mesh import wait_for
from test_staff_login import Person, secret, spine, user
from test_token_service import KIND, Application


@pytest.fixture(scope="module")
def app(site):
    return Application(site)


def key_sets(app):
    path = urlparse(app.demo["staff_issuer"]).path + "/connect/jwk_uri"
    return [requests.get(app.url(node, path), verify=app.site.ca, timeout=30).json() for node in range(3)]


def kids(app):
    """Of the key set that all nodes publish."""
    sets = key_sets(app)
    assert sets[0] == sets[1] == sets[2]
    return [key["kid"] for key in sets[0]["keys"]]


def id_token(app, person, node=0):
    path, redirect = urlparse(app.demo["staff_issuer"]).path, app.told["redirect_uris"][0]
    query = {"client_id": app.client_id, "redirect_uri": redirect, "response_type": "code", "scope": "openid", "state": "s"}
    url = app.url(node, path + "/authorize?") + urlencode(query | {"acr_values": "AAL2_ANY"})
    code = parse_qs(urlparse(person.visit(url, redirect)).query)["code"][0]
    fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect, **secret(app)}
    return app.post(path + "/access_token", node, **fields).json()["id_token"]


def exchanged(app, subject, node=0):
    fields = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token_type": "urn:ietf:params:oauth:token-type:id_token",
        "subject_token": subject,
        "client_assertion_type": KIND,
        "client_assertion": app.jwt(),
    }
    return app.post("/oauth2/token", node, **fields)


def signed_by(app, token):
    claims = jose.decode(token, key_sets(app)[0])
    claims.validate()
    return claims.header["kid"]


def test_the_signing_key_is_replaced(app, site):
    person = Person(site, user(site, 0))
    [old] = kids(app)
    first = id_token(app, person)
    assert signed_by(app, first) == old
    spine(site, "identity", "rotate-key", "--after", "1m")
    since = time.monotonic()
    wait_for("every node to publish the new key", lambda: all(len(one["keys"]) == 2 for one in key_sets(app)), 5)
    assert old in kids(app)
    assert signed_by(app, id_token(app, person, 1)) == old, "it is published, and does not sign yet"
    told = json.loads(spine(site, "identity", "keys", "--output", "json"))["items"]
    assert [key["state"] for key in told] == ["published", "signs"] and told[1]["published_until"]
    time.sleep(max(0, 61 - (time.monotonic() - since)))
    second = [id_token(app, person, node) for node in range(3)]
    new = {signed_by(app, token) for token in second}
    assert len(new) == 1 and old not in new
    # What the old key signed is good as before, on every node.
    assert signed_by(app, first) == old
    assert all(exchanged(app, first, node).status_code == 200 for node in range(3))
    spine(site, "identity", "rotate-key", "--alone", "--yes")
    wait_for("every node to have one key", lambda: all(len(one["keys"]) == 1 for one in key_sets(app)), 5)
    assert not {old, *new} & set(kids(app))
    for node, token in enumerate([first, *second[:2]]):
        refused = exchanged(app, token, node)
        text = "Invalid 'kid' header in subject_token JWT - no matching public key"
        assert (refused.status_code, refused.json()["error_description"]) == (401, text)
    assert exchanged(app, id_token(app, person, 2), 1).status_code == 200
