#!/usr/bin/env python
"""Django's command line."""

import os
import sys

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "aiwm_site.settings")
    try:
        execute_from_command_line(sys.argv)
    except ImproperlyConfigured as e:
        if settings.configured or "--traceback" in sys.argv:
            raise
        # The settings could not be read: a value in the environment, and no line of ours.
        sys.exit(f"Wrong settings: {e}")
    except KeyboardInterrupt:
        if "--traceback" in sys.argv:
            raise
        sys.stderr.write("Stopped.\n")
        sys.exit(130)  # as shells say it of who ends by SIGINT


if __name__ == "__main__":
    main()
