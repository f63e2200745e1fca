"""The token service with a real OAuth 2 client (Authlib): a token of one node works on all, a revoked one on none, a signed JWT
is good once over the whole site, and what is forged is refused in the specified words. Promises P2, P3, P5 and P9."""

import base64
import contextlib
import http.server
import json
import subprocess
import threading
import time
import uuid

import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from cryptography.hazmat.primitives import hashes, hmac
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from mesh import wait_for

KIND = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Application:
    """One of the demo's applications and the site's API listeners."""

    def __init__(self, site):
        self.site, self.demo = site, site.demo
        self.told = self.demo["applications"][0]
        with open(site.path(self.told["key_file"]), "rb") as file:
            self.pem = file.read()
        self.key = load_pem_private_key(self.pem, None)
        self.client_id, self.token_url = self.told["client_id"], self.demo["token_url"]

    def url(self, node, path):
        return self.demo["nodes"][node]["internet"] + path

    def session(self):
        """Authlib's client, with the key the site knows it by."""
        session = OAuth2Session(
            self.client_id,
            self.pem.decode(),
            token_endpoint_auth_method="private_key_jwt",
            revocation_endpoint_auth_method="private_key_jwt",
        )
        session.trust_env, session.verify = False, self.site.ca
        claims = {"exp": int(time.time()) + 240}
        method = PrivateKeyJWT(self.token_url, claims=claims, headers={"kid": self.told["kid"]}, alg="RS512")
        session.register_client_auth_method(method)
        return session

    def fetch(self, node=0):
        return self.session().fetch_token(self.url(node, "/oauth2/token"), grant_type="client_credentials")

    def jwt(self, header=None, signer=None, **claims):
        """A signed JWT; a header or claim that is None is left out."""
        head = {"alg": "RS512", "typ": "JWT", "kid": self.told["kid"], **(header or {})}
        body = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": self.token_url,
            "jti": str(uuid.uuid4()),
            "exp": int(time.time()) + 240,
            **claims,
        }

        def part(value):
            text = json.dumps({k: v for k, v in value.items() if v is not None}).encode()
            return base64.urlsafe_b64encode(text).rstrip(b"=")

        signed = part(head) + b"." + part(body)
        signer = signer or (lambda data: self.key.sign(data, padding.PKCS1v15(), hashes.SHA512()))
        return (signed + b"." + base64.urlsafe_b64encode(signer(signed)).rstrip(b"=")).decode()

    def post(self, path, node=0, **fields):
        return requests.post(self.url(node, path), data=fields, verify=self.site.ca, timeout=30)

    def ask(self, jwt, node=0):
        fields = {"grant_type": "client_credentials", "client_assertion_type": KIND, "client_assertion": jwt}
        return self.post("/oauth2/token", node, **fields)

    def use(self, token, node=0):
        """What an API says to the token: 400 of the user-info endpoint means that it was taken."""
        headers = {"Authorization": f"Bearer {token}"}
        return requests.get(self.url(node, "/oauth2/userinfo"), headers=headers, verify=self.site.ca, timeout=30)

    def works(self, token, node):
        answer = self.use(token, node)
        assert answer.status_code in (400, 401), answer.text
        return answer.status_code == 400


@pytest.fixture(scope="module")
def app(site):
    return Application(site)


def refused(answer, status, error, description):
    told = answer.json()
    assert (answer.status_code, told["error"], told["error_description"]) == (status, error, description)
    assert told["message_id"]


def test_a_token_of_one_node_works_on_all_at_once(app):
    for node in range(3):
        token = app.fetch(node)
        assert token["token_type"] == "Bearer" and token["expires_in"] == "599" and token["access_token"]
        assert all(app.works(token["access_token"], other) for other in range(3))


def test_quotas_are_told_with_each_answer(app):
    answer = app.use(app.fetch()["access_token"])
    assert int(answer.headers["ratelimit-limit"]) > 0 and "ratelimit-remaining" in answer.headers


def test_a_revoked_token_is_refused_everywhere_at_once(app):
    token = app.fetch(0)["access_token"]
    assert all(app.works(token, node) for node in range(3))
    answer = app.session().revoke_token(app.url(1, "/oauth2/revoke"), token=token, token_type_hint="access_token")
    assert answer.status_code == 200, answer.text
    for node in range(3):
        told = app.use(token, node)
        fault = {"faultstring": "Invalid Access Token"}
        fault["detail"] = {"errorcode": "keymanagement.service.invalid_access_token"}
        assert (told.status_code, told.json()) == (401, {"fault": fault})


