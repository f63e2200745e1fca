"""What time and broken nodes do to prescriptions (spec/eps.md §17.6, §18): six issues of repeat dispensing, expiry, claims that never came,
clear-down, each by the test site's calendar; the same answer from another node after a kill -9; and nothing of a patient in any log.
Promises P1, P3, P6 and P9.

The calendar goes on only: every test reads it first and makes its dates from it."""

import datetime as dt
import uuid

import pytest
from eps import (
    NAMES,
    NUMBERS,
    Case,
    Eps,
    pharmacy,
    refused,
    released,
    resources,
    response_code,
    succeeded,
    unaddressed,
    walk,
)
from mesh import wait_for
from test_eps_http import group

ORDER, ERD = "01-order-acute-nominated/order-request.json", "04-order-erd/order-request.json"
ALL = ["0001"] * 4


@pytest.fixture(scope="module")
def eps(site):
    return Eps(site)


@pytest.fixture
def erd(eps):
    """Six issues for ten days each."""
    case = Case(eps, pharmacy())
    case.order(ERD, issues=6)
    return case


def notified(eps, case, issue, message=None, items=None, status="0006"):
    """A notification of one issue of repeat dispensing."""
    name = "09-dispense-notification/erd-request.json"
    body = case.read(name, message, issue=issue, issues=6, items=items or ALL, status=status)
    return eps.dispense(body, node=issue)


def statuses(eps, case):
    return [status for status, _ in eps.states(case)]


def gone(eps, case):
    """Cleared down: the trackers know that it was and no more."""
    refused(eps.tasks(query={"identifier": case.id}), "INVALID", status=200)
    found = group(eps, query={"prescriptionId": case.id, "lowDate": "20200101"}).json()
    return {r["status"] for r in resources(found, "RequestGroup")} <= {"completed"}


def test_six_issues_each_when_it_is_due(eps, erd):
    assert statuses(eps, erd) == ["0001"] + ["9000"] * 5
    started = eps.today
    for issue in range(1, 7):
        # Ten days each, and each to be had seven days ahead.
        due = started + dt.timedelta(days=10 * (issue - 1) - 7) if issue > 1 else started
        if due > eps.today:
            assert eps.state(erd, issue)[0] == "0000"
            assert released(eps.release(erd.nominated())) == []
            eps.clock((due - eps.today).days)
        assert eps.state(erd, issue, node=1)[0] == "0001"
        answer = eps.release(erd.nominated(), node=issue)
        assert released(answer) == [erd.id]
        (entry,) = answer.json()["parameter"][0]["resource"]["entry"]
        first = resources(entry["resource"], "MedicationRequest")[0]
        assert first["intent"] == "reflex-order"
        counts = {p["url"]: p.get("valueInteger", p.get("valueUnsignedInt")) for p in walk(first) if p.get("url", "").startswith("numberOf")}
        assert counts == {"numberOfRepeatsAllowed": 5, "numberOfRepeatsIssued": issue - 1, "numberOfPrescriptionsIssued": issue}
        succeeded(notified(eps, erd, issue))
        # A claim may come while the next issue is the current one.
        succeeded(eps.claim(erd.read("12-claim/erd-request.json", issue=issue, issues=6)))
        assert statuses(eps, erd)[:issue] == ["0008"] * issue
    assert statuses(eps, erd) == ["0008"] * 6
    refused(erd.release(), "PRESCRIPTION_DISPENSED")


def test_the_published_issue_is_dispensed_withdrawn_and_returned(eps, erd):
    assert released(erd.release()) == [erd.id]
    wrong = erd.read("09-dispense-notification/erd-request.json", issue=1, issues=7, items=ALL, status="0006")
    refused(eps.dispense(wrong), "MISMATCH_AUTHORISED_REPEAT_COUNT")
    refused(notified(eps, erd, 2), "PRESCRIPTION_INVALID_STATE_TRANSITION")
    succeeded(eps.task(erd.read("10-return/erd-request.json", focus=erd.response, issue=1, issues=6)))
    assert statuses(eps, erd)[0] == "0001"
    # By id it can be had before its day, too.
    assert released(erd.release(node=1)) == [erd.id]
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    succeeded(notified(eps, erd, 1, first))
    assert statuses(eps, erd)[:2] == ["0006", "0000"]
    succeeded(eps.task(erd.read("11-withdraw/erd-request.json", focus=first, issue=1, issues=6)))
    # Never below 0003; the next issue stays where it is.
    assert statuses(eps, erd)[:2] == ["0003", "0000"]
    succeeded(notified(eps, erd, 1, second, items=["0001", "0001", "0004", "0001"], status="0003"))
    succeeded(notified(eps, erd, 1))
    assert released(erd.release(node=2)) == [erd.id]
    assert statuses(eps, erd)[:3] == ["0006", "0002", "9000"]


def test_a_cancelled_item_is_cancelled_in_all_later_issues(eps, erd):
    assert response_code(erd.cancel(0)) == "R-0001"
    assert {items[0] for _, items in eps.states(erd)} == {"0005"}
    assert {items[1] for _, items in eps.states(erd)} == {"0007"}
    for item in (1, 2, 3):
        assert response_code(erd.cancel(item, node=item)) == "R-0001"
    assert statuses(eps, erd) == ["0005"] * 6


def test_a_post_dated_order_waits_for_its_day(eps):
    case = Case(eps, pharmacy())
    order = case.keep(case.read(ORDER))
    for part in walk(order):
        if "validityPeriod" in part:
            part["validityPeriod"]["start"] = str(eps.today + dt.timedelta(days=10))
    succeeded(eps.message(order))
    assert eps.state(case)[0] == "9001"
    refused(case.release(), "RESOURCE_NOT_FOUND")
    assert released(eps.release(case.nominated())) == []
    eps.clock(9)
    assert eps.state(case, node=1)[0] == "9001"
    eps.clock(1)
    assert eps.state(case, node=2)[0] == "0001"
    assert released(eps.release(case.nominated(), node=1)) == [case.id]


