"""NHS Digital's own Python client (PyPI: mesh-client) does its daily work against a Spine site."""

import gzip
import os

import mesh_client
import pytest
import requests
from mesh import ONE, THREE, TWO, unique


def test_ping_and_handshake(client):
    one = client(ONE)
    assert isinstance(one.ping(), dict)
    assert one.handshake() == b"hello"


def test_send_list_retrieve_acknowledge(client):
    one, two = client(ONE), client(TWO)
    local = unique()
    message = one.send_message(
        TWO,
        b"Hello, two",
        workflow_id="TEST_WORKFLOW",
        filename="greeting.txt",
        local_id=local,
        subject="A greeting",
        partner_id="P-17",
        checksum="md5:5d41402abc4b2a76b9719d911017c592",
        encrypted=True,
        compressed=False,
        content_type="text/plain",
    )
    assert two.list_messages() == [message]
    got = two.retrieve_message(message)
    assert got.read() == b"Hello, two"
    seen = {name: getattr(got, name) for name in ("sender", "recipient", "message_id", "message_type", "workflow_id")}
    assert seen == {
        "sender": ONE,
        "recipient": TWO,
        "message_id": message,
        "message_type": "DATA",
        "workflow_id": "TEST_WORKFLOW",
    }
    assert (got.filename, got.local_id, got.subject, got.partner_id) == ("greeting.txt", local, "A greeting", "P-17")
    assert got.checksum == "md5:5d41402abc4b2a76b9719d911017c592"
    # `compressed` is told of a body that the server packed on the way, too (MESH §7.2), so it says nothing here.
    assert (got.encrypted, got.content_type) == (True, "text/plain")
    assert got.mex_header("statuscode") == "00"
    got.acknowledge()
    assert two.list_messages() == []
    two.acknowledge_message(message)


def test_a_file_name_is_made_where_none_is_given(client):
    message = client(ONE).send_message(TWO, b"x", workflow_id="TEST_WORKFLOW")
    assert client(TWO).retrieve_message(message).filename == f"{message}.dat"


def test_messages_come_oldest_first_over_many_pages(client):
    one, two = client(ONE), client(TWO)
    sent = [one.send_message(TWO, b"m%d" % n, workflow_id="FREE") for n in range(35)]
    assert list(two.iterate_message_ids(batch_size=10)) == sent
    # Acknowledging while paging neither skips nor repeats.
    seen = []
    for message in two.iterate_messages(batch_size=10):
        with message:
            seen.append((message.id(), message.read()))
    assert seen == [(message, b"m%d" % n) for n, message in enumerate(sent)]
    assert two.list_messages() == []


def test_iterate_all_messages(client):
    one, two = client(ONE), client(TWO)
    sent = {one.send_message(TWO, b"%d" % n, workflow_id="FREE"): b"%d" % n for n in range(3)}
    assert {m.id(): m.read() for m in two.iterate_all_messages()} == sent


def test_workflow_filter(client):
    one, two = client(ONE), client(TWO)
    plain = one.send_message(TWO, b"1", workflow_id="PATHOLOGY")
    answer = one.send_message(TWO, b"2", workflow_id="PATHOLOGY_ACK")
    assert two.list_messages(workflow_filter="PATHOLOGY") == [plain]
    assert two.list_messages(workflow_filter="PATH*") == [plain, answer]
    assert two.list_messages(workflow_filter="*_ACK*") == [answer]
    assert two.list_messages(workflow_filter="!*_ACK*") == [plain]
    assert list(two.iterate_message_ids(workflow_filter="!PATHOLOGY", batch_size=10)) == [answer]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_count(client):
    one, two = client(ONE), client(TWO)
    assert two.count_messages() == 0
    one.send_message(TWO, b"1", workflow_id="FREE")
    assert two.count_messages() == 1


@pytest.mark.parametrize("size", [1, 63, 64, 65, 1000, 4096])
def test_chunked_into_tiny_pieces(client, size):
    data = os.urandom(size)
    message = client(ONE).send_message(TWO, data, workflow_id="FREE", max_chunk_size=64)
    got = client(TWO).retrieve_message(message)
    assert got.mex_header("chunk-range") == f"1:{-(-size // 64)}"
    assert got.read() == data


def test_a_chunked_file_is_read_in_parts(client, tmp_path):
    data = b"line of text\n" * 5000
    (tmp_path / "file").write_bytes(data)
    with open(tmp_path / "file", "rb") as file:
        message = client(ONE).send_message(TWO, file, workflow_id="FREE", max_chunk_size=7000)
    got = client(TWO).retrieve_message(message)
    assert list(got) == [b"line of text\n"] * 5000


def test_compressed(client):
    data = b"compressible " * 3000
    message = client(ONE, transparent_compress=True).send_message(TWO, data, workflow_id="FREE")
    got = client(TWO).retrieve_message(message)
    assert got.mex_header("content-compressed") == "Y"
    assert got.read() == data


