"""Share one real PostgreSQL a test process, and one real Bursar."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from bench.harness import LocalBursar
from bursar.store.database import Connection, connect
from tests.cluster import Cluster

# The same examples in every run, however slow the machine.
settings.register_profile("bursar", derandomize=True, deadline=None, database=None)
settings.load_profile("bursar")

# No test asks the internet: a client that read the authorities of the world at its making, as each would, took 30 ms.
os.environ["SSL_CERT_DIR"] = str(Path(__file__).parent)
os.environ.pop("SSL_CERT_FILE", None)

os.environ.pop("BURSAR_DATABASE_URL", None)
os.environ.pop("BURSAR_DATA", None)


LONGEST = (
    "gateway/test_crash.py",
    "gateway/test_several_gateways.py",
    "cli/test_up_command.py",
    "cli/test_reconcile_command.py",
    "docs/test_docs.py",
    "web/test_page.py",
    "api/test_api_schema.py",
    "store/test_store_journal.py",
)
"""Modules that wait the most, the longest first: begun last, they would keep one process busy and leave others idle."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the modules that take longest first; all else stays in its order."""
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get("/".join(item.path.parts[-2:]), len(LONGEST)))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    cluster = Cluster(tmp_path_factory.mktemp("postgres"))
    yield cluster
    cluster.stop()


@pytest.fixture
def database_url(cluster: Cluster) -> Iterator[str]:
    url = cluster.lend()
    yield url
    cluster.take_back(url)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    connection = await connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
def shared_bursar() -> Iterator[LocalBursar]:
    """Run a Bursar with the sandbox, for tests that leave it as they found it."""
    local = LocalBursar()
    local.start()
    yield local
    assert local.stop() == 0, local.last_words()
    local.remove()
