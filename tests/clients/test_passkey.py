"""A passkey in a real browser (headless Chromium with a virtual authenticator) and a smartcard over mutual TLS (curl): enrolled, good for
level 3 on every node, and worth nothing once taken away. Promises P2, P5."""

import json
import re
import shutil
import subprocess
from urllib.parse import parse_qs, urlencode, urlparse

import pytest
import requests
from authlib.jose import jwt as jose
from chromium import Chromium, binary
from mesh import wait_for
from test_staff_login import Person, app, number, query_of, read, secret, spine, user  # noqa: F401

LACKING = "no Chromium is installed: the passkey is tried in no browser"


def provider(site):
    return urlparse(site.demo["staff_issuer"]).path


def redirect(app):
    return app.told["redirect_uris"][0]


def id_token(app, site, back):
    """The claims of the ID token for the provider's code, its signature checked."""
    assert "code=" in back, back
    code = parse_qs(urlparse(back).query)["code"][0]
    fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect(app), **secret(app)}
    answer = app.post(provider(site) + "/access_token", 1, **fields).json()
    keys = requests.get(app.url(0, provider(site) + "/connect/jwk_uri"), verify=site.ca, timeout=30).json()
    return jose.decode(answer["id_token"], keys)


def api_token(app, back):
    assert "code=" in back, back
    code = parse_qs(urlparse(back).query)["code"][0]
    fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect(app), **secret(app)}
    return app.post("/oauth2/token", 2, **fields).json()["access_token"]


def provider_url(app, site, **more):
    query = {"client_id": app.client_id, "redirect_uri": redirect(app), "response_type": "code", "scope": "openid"}
    return app.url(0, provider(site) + "/authorize?") + urlencode({**query, "state": "s", **more})


def arrived(browser, app):
    """Waits until the browser was sent back to the application, where nobody needs to listen."""
    return browser.wait("the application", lambda: browser.url.startswith(redirect(app)) and browser.url)


def devices(site, uid):
    return json.loads(spine(site, "user", "show", uid, "--output", "json"))["devices"]


def enrol(browser, site, person):
    told = json.loads(spine(site, "user", "passkey", person.user["id"], "--output", "json"))
    browser.open(told["link"])
    browser.click("form button[type=submit]")
    browser.fill("#password", person.user["password"])
    browser.fill("#totp", person.code())
    browser.click("form button[type=submit]")
    browser.click("#go")
    browser.see("#enrolled")
    return told


def use(browser, url):
    """From an application's link over the log-in page to the passkey."""
    browser.open(url)
    browser.click('form[action$="/authorize/passkey"] button')
    browser.click("#go")


@pytest.mark.skipif(not binary(), reason=LACKING)
def test_a_paramedic_enrols_a_passkey_and_gets_in_with_it(app, site, number):  # noqa: F811
    doctor = user(site, 1)
    with Chromium([app.url(n, "") for n in range(3)]) as browser:
        browser.authenticator()
        told = enrol(browser, site, Person(site, doctor))
        [device] = devices(site, doctor["id"])
        assert device["serial"].startswith("passkey-") and device["level"] == 3
        # No acr_values: AAL3_ANY, which a passkey meets.
        use(browser, provider_url(app, site, nonce="n"))
        claims = id_token(app, site, arrived(browser, app))
        assert (claims["sub"], claims["acr"], claims["amr"]) == (doctor["id"], "AAL3_ANY", ["FIDO2"])
        assert claims["authentication_assurance_level"] == "3" and claims["id_assurance_level"] == "3"
        # The combined flow, with another node's page; the session is known there, so it has to be asked for anew.
        browser.ask("Network.clearBrowserCookies")
        use(browser, app.url(2, "/oauth2/authorize?") + urlencode({**query_of(app), "state": "t", "acr_values": "AAL3_FIDO2"}))
        token = api_token(app, arrived(browser, app))
        role = {"NHSD-Session-URID": doctor["roles"][0]["urp"]}
        assert all(read(app, token, number, node, **role).status_code == 200 for node in range(3))
        # The code was good once.
        browser.open(told["link"])
        browser.click("form button[type=submit]")
        browser.see(".nhsuk-error-summary:not([hidden])")
        # Taken away it opens nothing, and what it opened ends on every node.
        spine(site, "user", "passkey", doctor["id"], "--remove", device["serial"])
        for node in range(3):
            wait_for("the token's end", lambda n=node: read(app, token, number, n, **role).status_code == 401)
        browser.ask("Network.clearBrowserCookies")
        use(browser, provider_url(app, site))
        browser.see(".nhsuk-error-summary:not([hidden])")
        assert "not accepted" in browser.text() and devices(site, doctor["id"]) == []