def test_compressed_and_chunked(client):
    data = os.urandom(50_000) + b"x" * 50_000
    message = client(ONE).send_message(TWO, data, workflow_id="FREE", max_chunk_size=9000, compress=True)
    assert client(TWO).retrieve_message(message).read() == data


def test_a_payload_already_compressed_by_its_sender_passes_as_it_is(client):
    data = gzip.compress(b"by the sender")
    message = client(ONE).send_message(TWO, data, workflow_id="FREE", compressed=True)
    got = client(TWO).retrieve_message(message)
    assert got.compressed is True
    assert got.read() == data


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 300_000, 5 << 20])
def test_bodies_around_and_above_the_bulk_border(client, size):
    data = os.urandom(size)
    message = client(ONE).send_message(TWO, data, workflow_id="FREE")
    for node in range(3):
        assert client(TWO, node).retrieve_message(message).read() == data


def test_large_and_chunked(client):
    data = os.urandom(12 << 20)
    message = client(ONE).send_message(TWO, data, workflow_id="FREE", max_chunk_size=5 << 20)
    assert client(TWO, 1).retrieve_message(message).read() == data


def test_track_by_message_id(client):
    one, two = client(ONE), client(TWO)
    local = unique()
    message = one.send_message(TWO, b"x", workflow_id="TEST_WORKFLOW", local_id=local, filename="a.txt")
    seen = one.track_message(message)
    assert (seen["message_id"], seen["status"], seen["local_id"]) == (message, "accepted", local)
    assert (seen["recipient"], seen["recipient_ods_code"], seen["workflow_id"]) == (TWO, "X26", "TEST_WORKFLOW")
    assert seen["filename"] == "a.txt" and seen["status_success"] is True
    two.acknowledge_message(message)
    assert one.track_message(message)["status"] == "acknowledged"
    with pytest.raises(requests.HTTPError) as refused:
        two.track_message(message)
    assert refused.value.response.status_code == 404


def test_lookup(client):
    found = client(ONE).lookup_endpoint("X26", "TEST_WORKFLOW")["results"]
    assert [(r["mailbox_id"], r["mailbox_name"]) for r in found] == [(TWO, "TESTMB2")]
    assert client(ONE).lookup_endpoint("X26", "NO_SUCH_WORKFLOW")["results"] == []
    everyone = client(ONE).lookup_endpoint("X27", "TEST_WORKFLOW2")["results"]
    assert [r["mailbox_id"] for r in everyone] == [THREE]


def test_any_node_shows_at_once_what_another_took(client, site):
    for n in range(3 * site.size):
        message = client(ONE, n).send_message(TWO, b"%d" % n, workflow_id="FREE")
        reader = client(TWO, n + 1)
        assert reader.list_messages() == [message]
        assert reader.retrieve_message(message).read() == b"%d" % n
        client(TWO, n + 2).acknowledge_message(message)
        assert client(TWO, n).list_messages() == []


def test_refusals_are_told_in_words(client):
    with pytest.raises(mesh_client.MeshError) as refused:
        client(ONE).send_message("NOBODY99", b"x", workflow_id="FREE")
    assert refused.value.args[0] == "Unregistered to address"
    assert refused.value.args[1]["detail"][0]["code"] == "12"


def test_known_workflows_are_held_to_their_parties(client):
    with pytest.raises(mesh_client.MeshError) as sender:
        client(TWO).send_message(ONE, b"x", workflow_id="TEST_WORKFLOW")
    assert sender.value.args[1]["detail"][0]["code"] in ("16", "17")
    with pytest.raises(mesh_client.MeshError) as receiver:
        client(ONE).send_message(THREE, b"x", workflow_id="TEST_WORKFLOW")
    assert receiver.value.args[1]["detail"][0]["code"] == "17"
    client(TWO).send_message(ONE, b"x", workflow_id="TEST_WORKFLOW_ACK")


def test_a_wrong_password_or_key_opens_nothing(client, site):
    with pytest.raises(requests.HTTPError) as refused:
        client(ONE, password="wrong").handshake()
    assert refused.value.response.status_code == 403
    with pytest.raises(requests.HTTPError):
        client(ONE, password="wrong").list_messages()


def test_without_a_certificate_of_the_site_there_is_no_way_in(site, client):
    bare = mesh_client.MeshClient(
        site.url(), ONE, "password", shared_key=b"TestKey", verify=site.ca, max_retries=0, timeout=10
    )
    with pytest.raises((requests.ConnectionError, requests.HTTPError)) as refused:
        bare.handshake()
    if isinstance(refused.value, requests.HTTPError):
        assert refused.value.response.status_code == 400
    bare.close()


def test_many_messages_over_one_connection(client):
    one, two = client(ONE), client(TWO)
    for n in range(200):
        one.send_message(TWO, b"%d" % n, workflow_id="FREE")
    assert sum(1 for _ in two.iterate_messages()) == 200