def test_introspection_tells_what_a_token_is_good_for(app):
    token = app.fetch(2)["access_token"]
    told = app.session().introspect_token(app.url(1, "/oauth2/introspect"), token=token).json()
    assert told["active"] is True and told["client_id"] == app.client_id
    assert "urn:nhsd:apim:app:level3:personal-demographics-service" in told["scope"].split()
    assert app.session().introspect_token(app.url(1, "/oauth2/introspect"), token="nonsense").json() == {"active": False}


def test_a_signed_jwt_is_good_once_on_whatever_node(app):
    jwt = app.jwt()
    assert app.ask(jwt, 0).status_code == 200
    for node in range(3):
        refused(app.ask(jwt, node), 400, "invalid_request", "Non-unique 'jti' claim in client_assertion JWT")


def test_what_is_forged_or_stale_is_refused_in_the_specified_words(app):
    algorithm = "Invalid 'alg' header in client_assertion JWT - unsupported JWT algorithm - must be 'RS512'"
    public = json.dumps({"any": "text"}).encode()

    def hmac_signer(data):
        code = hmac.HMAC(public, hashes.SHA512())
        code.update(data)
        return code.finalize()

    for header, signer in (
        ({"alg": "none"}, lambda _: b""),
        ({"alg": "HS512"}, hmac_signer),
        ({"alg": "RS256"}, lambda d: app.key.sign(d, padding.PKCS1v15(), hashes.SHA256())),
    ):
        refused(app.ask(app.jwt(header, signer)), 400, "invalid_request", algorithm)
    bad = "JWT signature verification failed"
    refused(app.ask(app.jwt(signer=hmac_signer)), 401, "public_key error", bad)
    refused(app.ask(app.jwt(signer=lambda d: app.key.sign(d, padding.PKCS1v15(), hashes.SHA256()))), 401, "public_key error", bad)
    aud = "Missing or invalid 'aud' claim in client_assertion JWT"
    refused(app.ask(app.jwt(aud="https://elsewhere.test/oauth2/token")), 401, "invalid_request", aud)
    kid = "Invalid 'kid' header in client_assertion JWT - no matching public key"
    refused(app.ask(app.jwt({"kid": "other"})), 401, "invalid_request", kid)
    expired = "Invalid 'exp' claim in client_assertion JWT - JWT has expired"
    refused(app.ask(app.jwt(exp=int(time.time()) - 1)), 400, "invalid_request", expired)
    far = "Invalid 'exp' claim in client_assertion JWT - more than 5 minutes in future"
    refused(app.ask(app.jwt(exp=int(time.time()) + 400)), 400, "invalid_request", far)
    nobody = "Invalid 'iss'/'sub' claims in client_assertion JWT"
    refused(app.ask(app.jwt(iss="nobody-1", sub="nobody-1")), 401, "invalid_request", nobody)
    answer = requests.get(app.url(0, "/oauth2/token"), verify=app.site.ca, timeout=30)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    answer = requests.get(app.url(0, "/no/such/thing"), verify=app.site.ca, timeout=30)
    assert (answer.status_code, answer.json()["error_description"]) == (404, "Not Found")


def test_no_token_an_empty_one_and_an_old_one_are_told_apart(app):
    url = app.url(0, "/oauth2/userinfo")
    for headers in ({}, {"Authorization": "Bearer "}, {"Authorization": "Basic eDp5"}):
        told = requests.get(url, headers=headers, verify=app.site.ca, timeout=30)
        assert told.status_code == 401
        assert told.json()["fault"]["detail"]["errorcode"] == "oauth.v2.InvalidAccessToken"
    fields = {"grant_type": "client_credentials", "client_assertion_type": KIND, "client_assertion": app.jwt()}
    token = app.post("/oauth2/token", _access_token_expiry_ms=1000, **fields).json()["access_token"]
    wait_for("the token to expire", lambda: not app.works(token, 1), 5)
    fault = app.use(token, 1).json()["fault"]
    assert fault["faultstring"] == "Access Token expired"
    assert fault["detail"]["errorcode"] == "keymanagement.service.access_token_expired"