def test_a_claim_is_amended_until_the_fifth_of_the_month_after(eps):
    if eps.today.day == 1:
        # Claimed on a 1st, a prescription may be cleared down on the 6th of the next month.
        eps.clock(1)
    case = Case(eps, pharmacy())
    case.order()
    assert released(case.release()) == [case.id]
    case.dispensed()
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    succeeded(case.claim(first))
    fifth = (eps.today.replace(day=1) + dt.timedelta(days=32)).replace(day=5)
    eps.clock((fifth - eps.today).days)
    succeeded(case.claim(second, replaces=first))
    eps.clock(1)
    refused(case.claim(replaces=second), "CLAIM_AMEND_PERIOD_ISSUE")


def ordered(eps, count):
    cases = [Case(eps, pharmacy()) for _ in range(count)]
    for case in cases:
        case.order()
    return cases


def test_half_a_year_goes_by(eps):
    waiting, given, partly, done, claimed, none, cancelled, repeated = ordered(eps, 8)
    repeated = Case(eps, pharmacy())
    repeated.order(ERD, issues=6)
    for case in (given, partly, done, claimed, none):
        assert released(case.release()) == [case.id]
    assert response_code(given.cancel(0)) == "R-0002"
    succeeded(eps.dispense(partly.notification(1, items=["0001", "0004", "0003", "0002"], status="0003")))
    done.dispensed()
    claimed.dispensed()
    succeeded(claimed.claim())
    succeeded(eps.dispense(none.notification(1, items=["0002"] * 4, status="0007")))
    for item in range(4):
        assert response_code(cancelled.cancel(item)) == "R-0001"
    early = Case(eps, pharmacy())
    early.items = [str(uuid.uuid4())]
    refused(early.cancel(0), "R-0008")
    assert eps.state(none)[0] == "0007"

    eps.clock(35)
    assert gone(eps, none)
    assert eps.state(claimed)[0] == "0008"
    eps.clock(2)
    assert gone(eps, claimed)
    eps.clock(150)
    # §18.1: six months, and 180 days for those of which something was dispensed.
    assert eps.state(waiting, node=1) == ("0004", "0006", "0006", "0006", "0006")
    assert eps.state(given, node=2) == ("0004", "0006", "0006", "0006", "0006")
    assert statuses(eps, repeated) == ["0004"] * 6
    assert (eps.state(partly)[0], eps.state(done)[0]) == ("0009", "0009")
    assert gone(eps, cancelled)
    refused(waiting.release(), "PRESCRIPTION_EXPIRED")
    assert response_code(waiting.cancel(0)) == "R-0005"
    refused(given.give_back(), "PRESCRIPTION_INVALID_STATE_TRANSITION")
    refused(partly.claim(), "CLAIM_INVALID_NOT_DISPENSED")
    refused(eps.dispense(given.notification(1, items=ALL, status="0006")), "PRESCRIPTION_INVALID_STATE_TRANSITION")

    eps.clock(91)
    assert all(gone(eps, case) for case in (waiting, given, partly, done, repeated))
    # Its id is taken until the shell goes, too.
    refused(eps.message(waiting.read(ORDER)), "DUPLICATE_PRESCRIPTION_ID")
    refused(waiting.release(), "RESOURCE_NOT_FOUND")
    eps.clock(366)
    succeeded(eps.message(waiting.read(ORDER)))
    assert eps.state(waiting)[0] == "0001"


# Nodes.


def test_a_node_dies_between_a_release_and_its_repeat(eps, site):
    to = pharmacy()
    cases = [Case(eps, to) for _ in range(5)]
    for case in cases:
        case.order()
    one = Case(eps, pharmacy())
    one.order()
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    request = cases[0].nominated()
    by_id = one.read("08-release/by-prescription-id-request.json")
    given, single = eps.release(request, request=first, node=0), eps.release(by_id, request=second, node=0)
    assert released(given) == [case.id for case in cases] and released(single) == [one.id]
    site.kill(1)
    try:
        for node in (1, 2):
            assert unaddressed(again(eps, request, first, node)) == unaddressed(given)
            assert unaddressed(again(eps, by_id, second, node)) == unaddressed(single)
    finally:
        site.wait_ready()
    assert again(eps, request, first, 0).text == given.text
    assert eps.state(one, node=0)[0] == "0002"


def again(eps, request, own, node):
    """As a client repeats what was answered 503, or not at all, while the site finds another leader."""

    def asked():
        answer = eps.release(request, request=own, node=node)
        assert answer.status_code in (200, 503), answer.text
        return answer if answer.status_code == 200 else None

    return wait_for("the repeat to be answered", asked, 60)


def test_nothing_of_a_patient_is_in_any_log(eps, site):
    case = Case(eps, pharmacy())
    case.order()
    assert released(case.release()) == [case.id]
    refused(eps.message(Case(eps).read(ORDER), headers={"X-Request-ID": "x"}))
    group(eps, query={"nhsNumber": case.number})
    eps.tasks(query={"patient:identifier": case.number})
    assert case.number in NUMBERS and NAMES
    for node in site.demo["nodes"]:
        folder = site.path(f"node-{node['id']}")
        with open(f"{folder}/log", encoding="utf-8", errors="replace") as file:
            for line in file:
                found = [word for word in (*NUMBERS, *NAMES) if word in line]
                assert not found, line
