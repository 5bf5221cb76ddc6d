"""What `manage.py check` says of the task types that the apps registered."""

from typing import Any

from django.conf import settings
from django.core import checks

from tasks.registry import registry


def check_task_types(**kwargs: Any) -> list[checks.CheckMessage]:  # noqa: ARG001 - Django's signature
    found: list[checks.CheckMessage] = []
    for task_type in registry.types.values():
        names = [step.name for step in task_type.steps]
        if len(names) != len(set(names)) or not names:
            found.append(
                checks.Error(f"The task type {task_type.name!r} needs steps, each of its own name.", id="tasks.E001")
            )
        longest = max((step.deadline_s for step in task_type.steps), default=0.0)
        if longest > settings.LEASE_SECONDS * 0.9:
            found.append(
                checks.Warning(
                    f"A step of {task_type.name!r} may take {longest:g} s, too long for a lease of "
                    f"{settings.LEASE_SECONDS:g} s: it will be cut short.",
                    hint="Set LEASE_SECONDS higher.",
                    id="tasks.W001",
                )
            )
    return found
