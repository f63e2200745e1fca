"""The form in which bodies reach their recipients: gzip in every combination of stored and wanted (MESH §6.4)."""

import gzip
import zlib

import pytest
from mesh import ONE, TWO, V1, V2, token

TEXT = b"words and words " * 1000
PLAIN, GZIP = {"Accept-Encoding": "identity"}, {"Accept-Encoding": "gzip"}


def fetch(raw, message, accept, headers):
    """The answer, and its body as it stood on the wire."""
    path = f"{raw.url}/messageexchange/{TWO}/inbox/{message}"
    send = {"Accept": accept, "Authorization": token(TWO), **headers}
    answer = raw.session.get(path, headers=send, stream=True, timeout=60)
    return answer, b"".join(answer.raw.stream(65536, decode_content=False))


def one_member(data):
    decoder = zlib.decompressobj(31)
    plain = decoder.decompress(data)
    assert decoder.eof and not decoder.unused_data
    return plain


@pytest.mark.parametrize("times", [1, 40], ids=["inline", "stored"])
def test_a_text_is_zipped_for_version_2_clients_that_take_gzip(raw, times):
    body = TEXT * times
    message = raw.sent(ONE, TWO, body)
    answer, wire = fetch(raw, message, V2, GZIP)
    assert (answer.headers["content-encoding"], answer.headers["mex-content-compressed"]) == ("gzip", "Y")
    assert one_member(wire) == body and len(wire) < len(body) / 10
    for accept, headers in ((V1, GZIP), (V2, PLAIN)):
        answer, wire = fetch(raw, message, accept, headers)
        assert "content-encoding" not in answer.headers and "mex-content-compressed" not in answer.headers
        assert (wire, answer.headers["content-length"]) == (body, str(len(body)))


@pytest.mark.parametrize("times", [1, 40], ids=["inline", "stored"])
def test_the_real_client_reads_a_zipped_text(raw, client, times):
    raw.sent(ONE, TWO, TEXT * times)
    (message,) = client(TWO).iterate_all_messages()
    assert message.read() == TEXT * times
    message.acknowledge()


def test_a_dense_body_is_inflated_whatever_its_size(raw):
    packed = gzip.compress(bytes(30_000_000), 9)
    assert len(packed) < 65536, "travels in the message's own row"
    message = raw.sent(ONE, TWO, packed, headers={"Content-Encoding": "gzip"})
    answer, wire = fetch(raw, message, V2, PLAIN)
    assert "content-encoding" not in answer.headers and wire == bytes(30_000_000)
    answer, wire = fetch(raw, message, V2, GZIP)
    assert answer.headers["content-encoding"] == "gzip" and wire == packed


@pytest.mark.parametrize("size", [10, 200_000], ids=["inline", "stored"])
def test_what_only_claims_to_be_gzip_comes_as_it_was_sent(raw, size):
    message = raw.sent(ONE, TWO, b"j" * size, headers={"Content-Encoding": "gzip"})
    answer, wire = fetch(raw, message, V2, PLAIN)
    assert (answer.status_code, answer.headers["content-encoding"], wire) == (200, "gzip", b"j" * size)


@pytest.mark.parametrize("accept", [V1, V2])
@pytest.mark.parametrize("headers", [PLAIN, GZIP], ids=["plain", "gzip"])
def test_head_says_what_get_does(raw, accept, headers):
    message = raw.sent(ONE, TWO, TEXT, headers={"Mex-Subject": "S", "Mex-Content-Encrypted": "no"})
    got, _ = fetch(raw, message, accept, headers)
    head = raw.call("HEAD", f"/messageexchange/{TWO}/inbox/{message}", accept=accept, headers=headers)
    passing = {"content-length", "transfer-encoding", "date", "x-correlation-id"}
    kept = [{k.lower(): v for k, v in a.headers.items() if k.lower() not in passing} for a in (got, head)]
    assert kept[0] == kept[1] and head.headers["content-length"] == "0"
    assert len(got.headers["etag"]) == 42
    assert got.headers["mex-fromsmtp"] == f"{ONE.lower()}@dts.nhs.uk"
