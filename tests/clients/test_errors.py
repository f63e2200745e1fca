"""The error table of MESH §12.5, each from the request that must bring it, in both versions' shapes."""

import pytest
from mesh import ONE, THREE, TWO, V1, V2, check_error, check_validation

BOTH = pytest.mark.parametrize("version", [1, 2])
ACCEPT = {1: V1, 2: V2}


@BOTH
@pytest.mark.parametrize(
    ("headers", "status", "event", "code"),
    [
        ({"Mex-To": ""}, 400, "SEND", "08"),
        ({"Mex-To": "https://example.org/"}, 400, "TRANSFER", "06"),
        ({"Mex-WorkflowID": "http://example.org/"}, 400, "TRANSFER", "06"),
        ({"Mex-Subject": "a\tb"}, 400, "TRANSFER", "06"),
        ({"Mex-LocalID": "a\tb"}, 400, "TRANSFER", "06"),
        ({"Mex-Content-Checksum": "sha256=0_0"}, 400, "SEND", None),
        ({"Content-Encoding": "br"}, 422, "SEND", "UnsupportedContentEncoding"),
        ({"Mex-Chunk-Range": "2:3"}, 417, "SEND", "InvalidHeaderChunks"),
        ({"Mex-Chunk-Range": "1"}, 417, "SEND", "InvalidHeaderChunks"),
        ({"Mex-Chunk-Range": "0:0"}, 417, "SEND", "InvalidHeaderChunks"),
        ({"Mex-Chunk-Range": "1:-1"}, 417, "SEND", "InvalidHeaderChunks"),
        ({"Mex-Chunk-Range": "one:two"}, 417, "SEND", "InvalidHeaderChunks"),
        ({"Mex-To": "NOBODY99"}, 417, "SEND", "12"),
        ({"Mex-From": THREE}, 417, "SEND", "07"),
        ({"Mex-MessageType": "REPORT"}, 417, "SEND", "11"),
    ],
)
def test_refused_sends(raw, version, headers, status, event, code):
    answer = raw.send(ONE, TWO, headers=headers, accept=ACCEPT[version])
    check_error(answer, status, version, event, code)
    assert raw.list(TWO) == [], "a refusal changes nothing"


@BOTH
def test_a_send_without_a_body(raw, version):
    check_error(raw.send(ONE, TWO, b"", accept=ACCEPT[version]), 417, version, code="02")


@BOTH
@pytest.mark.parametrize("name", ["Mex-To", "Mex-WorkflowID"])
def test_missing_headers(raw, version, name):
    answer = raw.send(ONE, TWO, headers={name: None}, accept=ACCEPT[version])
    check_validation(answer, "header", name)


@pytest.mark.parametrize(
    ("name", "longest"),
    [
        ("Mex-To", 100),
        ("Mex-WorkflowID", 300),
        ("Mex-Subject", 500),
        ("Mex-LocalID", 300),
        ("Mex-PartnerID", 500),
        ("Mex-FileName", 300),
        ("Mex-Content-Checksum", 100),
        ("Mex-Content-Type", 100),
        ("Mex-Chunk-Range", 20),
    ],
)
def test_over_long_headers(raw, name, longest):
    check_validation(raw.send(ONE, TWO, headers={name: "a" * (longest + 1)}), "header", name)
    if name not in ("Mex-To", "Mex-Chunk-Range"):
        assert raw.send(ONE, TWO, headers={name: "a" * longest}).status_code == 202


@pytest.mark.parametrize(
    "query",
    ["max_results=9", "max_results=5001", "max_results=x", "continue_from=short", "workflow_filter=a"],
)
def test_queries_out_of_range(raw, query):
    check_validation(raw.get(f"/messageexchange/{ONE}/inbox?{query}"), "query", query.split("=")[0])


@pytest.mark.parametrize("name", ["mex-clientversion", "mex-osname", "mex-osversion"])
def test_handshake_without_its_headers(raw, name):
    headers = {"mex-clientversion": "c", "mex-osname": "o", "mex-osversion": "v"}
    del headers[name]
    check_validation(raw.post(f"/messageexchange/{ONE}", headers=headers), "header", name)


@BOTH
def test_messages_that_do_not_exist(raw, version):
    accept, none = ACCEPT[version], "20200101000000000000_ABCDEF"
    check_error(raw.fetch(TWO, none, accept=accept), 404, version, "RECEIVE", "20", "Message does not exist")
    check_error(raw.acknowledge(TWO, none, accept=accept), 404, version, "RECEIVE", "20")
    message = raw.sent(ONE, TWO)
    check_error(raw.fetch(TWO, message, 2, accept=accept), 404, version, "RECEIVE", "20")
    assert raw.track(ONE, none, accept=accept).status_code == 404


