"""Both content versions side by side: names, shapes, times and media types of MESH §4, §6, §10 and §11."""

import re
from email.utils import parsedate_to_datetime

import pytest
from mesh import ONE, THREE, TWO, V1, V2, check_error, unique

HANDSHAKE = {"mex-clientversion": "test==1", "mex-osname": "Linux", "mex-osversion": "1"}
DIGITS14 = re.compile(r"^\d{14}$")
MESSAGE_ID = re.compile(r"^\d{20}_[0-9A-F]{6}$")


def media(answer):
    return answer.headers.get("content-type", "").split(";")[0]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_handshake(raw, method):
    v1 = raw.call(method, f"/messageexchange/{ONE}", accept=V1, headers=HANDSHAKE)
    assert v1.status_code == 200 and v1.json() == {"mailboxId": ONE}
    v2 = raw.call(method, f"/messageexchange/{ONE}", accept=V2, headers=HANDSHAKE)
    assert (v2.status_code, v2.content, v2.headers.get("content-length", "0")) == (200, b"", "0")


@pytest.mark.parametrize(
    ("accept", "version"),
    [
        ("*/*", 1),
        ("application/json", 1),
        ("text/html", 1),
        (V1, 1),
        (V2, 2),
        ("application/vnd.mesh.v9+json", 2),
        ("application/vnd.mesh.v2+json; q=0.9, application/vnd.mesh.v1+json", 2),
        ("text/html, application/vnd.mesh.v1+json", 1),
    ],
)
def test_accept_chooses_the_version(raw, accept, version):
    body = raw.get(f"/messageexchange/{ONE}/inbox", accept=accept).json()
    assert ("links" in body) == (version == 2)


def test_an_accept_of_no_known_form_is_refused(raw):
    answer = raw.get(f"/messageexchange/{ONE}/inbox", accept="application/vnd.mesh.vX+json")
    check_error(answer, 400, version=1, text="Accept header api format incorrect")


def test_send_answers(raw):
    v1 = raw.send(ONE, TWO, accept=V1)
    assert v1.status_code == 202 and list(v1.json()) == ["messageID"]
    v2 = raw.send(ONE, TWO, accept=V2)
    assert v2.status_code == 202 and list(v2.json()) == ["message_id"]
    assert MESSAGE_ID.match(v1.json()["messageID"]) and MESSAGE_ID.match(v2.json()["message_id"])
    assert v1.json()["messageID"] < v2.json()["message_id"], "ids sort by time"


def test_inbox_shapes(raw):
    ids = [raw.sent(ONE, TWO) for _ in range(12)]
    v1 = raw.get(f"/messageexchange/{TWO}/inbox", accept=V1)
    assert v1.json() == {"messages": ids} and media(v1) == "application/json"
    v2 = raw.get(f"/messageexchange/{TWO}/inbox", accept=V2)
    assert media(v2) == V2
    assert v2.json() == {
        "messages": ids,
        "links": {"self": f"/messageexchange/{TWO}/inbox"},
        "approx_inbox_count": 12,
    }


def test_pages(raw):
    ids = [raw.sent(ONE, TWO, workflow="A B" if n % 2 else "C") for n in range(25)]
    first = raw.get(f"/messageexchange/{TWO}/inbox?max_results=10").json()
    assert first["messages"] == ids[:10]
    assert "max_results=10" in first["links"]["self"] and "continue_from" not in first["links"]["self"]
    # What was acknowledged meanwhile neither hides nor repeats another.
    for message in ids[:10]:
        assert raw.acknowledge(TWO, message).status_code == 200
    second = raw.get(first["links"]["next"]).json()
    assert second["messages"] == ids[10:20]
    third = raw.get(second["links"]["next"]).json()
    assert third["messages"] == ids[20:] and "next" not in third["links"]
    assert raw.list(TWO, f"?max_results=10&continue_from={ids[14]}", accept=V1) == ids[15:]
    filtered = raw.get(f"/messageexchange/{TWO}/inbox?max_results=10&workflow_filter=A%20B").json()
    assert filtered["messages"] == [m for n, m in enumerate(ids) if n % 2 and n >= 10]


def test_a_filter_survives_paging(raw):
    ids = [raw.sent(ONE, TWO, workflow="W_ACK" if n % 2 else "W") for n in range(50)]
    seen, path = [], f"/messageexchange/{TWO}/inbox?max_results=10&workflow_filter=*_ACK"
    while path:
        page = raw.get(path).json()
        seen += page["messages"]
        path = page["links"].get("next")
    assert seen in ([], ids[1::2]), "*_ACK without a trailing star means equals"
    seen, path = [], f"/messageexchange/{TWO}/inbox?max_results=10&workflow_filter=*_ACK*"
    while path:
        page = raw.get(path).json()
        seen += page["messages"]
        path = page["links"].get("next")
    assert seen == ids[1::2]


