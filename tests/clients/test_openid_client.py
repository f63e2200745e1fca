"""openid-client (npm) completes every flow: discovery, authorization code with PKCE by secret and by signed JWT, user-info, end of session
with its back-channel notice, the combined flow with refresh, and the separate flow by token exchange. Promises P2, P5."""

import http.server
import json
import os
import queue
import subprocess
import threading
from urllib.parse import parse_qs

import pytest
from test_staff_login import Person, spine, user
from test_token_service import Application

SCOPE = "openid profile nhsperson nationalrbacaccess"


class Library:
    """openid-client in a process of its own."""

    def __init__(self, site, folder):
        environment = {**os.environ, "NODE_EXTRA_CA_CERTS": site.ca}
        self.process = subprocess.Popen(
            ["node", os.path.join(folder, "flows.mjs")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def ask(self, do, **fields):
        print(json.dumps({"do": do, **fields}), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        assert line, "openid-client ended"
        return json.loads(line)

    def do(self, do, **fields):
        answer = self.ask(do, **fields)
        assert "done" in answer, (do, answer)
        return answer["done"]

    def end(self):
        self.process.stdin.close()
        self.process.wait(20)


@pytest.fixture
def library(site):
    folder = os.environ.get("SPINE_OPENID_CLIENT")
    if not folder:
        pytest.skip("Node 20 or openid-client could not be installed here; see the first lines of tests/clients/run's output")
    one = Library(site, folder)
    yield one
    one.end()


@pytest.fixture(scope="module")
def app(site):
    return Application(site)


@pytest.fixture
def party(app):
    """A relying party that is told of log-outs: what is posted to it, in order; it answers 500 to the first."""
    heard = queue.Queue()
    refused = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            status = 200 if refused else 500
            refused.append(status)
            heard.put((self.path, self.headers["content-type"], parse_qs(body)["logout_token"][0], status))
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    uri = f"http://localhost:{server.server_port}/signed-out"
    spine(app.site, "app", "set", app.client_id, "--backchannel-logout-uri", uri)
    yield heard
    spine(app.site, "app", "set", app.client_id, "--backchannel-logout-uri", "none")
    server.shutdown()


def signs(app, hash="SHA-512", **more):
    return {"pem": app.pem.decode(), "kid": app.told["kid"], "hash": hash, **more}


def at_the_provider(library, app, **proof):
    proof = proof or {"secret": app.told["client_secret"]}
    return library.do("discover", issuer=app.demo["staff_issuer"], client_id=app.client_id, **proof)


def log_in(library, app, person, **parameters):
    redirect = app.told["redirect_uris"][0]
    url = library.do("authorize", parameters={"redirect_uri": redirect, "scope": SCOPE, **parameters})["url"]
    back = person.visit(url, redirect, parameters.pop("role", None))
    assert isinstance(back, str), back.text
    return library.do("redeem", url=back)


def test_discovery_code_with_pkce_and_user_info(library, app, site):
    nurse = user(site, 0)
    told = at_the_provider(library, app)
    assert told["backchannel_logout_supported"] is True and told["backchannel_logout_session_supported"] is True
    tokens = log_in(library, app, Person(site, nurse), acr_values="AAL2_ANY")
    claims = tokens["claims"]
    assert (claims["sub"], claims["authentication_assurance_level"]) == (nurse["id"], "2")
    info = library.do("userinfo", subject=nurse["id"])
    assert info["nhsid_nrbac_roles"][0]["person_roleid"] == nurse["roles"][0]["urp"]
    assert library.ask("userinfo", subject="656005750199")["failed"]["code"] == "OAUTH_JSON_ATTRIBUTE_COMPARISON_FAILED"


@pytest.mark.parametrize("hash", ["SHA-256", "SHA-512"])
def test_the_provider_takes_a_signed_jwt(library, app, site, hash):
    at_the_provider(library, app, signs=signs(app, hash))
    tokens = log_in(library, app, Person(site, user(site, 0)), acr_values="AAL2_ANY")
    assert tokens["claims"]["aud"] == app.client_id


def test_one_code_gives_one_token(library, app, site):
    at_the_provider(library, app)
    redirect = app.told["redirect_uris"][0]
    parameters = {"redirect_uri": redirect, "scope": SCOPE, "acr_values": "AAL2_ANY"}
    url = library.do("authorize", parameters=parameters)["url"]
    back = Person(site, user(site, 0)).visit(url, redirect)
    library.do("redeem", url=back)
    assert library.ask("redeem", url=back)["failed"]["error"] == "invalid_grant"
    wrong = parameters | {"acr_values": "AAL9_NOTHING"}
    url = library.do("authorize", parameters=wrong)["url"]
    back = Person(site, user(site, 0)).visit(url, redirect)
    assert library.ask("redeem", url=back)["failed"]["error"] == "invalid_request"


def test_end_of_session_is_told_to_the_relying_party(library, app, site, party):
    doctor = user(site, 1)
    told = at_the_provider(library, app)
    person = Person(site, doctor)
    tokens = log_in(library, app, person, acr_values="AAL2_ANY")
    redirect = app.told["redirect_uris"][0]
    parameters = {"id_token_hint": tokens["id_token"], "post_logout_redirect_uri": redirect, "state": "bye"}
    url = library.do("end", parameters=parameters)["url"]
    gone = person.browser.get(url, allow_redirects=False, timeout=30)
    assert gone.headers["location"] == f"{redirect}?state=bye"
    assert "failed" in library.ask("userinfo", subject=doctor["id"])
    first, second = party.get(timeout=30), party.get(timeout=60)
    assert (first[3], second[3]) == (500, 200) and first[0] == "/signed-out"
    assert first[1] == "application/x-www-form-urlencoded"
    seen = [
        library.do("logout_token", token=one[2], client_id=app.client_id, issuer=told["issuer"], keys=told["jwks_uri"])
        for one in (first, second)
    ]
    payload = seen[0]["payload"]
    assert (payload["sub"], payload["sid"], payload["aud"]) == (doctor["id"], tokens["claims"]["sid"], [app.client_id])
    assert payload["events"] == {"http://schemas.openid.net/event/backchannel-logout": {}} and "nonce" not in payload
    assert payload["jti"] == seen[1]["payload"]["jti"], "what is told again is the same notice"
    # The token that the relying party got is not for the token service of the APIs.
    answer = app.post("/oauth2/backchannel_logout", 1, logout_token=second[2])
    assert (answer.status_code, answer.json()["error_description"]) == (400, "Missing/invalid aud claim in JWT")
    answer = app.post("/oauth2/backchannel_logout", 2, logout_token="nonsense")
    assert (answer.status_code, answer.json()["error"]) == (400, "bad_request")


def test_the_combined_flow_with_refresh(library, app, site):
    server = {
        "issuer": app.demo["issuer"],
        "authorization_endpoint": app.url(0, "/oauth2/authorize"),
        "token_endpoint": app.url(1, "/oauth2/token"),
        "userinfo_endpoint": app.url(2, "/oauth2/userinfo"),
    }
    library.do("plain", server=server, client_id=app.client_id, secret=app.told["client_secret"])
    nurse, redirect = user(site, 0), app.told["redirect_uris"][0]
    url = library.do("authorize", parameters={"redirect_uri": redirect, "scope": "nhs-cis2"})["url"]
    first = library.do("redeem", url=Person(site, nurse).visit(url, redirect))
    assert (first["token_type"], first["expires_in"], first["refresh_count"]) == ("bearer", 599, "0")
    assert library.do("userinfo", subject=nurse["id"])["sub"] == nurse["id"]
    second = library.do("refresh")
    assert second["refresh_count"] == "1"
    again = library.ask("refresh", token=first["refresh_token"])["failed"]
    assert (again["error"], again["text"]) == ("invalid_grant", "refresh_token is invalid")
    assert library.do("userinfo", subject=nurse["id"])["uid"] == nurse["id"]


def test_the_separate_flow(library, app, site):
    at_the_provider(library, app)
    tokens = log_in(library, app, Person(site, user(site, 0)), acr_values="AAL2_ANY")
    server = {
        "issuer": app.demo["issuer"],
        "token_endpoint": app.url(2, "/oauth2/token"),
        "introspection_endpoint": app.url(0, "/oauth2/introspect"),
        "revocation_endpoint": app.url(1, "/oauth2/revoke"),
    }
    library.do("plain", server=server, client_id=app.client_id, signs=signs(app, audience=app.token_url))
    given = library.do("exchange", subject_token=tokens["id_token"])
    assert given["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    assert library.do("introspect", token=given["access_token"])["active"] is True
    library.do("revoke", token=given["access_token"])
    assert library.do("introspect", token=given["access_token"])["active"] is False
    own = library.do("credentials")
    assert own["token_type"] == "bearer" and app.works(own["access_token"], 1)
    forged = tokens["id_token"].rsplit(".", 1)[0] + "." + "A" * 342
    assert library.ask("exchange", subject_token=forged)["failed"]["text"] == "JWT signature verification failed"
