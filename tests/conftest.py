"""What every test may use."""

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core.cache import cache
from rest_framework.test import APIClient

from accounts.models import User
from common import counters
from vmbackends import get_backend

HYPERVISOR = Path(__file__).parent / "hypervisor"
# Guests that boot a Linux, beside the servers: the two halves take about as long then.
BOOTS_LINUX = {"test_debian.py", "test_lab_guest.py", "test_networks.py"}


@pytest.hookimpl(tryfirst=True)  # before xdist looks for groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One process at a time runs what has servers and workers, and one what has hypervisors: each wants a machine with
    few cores for itself. xdist begins with the largest group, so that the small tests fill what is left."""
    for item in items:
        if HYPERVISOR in item.path.parents:
            item.add_marker(pytest.mark.hypervisor)
            item.add_marker(pytest.mark.xdist_group("processes" if item.path.name in BOOTS_LINUX else "hypervisor"))
        elif {"site_of", "sites"} & _fixtures(item):
            item.add_marker(pytest.mark.processes)
            item.add_marker(pytest.mark.xdist_group("processes"))
        if not _sees_a_database(item):
            item.add_marker(pytest.mark.one_engine)


def pytest_collection_finish() -> None:
    """What is imported by now stays: the collector need not walk over it again and again."""
    gc.collect()
    gc.freeze()


def _fixtures(item: pytest.Item) -> set[str]:
    return set(getattr(item, "fixturenames", ()))


def _sees_a_database(item: pytest.Item) -> bool:
    """pytest-django lets none of the others have it, so that they can tell no engine from another."""
    marks = any(item.get_closest_marker(name) for name in ("django_db", "processes"))
    return marks or bool({"db", "transactional_db"} & _fixtures(item))


@pytest.fixture(autouse=True)
def _fresh_process_state() -> Iterator[None]:
    """No count of requests, cached statistics or backend outlives a test."""
    cache.clear()
    counters.clear()
    get_backend.cache_clear()
    yield
    get_backend.cache_clear()


@pytest.fixture
def client_of() -> Callable[[User], APIClient]:
    """A client of the API with a real access token of this user."""
    from accounts.tokens import issue

    def make(user: User) -> APIClient:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {issue(user).access}")
        return client

    return make