def test_count(raw):
    raw.sent(ONE, TWO)
    v1 = raw.get(f"/messageexchange/{TWO}/count", accept=V1).json()
    assert v1["count"] == 1 and v1["allResultsIncluded"] is True and v1["internalID"]
    assert raw.get(f"/messageexchange/{TWO}/count").json() == {"count": 1}


@pytest.mark.parametrize("accept", [V1, V2])
def test_download_headers(raw, accept):
    message = raw.sent(
        ONE,
        TWO,
        b'{"a":1}',
        headers={"Content-Type": "Application/JSON", "Mex-Subject": "S", "Mex-LocalID": "L", "Mex-PartnerID": "P"},
    )
    got = raw.fetch(TWO, message, accept=accept, headers={"Accept-Encoding": "identity"})
    assert (got.status_code, got.content) == (200, b'{"a":1}')
    assert media(got) == ("application/octet-stream" if accept == V1 else "application/json")
    wanted = {
        "mex-from": ONE,
        "mex-to": TWO,
        "mex-workflowid": "FREE",
        "mex-messageid": message,
        "mex-messagetype": "DATA",
        "mex-chunk-range": "1:1",
        "mex-total-chunks": "1",
        "mex-addresstype": "ALL",
        "mex-version": "1.0",
        "mex-localid": "L",
        "mex-partnerid": "P",
        "mex-subject": "S",
        "mex-filename": f"{message}.dat",
        "mex-content-type": "application/json",
        "mex-statuscode": "00",
        "mex-statusevent": "TRANSFER",
        "mex-statusdescription": "Transferred to recipient mailbox",
        "mex-statussuccess": "SUCCESS",
        "content-length": "7",
    }
    assert {name: got.headers.get(name) for name in wanted} == wanted
    assert DIGITS14.match(got.headers["mex-statustimestamp"])
    assert parsedate_to_datetime(got.headers["last-modified"])
    assert "mex-content-checksum" not in got.headers, "empty headers are left out"
    assert got.headers.get("mex-content-encrypted", "N") == "N"


def test_head_for_recipient_and_sender_only(raw):
    message = raw.sent(ONE, TWO)
    for mailbox in (ONE, TWO):
        head = raw.call("HEAD", f"/messageexchange/{mailbox}/inbox/{message}")
        assert (head.status_code, head.headers["mex-messageid"], head.content) == (200, message, b"")
    assert raw.call("HEAD", f"/messageexchange/{THREE}/inbox/{message}").status_code == 404
    assert raw.call("HEAD", f"/messageexchange/{TWO}/inbox/{message[:-6]}000000").status_code == 404


def test_acknowledge_bodies(raw):
    message = raw.sent(ONE, TWO)
    v1 = raw.acknowledge(TWO, message, accept=V1)
    assert v1.status_code == 200 and v1.json() == {"messageId": message}
    v2 = raw.acknowledge(TWO, message, accept=V2)
    assert (v2.status_code, v2.content) == (200, b"")


def test_tracking_v2(raw):
    local = unique()
    message = raw.sent(ONE, TWO, workflow="TEST_WORKFLOW", headers={"Mex-LocalID": local, "Mex-FileName": "f.x"})
    seen = raw.track(ONE, message)
    assert media(seen) == V2
    body = seen.json()
    wanted = {
        "message_id": message,
        "local_id": local,
        "workflow_id": "TEST_WORKFLOW",
        "filename": "f.x",
        "recipient": TWO,
        "recipient_name": "TESTMB2",
        "recipient_ods_code": "X26",
        "status": "accepted",
        "status_success": True,
    }
    assert {name: body.get(name) for name in wanted} == wanted
    assert body["upload_timestamp"].endswith("Z") and body["expiry_time"] > body["upload_timestamp"]
    assert None not in body.values(), "absent values are left out"
    assert raw.track(ONE, message.lower()).status_code == 200, "ids are upper-cased"


