"""A worker that waits is woken by a new task, where the engine can do that."""

import threading
import time

import pytest
from django.db import connection

from common.db import atomic
from tasks import wake

pytestmark = pytest.mark.skipif(connection.vendor != "postgresql", reason="NOTIFY is PostgreSQL's")
LONG = 30.0


@pytest.fixture
def waker():
    waker = wake.Waker()
    waker.wait(LONG)  # the first look is at once: what was said before nobody heard
    return waker


def in_another_thread(function):
    def run():
        function()
        connection.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


@pytest.mark.django_db(transaction=True)
def test_it_is_woken_by_a_task_of_another_connection(waker):
    began = time.monotonic()
    in_another_thread(wake.announce).join()
    waker.wait(LONG)
    assert time.monotonic() - began < LONG / 2


@pytest.mark.django_db(transaction=True)
def test_it_is_woken_when_the_tasks_transaction_ends_and_not_before(waker):
    announced, leave = threading.Event(), threading.Event()

    @atomic
    def announce_and_stay():
        wake.announce()
        announced.set()
        leave.wait(LONG)

    thread = in_another_thread(announce_and_stay)
    announced.wait(LONG)
    began = time.monotonic()
    waker.wait(0.2)
    assert time.monotonic() - began >= 0.2
    leave.set()
    thread.join()
    began = time.monotonic()
    waker.wait(LONG)
    assert time.monotonic() - began < LONG / 2


@pytest.mark.django_db(transaction=True)
def test_it_does_not_miss_what_is_said_while_it_works(waker):
    in_another_thread(wake.announce).join()
    connection.ensure_connection()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")  # takes the notification in, beside its answer
    began = time.monotonic()
    waker.wait(LONG)
    assert time.monotonic() - began < LONG / 2
    began = time.monotonic()
    waker.wait(0.2)  # and it was heard once
    assert time.monotonic() - began >= 0.2


@pytest.mark.django_db(transaction=True)
def test_it_listens_anew_on_a_new_connection(waker):
    connection.close()
    waker.wait(LONG)  # at once, for nobody listened meanwhile
    in_another_thread(wake.announce).join()
    began = time.monotonic()
    waker.wait(LONG)
    assert time.monotonic() - began < LONG / 2
