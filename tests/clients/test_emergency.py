"""Emergency care on a site that runs: what an operator marks is known as that on every node by its token and by its key, before anything is looked up for the whole
site; and the metrics tell how each class fares. What the class is good for under load, tests/edge/emergency.rs tries. Promise P6."""

import re

import pytest
import requests
from mesh import wait_for
from test_staff_login import demo_token, spine

NAMES = ("spine_places_total", "spine_turns_total")


def counted(site, node, name, clazz, outcome="admitted"):
    """A counter of the API listener of a node, by class."""
    text = requests.get(site.demo["nodes"][node]["metrics"], timeout=30).text
    for labels, value in re.findall(rf"^{name}{{(.*)}} (\S+)$", text, re.MULTILINE):
        told = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if told == {"service": "api", "class": clazz, "outcome": outcome}:
            return float(value)
    raise AssertionError(f"{name} has no {clazz} {outcome}")


@pytest.fixture
def ambulance(site):
    """An application of the demo that is emergency care for a while."""
    app = site.demo["applications"][0]
    spine(site, "app", "set", app["client_id"], "--emergency", "on")
    yield app
    spine(site, "app", "set", app["client_id"], "--emergency", "off")


def shown(app, site):
    return [{"Authorization": f"Bearer {demo_token(site, app['name'])}"}, {"apikey": app["client_id"]}]


def test_what_is_marked_is_seen_as_emergency_care_on_every_node(site, ambulance):
    for headers in shown(ambulance, site):
        for node in range(site.size):
            url = site.demo["nodes"][node]["internet"].rstrip("/") + "/oauth2/_ping"

            def asked(headers=headers, node=node, url=url):
                # It asks for no credentials: the class is found with what this node has at hand, or not at all.
                before = counted(site, node, NAMES[0], "emergency")
                assert requests.get(url, headers=headers, verify=site.ca, timeout=30).status_code == 200
                return counted(site, node, NAMES[0], "emergency") == before + 1

            wait_for(f"node {node + 1} to know it by {list(headers)}", asked)
        before = [counted(site, node, name, "emergency") for node in range(site.size) for name in NAMES]
        for node in range(site.size):
            url = site.demo["nodes"][node]["internet"].rstrip("/") + "/personal-demographics/_status"
            requests.get(url, headers=headers, verify=site.ca, timeout=30)
        after = [counted(site, node, name, "emergency") for node in range(site.size) for name in NAMES]
        assert all(a > b for a, b in zip(after[:: len(NAMES)], before[:: len(NAMES)], strict=True)), (before, after)


def test_what_is_not_marked_is_as_all_others(site):
    app = site.demo["applications"][0]
    spine(site, "app", "set", app["client_id"], "--emergency", "off")
    for headers in shown(app, site):
        url = site.demo["nodes"][0]["internet"].rstrip("/") + "/oauth2/_ping"

        def asked(headers=headers, url=url):
            emergency, usual = (counted(site, 0, NAMES[0], clazz) for clazz in ("emergency", "usual"))
            assert requests.get(url, headers=headers, verify=site.ca, timeout=30).status_code == 200
            told = [counted(site, 0, NAMES[0], clazz) for clazz in ("emergency", "usual")]
            return told == [emergency, usual + 1]

        wait_for("it to be as all others", asked)