@pytest.mark.parametrize("by", ["message id", "local id"])
def test_tracking_v1(raw, by):
    local = unique()
    message = raw.sent(ONE, TWO, b"12345", headers={"Mex-LocalID": local, "Mex-Subject": "S"})
    if by == "message id":
        body = raw.track(ONE, message, accept=V1).json()
    else:
        body = raw.get(f"/messageexchange/{ONE}/outbox/tracking/{local}", accept=V1).json()
    wanted = {
        "messageId": message,
        "dtsId": message,
        "localId": local,
        "workflowId": "FREE",
        "subject": "S",
        "fileName": f"{message}.dat",
        "fileSize": 5,
        "chunkCount": 1,
        "messageType": "Data",
        "status": "Accepted",
        "statusSuccess": "SUCCESS",
        "addressType": "ALL",
        "version": "1.0",
        "recipient": TWO,
        "recipientName": "TESTMB2",
        "meshRecipientOdsCode": "X26",
        "sender": ONE,
        "senderName": "TESTMB1",
        "senderOdsCode": "X26",
    }
    assert {name: body.get(name) for name in wanted} == wanted
    assert DIGITS14.match(body["uploadTimestamp"]) and DIGITS14.match(body["expiryTime"])
    assert body.get("downloadTimestamp", "") == ""
    raw.acknowledge(TWO, message)
    body = raw.track(ONE, message, accept=V1).json()
    assert body["status"] == "Acknowledged" and DIGITS14.match(body["downloadTimestamp"])


def test_tracking_by_a_local_id_of_several(raw):
    local = unique()
    for _ in range(2):
        raw.sent(ONE, TWO, headers={"Mex-LocalID": local})
    assert raw.get(f"/messageexchange/{ONE}/outbox/tracking/{local}", accept=V1).status_code == 300
    assert raw.get(f"/messageexchange/{ONE}/outbox/tracking/{unique()}", accept=V1).status_code == 404


def test_lookups(raw):
    path = "/messageexchange/endpointlookup/x26/TEST_WORKFLOW"
    v2 = raw.get(path, auth=None).json()
    assert v2 == {"results": [{"mailbox_id": TWO, "mailbox_name": "TESTMB2"}]}
    v1 = raw.get(path, auth=None, accept=V1).json()
    assert v1["query_id"] and v1["results"] == [{"address": TWO, "description": "TESTMB2", "endpoint_type": "MESH"}]
    old = raw.get("/endpointlookup/mesh/X26/TEST_WORKFLOW", auth=None, accept=V2).json()
    assert old["query_id"] and old["results"] == v1["results"]
    for accept in (V1, V2):
        found = raw.get("/messageexchange/workflowsearch/TEST_WORKFLOW2", auth=None, accept=accept).json()
        assert sorted(r["mailbox_id"] for r in found["results"]) == [ONE, TWO, THREE]
    assert raw.get("/messageexchange/endpointlookup/X26/NONE", auth=None).json() == {"results": []}


def test_rich_listings(raw):
    ids = [raw.sent(ONE, TWO) for _ in range(2)]
    raw.acknowledge(TWO, ids[0])
    inbox = raw.get(f"/messageexchange/{TWO}/inbox/rich")
    assert inbox.status_code == 200 and media(inbox) == V2
    found = [m for m in inbox.json()["messages"] if m["message_id"] in ids]
    assert [m["message_id"] for m in found] == ids[::-1], "newest first, acknowledged ones too"
    assert (found[0]["status"], found[1]["status"]) == ("accepted", "acknowledged")
    assert (found[0]["sender"], found[0]["recipient_name"], found[0]["total_chunks"]) == (ONE, "TESTMB2", 1)
    outbox = raw.get(f"/messageexchange/{ONE}/outbox/rich").json()["messages"]
    mine = [m for m in outbox if m["message_id"] in ids]
    assert [m["message_id"] for m in mine] == ids[::-1]
    assert mine[0]["local_id"] == "" and mine[0]["status_code"] == ""


@pytest.mark.parametrize("path", ["/messageexchange/_ping", "/_ping", "/_status", "/health", "/healthcheck"])
def test_ping_needs_no_token(raw, path):
    answer = raw.get(path, auth=None)
    assert answer.status_code == 200
    assert {"env", "build_label", "status", "outcome"} <= set(answer.json())


def test_mailbox_details_and_client_update(raw):
    body = raw.get(f"/messageexchange/mailbox/{ONE}").json()
    assert (body["mailbox_id"], body["mailbox_name"], body["ods_code"], body["active"]) == (ONE, "TESTMB1", "X26", True)
    assert raw.get("/messageexchange/mailbox/NOBODY99").status_code == 404
    assert raw.post(f"/messageexchange/{ONE}/update").status_code in (200, 204)


def test_a_rich_inbox_shows_nothing_that_is_not_complete(raw):
    half = raw.sent(ONE, TWO, headers={"Mex-Chunk-Range": "1:2"})
    for mailbox, side, seen in ((TWO, "inbox", False), (ONE, "outbox", True)):
        page = raw.get(f"/messageexchange/{mailbox}/{side}/rich").json()
        assert (half in [line["message_id"] for line in page["messages"]]) == seen


def test_a_chunk_number_beyond_all_messages_names_no_chunk(raw):
    message = raw.sent(ONE, TWO)
    assert raw.fetch(TWO, message, 99_999_999_999).status_code == 404
    assert raw.fetch(TWO, message, "%31").content == b"hello"
