"""The pages of the log-in as a browser and whoever cannot see them meet them: axe finds nothing in any state, the keyboard stands on what went
wrong, nothing is wider than a phone, and nothing is fetched from elsewhere."""

import gzip
import json
import os
import pathlib
import re
from urllib.parse import urlencode

import pytest
import requests
from chromium import Chromium, binary
from test_passkey import arrived, provider, provider_url
from test_staff_login import Person, app, number, spine, user  # noqa: F401

AXE = pathlib.Path(os.environ.get("SPINE_OPENID_CLIENT", "")) / "node_modules/axe-core/axe.min.js"
LACKING = "Chromium or axe-core is not to be had here: the pages are looked at by nobody"
# WCAG 2.2 AA and below, and what axe calls good practice.
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


class Looked:
    """Each page of a walk, once: what axe and the tape measure say of it."""

    def __init__(self, browser):
        self.browser, self.titles, self.axe = browser, {}, AXE.read_text(encoding="utf-8")

    def at(self, state, heading, words=""):
        """Once the page is there as a whole; `words` tell it from the one before."""
        there = f"document.querySelector('h1') && document.querySelector('h1').innerText === {json.dumps(heading)}"
        there += f" && document.readyState === 'complete' && document.body.innerText.includes({json.dumps(words)})"
        self.browser.wait(heading, lambda: self.browser.run(there))
        # The protocol's own door: the page's policy lets no script in.
        self.browser.ask("Runtime.evaluate", expression=self.axe)
        found = self.browser.run(
            f"axe.run(document, {{runOnly: {json.dumps(TAGS)}}}).then(r => JSON.stringify(r.violations.map(v => "
            "[v.id, v.nodes.map(n => n.html + ' ' + n.failureSummary)])))"
        )
        assert json.loads(found) == [], f"{state}: {found}"
        assert self.browser.run("document.querySelectorAll('h1').length") == 1, state
        assert self.browser.run("getComputedStyle(document.querySelector('.nhsuk-header')).backgroundColor") == "rgb(0, 94, 184)"
        title = self.browser.run("document.title")
        assert title not in self.titles.values(), f"{state} is called as another: {title}"
        self.titles[state] = title
        if title.startswith("Error: "):
            assert "nhsuk-error-summary" in self.browser.run("document.activeElement.className"), state
            for link in json.loads(self.browser.run(
                "JSON.stringify([...document.querySelectorAll('.nhsuk-error-summary a')].map(a => a.getAttribute('href')))"
            )):
                assert self.browser.run(f"!!document.querySelector({json.dumps(link)}).closest('.nhsuk-form-group--error')"), state
        # WCAG 1.4.10: nothing to scroll sideways for on 320 pixels, which is 400 % of 1,280.
        self.browser.ask("Emulation.setDeviceMetricsOverride", width=320, height=640, deviceScaleFactor=1, mobile=False)
        wide = self.browser.run("document.documentElement.scrollWidth")
        self.browser.ask("Emulation.clearDeviceMetricsOverride")
        assert wide <= 320, f"{state} is {wide} pixels wide"


def typed(browser, selector):
    """By keyboard, as a person does: the value is the browser's own."""
    browser.run(f"document.querySelector({json.dumps(selector)}).focus()")
    return lambda text: browser.ask("Input.insertText", text=text)


@pytest.mark.skipif(not binary() or not AXE.exists(), reason=LACKING)
def test_every_page_is_for_everybody(app, site, number):  # noqa: F811
    doctor = user(site, 1)
    try:
        with Chromium([app.url(n, "") for n in range(3)]) as browser:
            walk(Looked(browser), browser, app, site, Person(site, doctor))
    finally:
        for device in json.loads(spine(site, "user", "show", doctor["id"], "--output", "json"))["devices"]:
            spine(site, "user", "passkey", doctor["id"], "--remove", device["serial"])


