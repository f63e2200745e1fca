"""A provider of citizens' log-ins as the site meets it: authorization endpoint and token endpoint with `private_key_jwt` (RS512), PKCE
and codes that are good once. It checks what it is shown and can be told to misbehave. Promise P5."""

import base64
import contextlib
import hashlib
import http.server
import json
import secrets
import threading
import time
from urllib.parse import parse_qs, parse_qsl, urlencode, urlparse

from authlib.jose import JsonWebKey
from authlib.jose import jwt as jose

KIND = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Refused(Exception):
    """An OAuth error, with its status."""


class Provider:
    """One provider, and one citizen who is logged in there: `citizen` holds their claims."""

    issuer, client = "https://login.test.example", "the-site-there"

    def __init__(self, port=0):
        self.key = JsonWebKey.generate_key("RSA", 2048, {"kid": "there-1", "alg": "RS512"}, is_private=True)
        self.ours = JsonWebKey.generate_key("RSA", 2048, is_private=True)
        self.codes, self.shown, self.asked, self.citizen = {}, set(), [], {}
        # What is done otherwise: claims of the next ID tokens, whether the citizen agrees, whether it answers at all.
        self.claims, self.agrees, self.status = {}, True, 200
        # The trace that the last question was part of.
        self.traced = None
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), self.handler())
        self.at = f"http://127.0.0.1:{self.server.server_address[1]}"

    def keys(self):
        return json.dumps({"keys": [self.key.as_dict(is_private=False)]})

    @contextlib.contextmanager
    def running(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        try:
            yield self
        finally:
            self.server.shutdown()
            self.server.server_close()

    def handler(provider):  # noqa: N805
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked = dict(parse_qsl(urlparse(self.path).query))
                self.send_response(302)
                self.send_header("location", provider.authorize(asked))
                self.end_headers()

            def do_POST(self):
                provider.traced = self.headers.get("traceparent")
                form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
                try:
                    status, told = 200, provider.token({name: value[0] for name, value in form.items()})
                except Refused as refused:
                    status, told = refused.args[1], {"error": refused.args[0]}
                body = json.dumps(told).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler

    def authorize(self, asked):
        assert asked["client_id"] == self.client and asked["response_type"] == "code", asked
        assert "openid" in asked["scope"].split() and asked["code_challenge_method"] == "S256", asked
        back = {"state": asked["state"], "error": "access_denied", "error_description": "The citizen does not agree"}
        if self.agrees:
            code = secrets.token_urlsafe(24)
            self.codes[code] = asked
            back = {"state": asked["state"], "code": code, "iss": self.issuer}
        return asked["redirect_uri"] + "?" + urlencode(back)

    def token(self, form):
        self.asked.append(form)
        if self.status != 200:
            raise Refused("server_error", self.status)
        self.proven(form)
        asked = self.codes.pop(form.get("code"), None)
        verifier = hashlib.sha256(form["code_verifier"].encode()).digest()
        verifier = base64.urlsafe_b64encode(verifier).rstrip(b"=").decode()
        fits = asked and asked["redirect_uri"] == form["redirect_uri"] and asked["code_challenge"] == verifier
        if form["grant_type"] != "authorization_code" or not fits:
            raise Refused("invalid_grant", 400)
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": self.client,
            "iat": now,
            "exp": now + 300,
            "auth_time": now,
            "nonce": asked["nonce"],
            **self.citizen,
            **self.claims,
        }
        head = {"alg": "RS512", "typ": "JWT", "kid": "there-1"}
        id_token = jose.encode(head, claims, self.key).decode()
        return {"access_token": secrets.token_urlsafe(), "token_type": "Bearer", "expires_in": 300, "id_token": id_token}

    def proven(self, form):
        """RFC 7523: signed with the key that the site gave us, for us, now, once."""
        if form.get("client_assertion_type") != KIND:
            raise Refused("invalid_client", 401)
        claims = jose.decode(form["client_assertion"], self.ours.as_dict(is_private=False))
        claims.validate()
        assert claims.header["alg"] == "RS512" and claims["iss"] == claims["sub"] == self.client, claims
        assert claims["aud"] == self.at + "/token" and claims["jti"] not in self.shown, claims
        self.shown.add(claims["jti"])
