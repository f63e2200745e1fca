"""Fixtures: the demo site that the runner started, emptied before each test, and real clients of it."""

import os

import mesh_client
import pytest
from mesh import Site


@pytest.fixture(scope="session")
def site():
    folder, binary = os.environ.get("SPINE_DEMO"), os.environ.get("SPINE_BIN", "spine")
    if not folder:
        pytest.exit("SPINE_DEMO names no demo folder; start these tests with tests/clients/run", returncode=2)
    site = Site(folder, binary)
    site.wait_ready()
    return site


@pytest.fixture(autouse=True)
def empty(site):
    site.drain()


@pytest.fixture
def raw(site):
    with site.raw() as raw:
        yield raw


@pytest.fixture
def client(site):
    """Makes real clients: client(mailbox, node=0, **options of MeshClient)."""
    made = []

    def make(mailbox, node=0, password="password", **options):
        options.setdefault("timeout", 60)
        one = mesh_client.MeshClient(
            site.url(node),
            mailbox,
            password,
            shared_key=site.demo["shared_key"].encode(),
            cert=site.cert(),
            verify=site.ca,
            **options,
        )
        made.append(one)
        return one

    yield make
    for one in made:
        one.close()
