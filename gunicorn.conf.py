"""How gunicorn serves the site: `gunicorn aiwm_site.wsgi`."""

import os
import shutil
import tempfile
from itertools import count
from pathlib import Path
from typing import Any

wsgi_app = "aiwm_site.wsgi"
bind = os.environ.get("BIND", "127.0.0.1:3305")
# gunicorn's "sync": requests are short and never wait for a node, and threads were slower under load (the GIL).
worker_class = "aiwm_site.gunicorn_worker.ProblemWorker"
workers = int(os.environ.get("WEB_WORKERS") or min(8, 2 * (os.cpu_count() or 1) + 1))
preload_app = True
timeout = 30
graceful_timeout = 8
max_requests = 20_000
max_requests_jitter = 2_000
forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1")
loglevel = os.environ.get("GUNICORN_LOG_LEVEL", "info")
control_socket_disable = True
# A heartbeat file on a disk can block: https://docs.gunicorn.org/en/stable/faq.html#how-do-i-avoid-gunicorn-excessively-blocking-in-os-fchmod
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108

# Where workers count their requests for Prometheus: see `aiwm_site.request_metrics`. It is read when that is imported.
_MADE = "AIWM_METRICS_MADE"
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:  # it is there already when a reload reads this file again
    os.environ[_MADE] = os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix="aiwm-", dir=worker_tmp_dir)


def pre_fork(server: Any, worker: Any) -> None:
    """Give the worker the lowest place that none of the living has."""
    taken = {other.place for other in server.WORKERS.values()}
    worker.place = next(place for place in count() if place not in taken)


def post_fork(_server: Any, worker: Any) -> None:
    os.environ["AIWM_WEB_PLACE"] = str(worker.place)


def on_exit(_server: Any) -> None:
    if _MADE in os.environ:
        shutil.rmtree(os.environ[_MADE], ignore_errors=True)
