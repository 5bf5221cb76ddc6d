"""`python -m tests.processes.call ANSWER MODULE:FUNCTION ARGUMENTS`: the function's answer is written as JSON."""

import json
import sys
from importlib import import_module
from pathlib import Path

import django

if __name__ == "__main__":
    django.setup()
    path, target, arguments = sys.argv[1:]
    module, _, function = target.partition(":")
    answer = getattr(import_module(module), function)(*json.loads(arguments))
    Path(path).write_text(json.dumps(answer))
