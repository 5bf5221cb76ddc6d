"""What every test may use."""

from collections.abc import Callable, Iterator

import pytest
from django.core.cache import cache
from rest_framework.test import APIClient

from accounts.models import User
from common import counters
from vmbackends import get_backend


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
