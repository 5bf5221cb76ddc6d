"""Django's shell, with `acting_as` beside the models."""

from django.core.management.commands import shell


class Command(shell.Command):
    def get_auto_imports(self) -> list[str]:
        """Every model, and what a session begins with. `LogEntry` is a line of a VM's log, not the admin's own."""
        models = list(super().get_auto_imports() or [])
        return [
            *(path for path in models if path != "django.contrib.admin.models.LogEntry"),
            "accounts.actors.acting_as",
        ]
