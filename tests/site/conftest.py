import pytest
from django.test import Client


@pytest.fixture
def client() -> Client:
    """As a client over the network sees it: a crash is an answer, not an exception in the test."""
    return Client(raise_request_exception=False)