def test_an_application_that_is_revoked_loses_key_and_tokens(app):
    token = app.fetch()["access_token"]
    socket = app.demo["nodes"][0]["socket"]

    def operator(*args):
        subprocess.run([app.site.binary, "app", *args, "--socket", socket], check=True, timeout=30, capture_output=True)

    operator("revoke", app.client_id)
    try:
        for node in range(3):
            wait_for("the revocation to arrive", lambda node=node: not app.works(token, node), 5)
        text = "The developer app associated with the API key is not approved or revoked"
        refused(app.ask(app.jwt()), 401, "access_denied", text)
    finally:
        operator("approve", app.client_id)
    assert app.works(app.fetch()["access_token"], 2)


def test_tokens_outlive_the_loss_of_a_node(app, site):
    old = app.fetch(0)["access_token"]
    jwt = app.jwt()
    assert app.ask(jwt, 0).status_code == 200
    site.kill(1)
    try:
        for node in (1, 2):
            wait_for("the others to serve", lambda node=node: app.works(old, node))
            refused(app.ask(jwt, node), 400, "invalid_request", "Non-unique 'jti' claim in client_assertion JWT")
        new = app.fetch(1)["access_token"]
        assert app.works(new, 2)
        assert app.session().revoke_token(app.url(2, "/oauth2/revoke"), token=old).status_code == 200
        assert not app.works(old, 1)
    finally:
        site.start(1)
        site.wait_ready()
        site.reload()
    # The node that was away knows what was issued and revoked without it.
    assert app.works(new, 0) and not app.works(old, 0)


def test_the_printed_command_gives_a_token_that_works(app, site):
    run = [site.binary, "demo", "token", "--as", app.told["name"], "--dir", site.folder]
    token = subprocess.run(run, check=True, timeout=30, capture_output=True, text=True).stdout.strip()
    assert app.works(token, 0)


@contextlib.contextmanager
def publisher(keys):
    """An application's own key set, over HTTP on this machine; `keys` is asked for at each request, None is a failure."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802
            found = keys()
            self.send_response(200 if found else 500)
            self.end_headers()
            self.wfile.write(json.dumps({"keys": found or []}).encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/jwks.json"
        server.shutdown()


def test_an_application_publishes_its_keys_itself(app, site):
    def whole(number):
        return base64.urlsafe_b64encode(number.to_bytes((number.bit_length() + 7) // 8)).rstrip(b"=").decode()

    def made(kid):
        key = rsa.generate_private_key(65537, 2048)
        parts = key.public_key().public_numbers()
        return key, {"kty": "RSA", "use": "sig", "alg": "RS512", "kid": kid, "n": whole(parts.n), "e": whole(parts.e)}

    def spine(*args):
        socket = site.path(site.demo["nodes"][0]["socket"])
        subprocess.run([site.binary, *args, "--socket", socket], check=True, capture_output=True, timeout=60)

    def ask(key, kid, node):
        signer = lambda data: key.sign(data, padding.PKCS1v15(), hashes.SHA512())  # noqa: E731
        jwt = app.jwt({"kid": kid}, signer, iss=client, sub=client)
        return app.ask(jwt, node)

    client, (first, public), shown = f"jwks-{uuid.uuid4().hex[:8]}", made("1"), [None]
    with publisher(lambda: shown[0]) as url:
        spine("app", "add", client, "--name", "Own keys", "--ods", "X26", "--jwks-url", url, "--product", "spine-directory:level3")
        spine("app", "approve", client)
        text = "The JWKS endpoint, for your client_assertion can't be reached"
        wait_for("the address to be known", lambda: ask(first, "1", 0).status_code == 403)
        refused(ask(first, "1", 0), 403, "public_key error", text)
        shown[0] = [public]
        # It was asked for a moment ago, in vain; a minute later again.
        for node in range(site.size):
            wait_for(f"node {node + 1} to have the keys", lambda n=node: ask(first, "1", n).status_code == 200, 100)
        second, public = made("2")
        shown[0] = [public]
        wait_for("the new key to be fetched", lambda: ask(second, "2", 0).status_code == 200, 100)
        kid = "Invalid 'kid' header in client_assertion JWT - no matching public key"
        refused(ask(first, "1", 0), 401, "invalid_request", kid)
    # Gone: what was had stays good.
    assert ask(second, "2", 1).status_code == 200
