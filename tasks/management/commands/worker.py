"""Run a worker: `manage.py worker`. Any number of them share the tasks, on any number of machines."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from tasks.worker import WorkerProcess


class Command(BaseCommand):
    help = "Takes tasks and does periodic jobs until SIGTERM or Ctrl-C."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--poll", type=float, metavar="SECONDS", help="how often to look when idle (POLL_SECONDS)")

    def handle(self, *args: Any, poll: float | None = None, **options: Any) -> None:
        WorkerProcess(poll_s=poll).run()
