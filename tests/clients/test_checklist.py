"""The client compatibility checklist of MESH §17, one test for each line, in its order."""

import gzip
import http.client
import json
import ssl
import uuid

import mesh_client
import pytest
from mesh import ONE, TWO, V1, V2, Tls, token, unique
from test_versions import HANDSHAKE


def connection(site, node=0):
    """A bare HTTP/1.1 connection: one socket, header names as they come."""
    host, port = site.url(node).removeprefix("https://").split(":")
    return http.client.HTTPSConnection(host, int(port), context=site.context(), timeout=30)


def test_01_handshake_by_post_and_get(raw):
    assert raw.post(f"/messageexchange/{ONE}", headers=HANDSHAKE).status_code == 200
    got = raw.get(f"/messageexchange/{ONE}", accept="*/*", headers=HANDSHAKE)
    assert got.json() == {"mailboxId": ONE}


def test_02_ways_to_count_nonces(raw):
    one = str(uuid.uuid4())
    for count in range(3):
        assert raw.get(f"/messageexchange/{ONE}/inbox", auth=token(ONE, nonce=one, count=count)).status_code == 200
    for nonce in (str(uuid.uuid4()), uuid.uuid4().hex):
        assert raw.get(f"/messageexchange/{ONE}/inbox", auth=token(ONE, nonce=nonce)).status_code == 200


def test_03_a_gzip_upload_of_unknown_length(raw):
    packed = gzip.compress(b"streamed " * 10_000)

    def pieces():
        for at in range(0, len(packed), 100):
            yield packed[at : at + 100]

    sent = raw.send(ONE, TWO, pieces(), headers={"Content-Encoding": "gzip"})
    assert sent.status_code == 202
    got = raw.fetch(TWO, sent.json()["message_id"], headers={"Accept-Encoding": "gzip"})
    assert got.headers["content-encoding"] == "gzip" and got.content == b"streamed " * 10_000
    plain = raw.fetch(TWO, sent.json()["message_id"], headers={"Accept-Encoding": "identity"})
    assert "content-encoding" not in plain.headers and plain.content == b"streamed " * 10_000
    assert plain.headers["content-length"] == "90000"


def test_04_send_without_mex_from(raw):
    message = raw.sent(ONE, TWO)
    assert raw.fetch(TWO, message).headers["mex-from"] == ONE


@pytest.mark.parametrize("accept", [V1, V2, "*/*"])
def test_05_errors_of_a_first_chunk_are_json_with_words(raw, accept):
    for headers, data in [({"Mex-To": "NOBODY99"}, b"x"), ({"Mex-WorkflowID": None}, b"x"), ({}, b"")]:
        answer = raw.send(ONE, TWO, data, headers=headers, accept=accept)
        assert 400 <= answer.status_code < 500
        body = answer.json()
        assert body.get("errorDescription") or body["detail"][0]["msg"]


def test_06_the_next_link_verbatim(raw):
    ids = [raw.sent(ONE, TWO) for _ in range(11)]
    page = raw.get(f"/messageexchange/{TWO}/inbox?max_results=10").json()
    assert page["links"]["next"].startswith("/messageexchange/")
    assert raw.get(page["links"]["next"]).json()["messages"] == ids[10:]


def test_07_chunk_one_by_its_number(raw):
    single = raw.sent(ONE, TWO, b"single")
    assert raw.fetch(TWO, single, 1).content == raw.fetch(TWO, single).content == b"single"
    chunked = raw.sent(ONE, TWO, b"1", headers={"Mex-Chunk-Range": "1:2"})
    path = f"/messageexchange/{ONE}/outbox/{chunked}/2"
    assert raw.post(path, b"2", headers={"Mex-Chunk-Range": "2:2"}).status_code == 202
    assert raw.fetch(TWO, chunked, 1).content == raw.fetch(TWO, chunked).content == b"1"


def test_08_chunk_range_of_a_single_chunk(raw):
    assert raw.fetch(TWO, raw.sent(ONE, TWO)).headers["mex-chunk-range"] == "1:1"


