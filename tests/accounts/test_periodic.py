"""What workers do for accounts every so often."""

from datetime import timedelta

import pytest

from accounts import guard
from accounts.models import LoginFailure
from tasks.registry import registry


@pytest.mark.django_db
@pytest.mark.parametrize("name", ["purge_tokens", "purge_lockouts", "purge_idempotency_keys"])
def test_it_purges_every_hour(name):
    job = registry.periodic[f"accounts.{name}"]
    assert job.every_s() == 3600
    job.run()


@pytest.mark.django_db
def test_lockouts_are_purged_when_they_are_over(time_machine, settings):
    settings.LOGIN_LOCK_SECONDS = 300
    time_machine.move_to("2026-01-01T00:00:00Z", tick=False)
    guard.failed("ada", "10.0.0.1")
    time_machine.shift(timedelta(seconds=300))
    guard.purge()
    assert LoginFailure.objects.count() == 1
    time_machine.shift(timedelta(seconds=1))
    guard.purge()
    assert not LoginFailure.objects.exists()