def walk(looked, browser, app, site, person):
    """Through every page, and every state of it."""
    doctor = person.user
    browser.authenticator()
    scope = "openid nationalrbacaccess selectedrole"
    browser.open(provider_url(app, site, scope=scope, acr_values="AAL2_ANY"))
    looked.at("log in", "Log in")
    # The first thing that the keyboard reaches leads past the header.
    key = {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
    browser.ask("Input.dispatchKeyEvent", type="keyDown", **key)
    assert browser.run("document.activeElement.getAttribute('href')") == "#maincontent"
    typed(browser, "#user")("6560 0575")
    browser.click("form button[type=submit]")
    looked.at("log in, with mistakes", "Log in", "Enter your password")
    assert browser.run("document.querySelector('#user').value") == "6560 0575"
    words = browser.run("document.querySelector('.nhsuk-error-summary').innerText")
    for wanted in ("Your user ID must be 12 digits", "Enter your password", "Enter your one-time code"):
        assert wanted in words
    del looked.titles["log in, with mistakes"]
    browser.fill("#user", doctor["id"])
    browser.fill("#password", "not this one")
    browser.fill("#code", person.code())
    browser.click("form button[type=submit]")
    looked.at("log in, refused", "Log in", "could not be logged in")
    assert browser.run("document.querySelector('#password').value") == ""
    assert browser.run("document.querySelector('#user').value") == doctor["id"]
    browser.fill("#password", doctor["password"])
    browser.fill("#code", person.code())
    browser.click("form button[type=submit]")
    looked.at("role", "Choose your role")
    browser.click("form button[type=submit]")
    arrived(browser, app)

    browser.open(app.url(0, provider(site) + "/connect/endSession"))
    looked.at("log out", "Do you want to log out?")
    browser.click("form button[type=submit]")
    looked.at("logged out", "Logged out")

    told = json.loads(spine(site, "user", "passkey", doctor["id"], "--output", "json"))
    browser.open(told["link"])
    looked.at("enrol", "Enrol a passkey")
    browser.fill("#code", "not this one")
    browser.click("form button[type=submit]")
    looked.at("enrol, refused", "Enrol a passkey", "There is a problem")
    browser.fill("#code", told["code"])
    browser.click("form button[type=submit]")
    browser.fill("#password", doctor["password"])
    browser.fill("#totp", person.code())
    browser.click("form button[type=submit]")
    looked.at("make", "Make a passkey")
    browser.click("#go")
    looked.at("made", "Your passkey is ready")

    browser.ask("Network.clearBrowserCookies")
    browser.open(provider_url(app, site))
    browser.click('form[action$="/authorize/passkey"] button')
    looked.at("passkey", "Log in with a passkey")
    browser.open(app.url(0, provider(site) + "/authorize?") + urlencode({"client_id": "nobody"}))
    looked.at("wrong", "You cannot go on from here")


def test_a_page_is_light_and_fetches_nothing_from_elsewhere(app, site):  # noqa: F811
    page = requests.get(provider_url(app, site), verify=site.ca, timeout=30)
    assert page.status_code == 200 and len(page.content) <= 15_000
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "script-src" not in policy
    assert page.headers["referrer-policy"] == "no-referrer" and page.headers["cache-control"] == "no-store"
    whole = len(page.content)
    for address in re.findall(r'(?:href|src)="([^"#][^"]*)"', page.text):
        assert address.startswith("/assets/"), address
        asset = requests.get(app.url(1, address), verify=site.ca, timeout=30, stream=True)
        raw = asset.raw.read()
        whole += len(raw)
        assert asset.status_code == 200 and "immutable" in asset.headers["cache-control"], address
        if asset.headers.get("content-encoding") == "gzip":
            plain = requests.get(app.url(2, address), headers={"Accept-Encoding": "identity"}, verify=site.ca, timeout=30)
            assert "content-encoding" not in plain.headers and plain.content == gzip.decompress(raw)
            assert b"@font-face" not in plain.content and b"url(http" not in plain.content
    assert whole <= 100_000, f"{whole} bytes on the first visit"