def test_09_a_chunk_post_answers_json(raw):
    message = raw.sent(ONE, TWO, b"1", headers={"Mex-Chunk-Range": "1:2"})
    answer = raw.post(f"/messageexchange/{ONE}/outbox/{message}/2", b"2", headers={"Mex-Chunk-Range": "2:2"})
    assert json.loads(answer.text) == {"message_id": message}


def test_10_lower_case_header_names(site, raw):
    message = raw.sent(ONE, TWO)
    bare = connection(site)
    bare.request("GET", f"/messageexchange/{TWO}/inbox/{message}", headers={"Authorization": token(TWO)})
    names = [name for name, _ in bare.getresponse().getheaders()]
    assert "mex-to" in names and names == [name.lower() for name in names]
    bare.close()


def test_11_content_encoding_in_upper_case(raw):
    sent = raw.send(ONE, TWO, gzip.compress(b"loud"), headers={"Content-Encoding": "GZIP"})
    assert sent.status_code == 202
    assert raw.fetch(TWO, sent.json()["message_id"]).content == b"loud"


def test_12_acknowledge_with_a_body_nobody_expects(raw):
    message = raw.sent(ONE, TWO)
    headers = {"Content-Type": "application/octet-stream"}
    answer = raw.acknowledge(TWO, message, headers=headers, data=json.dumps({"messageId": message}))
    assert answer.status_code == 200 and raw.list(TWO) == []


# Line 13, the same token again after a 503, needs a site in trouble: test_failover.py.


def test_14_tls_1_2_and_hundreds_of_requests_on_one_connection(site):
    with site.raw(highest=ssl.TLSVersion.TLSv1_2) as raw:
        assert raw.get(f"/messageexchange/{ONE}/inbox").status_code == 200
    bare = connection(site)
    bare.connect()
    socket = bare.sock
    for _ in range(300):
        bare.request("GET", f"/messageexchange/{ONE}/inbox", headers={"Authorization": token(ONE), "Accept": V2})
        answer = bare.getresponse()
        assert answer.status == 200
        answer.read()
        assert bare.sock is socket, "the connection was kept"
    bare.close()


def test_15_version_1_clients(raw):
    local = unique()
    sent = raw.send(ONE, TWO, accept="application/json", headers={"Mex-LocalID": local, "Mex-From": ONE})
    message = sent.json()["messageID"]
    assert raw.get(f"/messageexchange/{TWO}/inbox", accept="*/*").json() == {"messages": [message]}
    assert raw.track(ONE, message, accept="*/*").json()["messageId"] == message
    by_local = raw.get(f"/messageexchange/{ONE}/outbox/tracking/{local}", accept="*/*").json()
    assert by_local["messageId"] == message
    assert raw.get("/endpointlookup/mesh/X26/TEST_WORKFLOW", auth=None, accept="*/*").json()["results"]


def test_16_unknown_headers_are_passed_over(raw):
    message = raw.sent(ONE, TWO, headers={"User_Agent": "old client", "Mex-Nonsense": "x", "X-Anything": "y"})
    assert raw.list(TWO) == [message]


def test_17_expect_100_continue(site):
    host, port = site.url().removeprefix("https://").split(":")
    bare = connection(site)
    bare.connect()
    body = b"after the nod"
    head = (
        f"POST /messageexchange/{ONE}/outbox HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: {token(ONE)}\r\n"
        f"Mex-To: {TWO}\r\nMex-WorkflowID: FREE\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
    )
    bare.sock.sendall(head.encode())
    assert bare.sock.recv(1000).startswith(b"HTTP/1.1 100 ")
    bare.sock.sendall(body)
    assert bare.sock.recv(1000).startswith(b"HTTP/1.1 202 ")
    bare.close()


def test_18_the_oldest_and_newest_client_agree(client, site):
    """A v1 sender and the v2 client of PyPI meet in one mailbox."""
    with site.raw(1) as raw:
        raw.session.mount("https://", Tls(site, highest=ssl.TLSVersion.TLSv1_2))
        message = raw.sent(ONE, TWO, b"across", accept="*/*", headers={"Mex-From": ONE.lower(), "Mex-Version": "1.0"})
    got = client(TWO, 2).retrieve_message(message)
    assert isinstance(got, mesh_client.Message) and got.read() == b"across"