@BOTH
def test_messages_of_others(raw, version):
    accept, message = ACCEPT[version], raw.sent(ONE, TWO)
    for mailbox in (ONE, THREE):
        check_error(raw.fetch(mailbox, message, accept=accept), 403, version, text="Forbidden")
        check_error(raw.acknowledge(mailbox, message, accept=accept), 403, version, text="Forbidden")
    for mailbox in (TWO, THREE):
        assert raw.track(mailbox, message, accept=accept).status_code == 404
    assert raw.list(TWO) == [message]


@pytest.mark.parametrize("chunk", ["0", "-1", "x", "1.5"])
def test_chunk_numbers_that_are_none(raw, chunk):
    assert raw.fetch(TWO, raw.sent(ONE, TWO), chunk).status_code == 400


def test_tracking_without_an_id(raw):
    check_validation(raw.get(f"/messageexchange/{ONE}/outbox/tracking"), "query", "messageID")


def test_unknown_paths_and_methods(raw):
    answer = raw.get("/nothing/here")
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
    answer = raw.call("DELETE", f"/messageexchange/{ONE}/inbox")
    assert (answer.status_code, answer.json()) == (405, {"detail": "Method Not Allowed"})
    assert "GET" in answer.headers["allow"]


class TestChunks:
    """Chunked uploads, right and wrong."""

    def begin(self, raw, total, **headers):
        return raw.sent(ONE, TWO, b"1", headers={"Mex-Chunk-Range": f"1:{total}", **headers})

    def put(self, raw, message, number, span, mailbox=ONE, data=None, accept=V2, **headers):
        head = {"Mex-Chunk-Range": span, **headers} if span else headers
        path = f"/messageexchange/{mailbox}/outbox/{message}/{number}"
        return raw.post(path, data or str(number).encode(), headers=head, accept=accept)

    def test_unseen_until_complete(self, raw):
        message = self.begin(raw, 2)
        assert raw.list(TWO) == []
        check_error(raw.fetch(TWO, message), 410, event="SEND", code="Message already accepted")
        assert raw.track(ONE, message).json()["status"] == "uploading"
        answer = self.put(raw, message, 2, "2:2")
        assert (answer.status_code, answer.json()) == (202, {"message_id": message})
        assert raw.list(TWO) == [message]
        first = raw.fetch(TWO, message)
        assert (first.status_code, first.headers["mex-chunk-range"], first.content) == (206, "1:2", b"1")
        last = raw.fetch(TWO, message, 2)
        assert (last.status_code, last.headers["mex-chunk-range"], last.content) == (200, "2:2", b"2")

    def test_any_order_and_again(self, raw):
        message = self.begin(raw, 4)
        for number, data in [(4, b"four"), (2, b"wrong"), (2, b"two"), (3, b"three")]:
            assert self.put(raw, message, number, f"{number}:4", data=data).status_code == 202
        assert b"".join(raw.fetch(TWO, message, n).content for n in (1, 2, 3, 4)) == b"1twothreefour"
        assert raw.track(ONE, message, accept=V1).json()["fileSize"] == 13

    def test_v1_answer(self, raw):
        message = self.begin(raw, 2)
        answer = self.put(raw, message, 2, "2:2", accept=V1)
        assert answer.json() == {"messageID": message, "blockID": 2}

    @pytest.mark.parametrize("span", [None, "3:3", "x", "0:3", "2:1"])
    def test_wrong_ranges(self, raw, span):
        message = self.begin(raw, 3)
        body = check_error(self.put(raw, message, 2, span), 417, event="SEND", code="InvalidHeaderChunks")
        assert body["message_id"] == message

    def test_more_than_declared(self, raw):
        message = self.begin(raw, 2)
        assert self.put(raw, message, 3, "3:3").status_code == 406

    def test_after_completion(self, raw):
        message = self.begin(raw, 2)
        self.put(raw, message, 2, "2:2")
        assert self.put(raw, message, 2, "2:2").status_code == 423

    def test_another_encoding(self, raw):
        message = self.begin(raw, 2)
        headers = {"Content-Encoding": "gzip"}
        check_error(self.put(raw, message, 2, "2:2", **headers), 417, text="cannot change content encoding")

    def test_of_another_sender_or_of_none(self, raw):
        message = self.begin(raw, 2)
        assert self.put(raw, message, 2, "2:2", mailbox=THREE).status_code == 403
        assert self.put(raw, "20200101000000000000_ABCDEF", 2, "2:2").status_code == 404
