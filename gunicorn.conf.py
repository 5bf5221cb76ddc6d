"""How gunicorn serves the site: `gunicorn aiwm_site.wsgi`."""

import os
from pathlib import Path

wsgi_app = "aiwm_site.wsgi"
bind = os.environ.get("BIND", "127.0.0.1:3305")
# Plain processes: requests are short and never wait for a node, and threads were slower under load (the GIL).
worker_class = "sync"
workers = int(os.environ.get("WEB_WORKERS") or min(8, 2 * (os.cpu_count() or 1) + 1))
preload_app = True
timeout = 30
graceful_timeout = 8
max_requests = 20_000
max_requests_jitter = 2_000
forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1")
loglevel = os.environ.get("GUNICORN_LOG_LEVEL", "info")
no_control_socket = True
# A heartbeat file on a disk can block: https://docs.gunicorn.org/en/stable/faq.html#how-do-i-avoid-gunicorn-excessively-blocking-in-os-fchmod
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