@pytest.mark.skipif(not binary(), reason=LACKING)
def test_a_device_that_does_not_verify_its_person_enrols_nothing(app, site):  # noqa: F811
    nurse = user(site, 0)
    with Chromium([app.url(n, "") for n in range(3)]) as browser:
        browser.authenticator(isUserVerified=False)
        with pytest.raises(AssertionError, match="No passkey was used"):
            enrol(browser, site, Person(site, nurse))
    assert devices(site, nurse["id"]) == []


def curl(site, card, url, *more):
    """A browser with a smartcard, as far as TLS is concerned."""
    identity = ["--cert", card + ".pem", "--key", card + "-key.pem"] if card else []
    done = subprocess.run(
        ["curl", "-sS", "--noproxy", "*", "--cacert", site.ca, *identity, *more, url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_a_smartcard_proves_level_3_over_mutual_tls(app, site, tmp_path):  # noqa: F811
    nurse, card, other, jar = user(site, 0), str(tmp_path / "card"), str(tmp_path / "other"), str(tmp_path / "cookies")
    for name, out in [("Nina Nurse", card), ("Nobody", other)]:
        args = ["cert", "issue", "--ca", site.ca, "--for", "client", "--name", name, "--out", out]
        subprocess.run([site.binary, *args], check=True, capture_output=True, timeout=60)
    spine(site, "user", "smartcard", nurse["id"], "--certificate", card + ".pem")
    [device] = devices(site, nurse["id"])
    assert device["serial"].startswith("smartcard-") and device["name"] == "Nina Nurse"
    url = provider_url(app, site, acr_values="AAL3_SMARTCARD")
    try:
        cookies = ["-c", jar, "-b", jar]
        # Without a card, or with a strange one, the page offers nothing.
        for none in ("", other):
            assert "none that is known here came" in curl(site, none, url, *cookies)[1]
        # The node that this is asked of may know of the card a moment later.
        page = wait_for("the button", lambda: re.search(r'action="([^"]+smartcard)".*?value="([^"]+)"', curl(site, card, url, *cookies)[1]))
        post = app.url(0, page[1])
        stolen = curl(site, other, post, *cookies, "--data", f"ticket={page[2]}")[1]
        assert "No smartcard that is known here" in stolen
        page = re.search(r'action="([^"]+smartcard)".*?value="([^"]+)"', curl(site, card, url, *cookies)[1])
        code, head = curl(site, card, post, *cookies, "-o", "/dev/null", "-w", "%{redirect_url}", "--data", f"ticket={page[2]}")
        claims = id_token(app, site, head)
        assert code == 0 and (claims["sub"], claims["acr"], claims["amr"]) == (nurse["id"], "AAL3_SMARTCARD", ["SMARTCARD"])
        assert claims["authentication_assurance_level"] == "3"
    finally:
        spine(site, "user", "smartcard", nurse["id"], "--remove", device["serial"])
    # Of an authority that is not the site's, the handshake is refused.
    subprocess.run([site.binary, "cert", "ca", "--name", "Other", "--out", str(tmp_path / "ca")], check=True, capture_output=True)
    args = ["cert", "issue", "--ca", str(tmp_path / "ca.pem"), "--for", "client", "--name", "x", "--out", str(tmp_path / "foreign")]
    subprocess.run([site.binary, *args], check=True, capture_output=True, timeout=60)
    assert curl(site, str(tmp_path / "foreign"), url)[0] != 0
