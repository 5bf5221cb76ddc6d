"""Count anew what nodes and organizations have given out, and say what differs."""

import os
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from accounts.actors import SYSTEM_COMMAND, current_actor
from resources.recount import recount


class Command(BaseCommand):
    help = "Compare the counters of nodes and quotas with the VMs' rows; exit 1 where they differ, unless --fix."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--fix", action="store_true", help="set the counters to what the rows say")

    def handle(self, *args: Any, **options: Any) -> None:
        # Not a name that must be given: it mends what is wrong already, for whoever may run commands at all.
        actor = current_actor() if os.environ.get("AIWM_USER") else SYSTEM_COMMAND
        found = recount(fix=options["fix"], actor=actor)
        for difference in found:
            self.stdout.write(str(difference))
        if not found:
            self.stdout.write("Every counter agrees with the rows.")
        elif not options["fix"]:
            raise CommandError(f"{len(found)} differ. `manage.py recount --fix` sets them right.")
