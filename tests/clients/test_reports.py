"""Reports as clients meet them, made through the test-mode endpoints of MESH §15 (the demo runs with them on)."""

import pytest
from mesh import ONE, TWO


@pytest.fixture(autouse=True)
def test_mode(raw):
    if raw.get(f"/messageexchange/admin/mailbox/{ONE}", auth=None).status_code == 404:
        pytest.skip("the site runs without mesh.test_endpoints")


def report(raw, **fields):
    body = {"mailbox_id": ONE, "workflow_id": "FREE", "code": "14", "description": "no", **fields}
    answer = raw.call("POST", "/messageexchange/admin/report", auth=None, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()["message_id"]


def test_a_non_delivery_report_through_the_real_client(raw, client):
    lost = raw.sent(ONE, TWO, headers={"Mex-Subject": "Results", "Mex-LocalID": "L1"})
    made = report(raw, status="undeliverable", subject="Results", local_id="L1", linked_message_id=lost)
    one = client(ONE)
    assert one.list_messages() == [made]
    got = one.retrieve_message(made)
    assert (got.message_type, got.sender, got.recipient, got.read()) == ("REPORT", None, ONE, b"")
    assert (got.mex_header("statuscode"), got.mex_header("statusevent")) == ("14", "SEND")
    assert got.mex_header("statussuccess") == "ERROR"
    assert got.mex_header("statusdescription") == "Message not collected by recipient after 5 days"
    assert (got.mex_header("linkedmsgid"), got.subject, got.local_id) == (lost, "NDR: Results", "L1")
    got.acknowledge()
    assert one.list_messages() == []


def test_an_error_report(raw):
    made = report(raw, status="error", code="EPL-153", description="NHS Number not found")
    got = raw.fetch(ONE, made)
    assert (got.status_code, got.content, got.headers["content-length"]) == (200, b"", "0")
    assert (got.headers["mex-statuscode"], got.headers["mex-statusevent"]) == ("EPL-153", "TRANSFER")
    assert got.headers.get("mex-chunk-range") is None and got.headers.get("mex-total-chunks", "0") == "0"


def test_reset_empties_a_mailbox(raw):
    raw.sent(ONE, TWO)
    answer = raw.call("DELETE", f"/messageexchange/admin/reset/{TWO}", auth=None)
    assert answer.status_code == 200 and raw.list(TWO) == []
    assert raw.call("DELETE", "/messageexchange/admin/reset/NOBODY99", auth=None).status_code == 404


def test_an_event_can_bring_a_message_back(raw):
    message = raw.sent(ONE, TWO)
    raw.acknowledge(TWO, message)
    assert raw.list(TWO) == []
    answer = raw.call("POST", f"/messageexchange/admin/message/{message}/event", auth=None, json={"status": "accepted"})
    assert answer.status_code == 200 and raw.list(TWO) == [message]


@pytest.mark.parametrize("path", ["report", "message/20260101000000000000_ABCDEF/event"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"{}", b'{"status":"lost"}', b'{"status":7}'])
def test_bad_bodies_of_the_test_mode_are_told_apart(raw, path, body):
    answer = raw.post(f"/messageexchange/admin/{path}", body, auth=None)
    assert (answer.status_code, answer.json()["detail"][0]["loc"][0]) == (400, "body"), answer.text


def test_a_body_too_long_for_the_test_mode(raw):
    assert raw.post("/admin/report", b"x" * 70_000, auth=None).status_code == 413
