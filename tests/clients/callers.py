"""Callers of the HTTP APIs beside those that `spine demo token` knows: a citizen who has logged in at a trusted provider, and a privacy
officer, whom only a smartcard lets at the audit trail. Each comes by a token as such people do."""

import re
import subprocess
from urllib.parse import parse_qs, urlencode

import requests
from mesh import wait_for
from test_citizens import id_token
from test_signing_keys import exchanged
from test_staff_login import query_of, secret, spine

OFFICER = "656005750111"
# What a privacy officer of an organisation may see (spec/identity.md §9).
ACTIVITIES = ["B0011", "B0015", "B0016", "B0017", "B0018"]


def citizen(app, key, number):
    """The token of the person with this number. `key` is that of the provider, whom the site trusts."""

    def given():
        answer = exchanged(app, id_token(key, number))
        return answer.json()["access_token"] if answer.status_code == 200 else None

    return wait_for("the provider to be trusted", given)


def officer(site, app, folder):
    """The token of a privacy officer of X26, at level 3."""
    card, known = str(folder / "card"), OFFICER in spine(site, "user", "list", "--output", "json")
    issue = ["cert", "issue", "--ca", site.ca, "--for", "client", "--name", "Olga Officer", "--out", card]
    subprocess.run([site.binary, *issue], check=True, capture_output=True, timeout=60)
    if not known:
        activities = [part for activity in ACTIVITIES for part in ("--activity", activity)]
        spine(site, "user", "add", "--uid", OFFICER, "--given", "Olga", "--family", "Officer")
        spine(site, "user", "role", "add", OFFICER, "--ods", "X26", "--role", "S8001:G8003:R0001", *activities)
        spine(site, "user", "verify", OFFICER, "--level", "3")
    spine(site, "user", "smartcard", OFFICER, "--certificate", card + ".pem")
    if not known:
        spine(site, "user", "activate", OFFICER)
    return by_card(app, card)


def by_card(app, card):
    """Logs in: the page's button is pressed once the node that shows it knows of the card."""
    browser = requests.Session()
    browser.verify, browser.trust_env, browser.cert = app.site.ca, False, (card + ".pem", card + "-key.pem")
    url, end = app.url(0, "/oauth2/authorize?") + urlencode({**query_of(app), "state": "s"}), app.told["redirect_uris"][0]

    def follow(answer):
        while "location" in answer.headers and not answer.headers["location"].startswith(end):
            answer = browser.get(answer.headers["location"], allow_redirects=False, timeout=30)
        return answer

    def button():
        page = follow(browser.get(url, allow_redirects=False, timeout=30))
        return re.search(r'action="([^"]+smartcard)".*?value="([^"]+)"', page.text)

    action, ticket = wait_for("the smartcard's button", button).groups()
    back = follow(browser.post(app.url(0, action), data={"ticket": ticket}, allow_redirects=False, timeout=30))
    code = parse_qs(back.headers["location"].partition("?")[2])["code"][0]
    fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": end, **secret(app)}
    return app.post("/oauth2/token", 0, **fields).json()["access_token"]


def claims_access(app, token, number):
    """A member of staff claims a relationship with somebody, which leaves an alert for the officer."""
    url = app.url(0, f"/legitimate-relationships/patients/{number}/relationships")
    told = {"kind": "self-claimed", "reason": "on call tonight"}
    headers = {"Authorization": f"Bearer {token}", "X-Request-ID": "60e0b220-8136-4ca5-ae46-1d97ef59d068"}
    answer = requests.post(url, json=told, headers=headers, verify=app.site.ca, timeout=30)
    assert answer.status_code == 201, answer.text
