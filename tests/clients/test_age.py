"""Encrypted backups in the hands of others: rage (pyrage) and Debian's age open every file with the private key alone, and keys that
they made are keys here (P7). An admin who has lost everything but a key and a folder must not need Spine to look into it."""

import json
import shutil
import subprocess
from pathlib import Path

import pyrage
import pytest
from mesh import ONE, TWO

# What a file begins with that is not encrypted.
ROWS, BODY = (b"SPNSNAP1", b"SPNLAYR1"), b"SPNBLOB1"
BODY_BYTES = 300_000


def spine(site, *args):
    done = subprocess.run([site.binary, *args, "--output", "json"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def key(tmp_path):
    """A private key of rage's making, and the file that names its public half."""
    own = pyrage.x25519.Identity.generate()
    (tmp_path / "key").write_text(f"{own}\n")
    (tmp_path / "key.pub").write_text(f"# of the tests\n{own.to_public()}\n")
    return own


@pytest.fixture
def backup(site, raw, tmp_path, key):
    raw.sent(ONE, TWO, bytes(range(256)) * (BODY_BYTES // 256))
    socket = site.path(site.demo["nodes"][0]["socket"])
    made = spine(site, "backup", "create", tmp_path / "out", "--rate", "0", "--recipient", tmp_path / "key.pub", "--socket", socket)
    assert made["recipients"] == [str(key.to_public())]
    return Path(made["path"])


def files(backup):
    found = sorted(path for path in backup.rglob("*") if path.is_file() and path.name != "manifest")
    assert [path for path in found if path.suffix != ".age"] == []
    assert {path.relative_to(backup).parts[0] for path in found} >= {"p0", "p1", "blobs"}
    return found


def looks_right(site, backup, path, content):
    if path.is_relative_to(backup / "blobs"):
        # As it lies in the node's own data.
        assert content == Path(site.path("node-1/data"), path.relative_to(backup).with_suffix("")).read_bytes()
        assert content.startswith(BODY)
    else:
        assert content.startswith(ROWS), content[:8]


def test_rage_opens_every_file_with_the_key_alone(site, backup, key):
    for path in files(backup):
        looks_right(site, backup, path, pyrage.decrypt(path.read_bytes(), [key]))
        with pytest.raises(pyrage.DecryptError):
            pyrage.decrypt(path.read_bytes(), [pyrage.x25519.Identity.generate()])


@pytest.mark.skipif(not shutil.which("age"), reason="age is not installed")
def test_age_opens_every_file_with_the_key_alone(site, backup, tmp_path):
    for path in files(backup):
        done = subprocess.run(["age", "--decrypt", "-i", tmp_path / "key", path], capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        looks_right(site, backup, path, done.stdout)


def test_a_key_of_rages_verifies_and_one_made_here_is_rages(site, backup, tmp_path):
    told = spine(site, "backup", "verify", backup, "--identity", tmp_path / "key", "--scratch", tmp_path)
    assert told["replayed"] and told["bodies"] >= 1
    made = spine(site, "backup", "key", "--out", tmp_path / "ours")
    secret = (tmp_path / "ours").read_text().splitlines()[-1]
    ours = pyrage.x25519.Identity.from_str(secret)
    assert str(ours.to_public()) == made["recipient"]
    assert pyrage.decrypt(pyrage.encrypt(b"x", [pyrage.x25519.Recipient.from_str(made["recipient"])]), [ours]) == b"x"
