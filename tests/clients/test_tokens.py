"""Authorization tokens: every refusal of MESH §3.1 in its order, and the replay rules of §3.2 over all nodes."""

import datetime as dt
import uuid

import pytest
from mesh import ONE, TWO, check_error, token

PATH = f"/messageexchange/{ONE}"
INBOX = f"{PATH}/inbox"


def now(**shift):
    return dt.datetime.now(dt.timezone.utc) + dt.timedelta(**shift)


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    ("auth", "text"),
    [
        (None, "Error reading from Authorization header"),
        ("", "Error reading from Authorization header"),
        ("NHSMESH X26ABC1:nonce:1", "Error reading from Authorization header"),
        ("NHSMESH X26ABC1:nonce:1x:202601010101:00", "Error reading from Authorization header"),
        # A foreign scheme may be told as part of the mailbox's name, as the reference does.
        ("Bearer X26ABC1:nonce:1:202601010101:00", ""),
    ],
)
def test_unreadable_tokens(raw, version, auth, text):
    answer = raw.get(INBOX, auth=auth, accept=f"application/vnd.mesh.v{version}+json")
    check_error(answer, 403, version, text=text)


def test_a_token_is_for_one_mailbox(raw):
    check_error(raw.get(INBOX, auth=token(TWO)), 403, text="Mailbox id does not match token")


def test_an_unknown_mailbox(raw):
    answer = raw.get("/messageexchange/NOBODY99/inbox", auth=token("NOBODY99"))
    check_error(answer, 403, event="SEND", code="EPL-151", text="No mailbox matched")


@pytest.mark.parametrize("wrong", [{"password": "wrong"}, {"key": "WrongKey"}])
def test_a_wrong_hash(raw, wrong):
    check_error(raw.get(INBOX, auth=token(ONE, **wrong)), 403, text="Invalid Authentication Token")


@pytest.mark.parametrize("hours", [-2, -1, 1, 2])
def test_clocks_may_be_two_hours_apart(raw, hours):
    # A minute inside the border, so that the test does not race the clock.
    minutes = 60 * hours + (1 if hours < 0 else -1)
    assert raw.get(INBOX, auth=token(ONE, at=now(minutes=minutes))).status_code == 200


@pytest.mark.parametrize("hours", [-3, 3, 24 * 365])
def test_clocks_further_apart_are_refused(raw, hours):
    check_error(raw.get(INBOX, auth=token(ONE, at=now(hours=hours))), 403, text="Invalid Authentication Token")


@pytest.mark.parametrize("at", ["20261124", "2026112410200", "abcdefghijkl", "202613451020"])
def test_a_malformed_time_is_refused(raw, at):
    assert raw.get(INBOX, auth=token(ONE, at=at)).status_code == 403


def test_forms_that_are_right_too(raw):
    assert raw.get(INBOX, auth=token(ONE).replace("NHSMESH", "nhsmesh")).status_code == 200
    assert raw.get(INBOX, auth=token(ONE).removeprefix("NHSMESH ")).status_code == 200
    assert raw.get(INBOX, auth=token(ONE, nonce=uuid.uuid4().hex, count="001")).status_code == 200
    scheme, rest = token(ONE).split(" ")
    front, digest = rest.rsplit(":", 1)
    assert raw.get(INBOX, auth=f"{scheme} {front}:{digest.upper()}").status_code == 200


def test_a_token_is_good_once_on_all_nodes(site):
    once = token(ONE)
    with site.raw(0) as first, site.raw(1) as second, site.raw(2) as third:
        assert first.post(PATH + "/outbox", b"x", auth=once, headers=to_two()).status_code == 202
        for node in (first, second, third):
            answer = node.post(PATH + "/outbox", b"x", auth=once, headers=to_two())
            check_error(answer, 403, text="Error Duplicated Authentication Token")


def test_the_same_nonce_with_another_count_is_another_token(raw):
    nonce = str(uuid.uuid4())
    for count in (5, 3, 4, 0):
        assert raw.get(INBOX, auth=token(ONE, nonce=nonce, count=count)).status_code == 200
    answer = raw.post(PATH + "/outbox", b"x", auth=token(ONE, nonce=nonce, count=3), headers=to_two())
    check_error(answer, 403, text="Error Duplicated Authentication Token")


def test_a_stranger_cannot_burn_a_nonce(raw):
    nonce = str(uuid.uuid4())
    assert raw.get(INBOX, auth=token(ONE, password="wrong", nonce=nonce)).status_code == 403
    assert raw.get(INBOX, auth=token(ONE, nonce=nonce)).status_code == 200


def test_refusal_comes_before_every_other_check(raw):
    answer = raw.post(PATH + "/outbox", b"", auth=token(ONE, password="wrong"), headers={"Mex-To": ""})
    assert answer.status_code == 403


def to_two():
    return {"Mex-To": TWO, "Mex-WorkflowID": "FREE"}
