"""/metrics under gunicorn: its workers count together, and one that dies loses nothing."""

import os
import re
import signal
import urllib.request
from pathlib import Path

import pytest

from tests.processes.api import Api
from tests.processes.sites import free_port, wait_for

pytestmark = [pytest.mark.processes, pytest.mark.one_engine]

TOKEN = "a token of some length"


def counted(port: int) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read().decode()
    found = re.search(r'^aiwm_http_requests_total\{method="GET",route="healthz",status="200"\} (\S+)', text, re.M)
    return int(float(found[1])) if found else 0


def test_workers_count_together_and_their_successors_go_on(site_of, migrated):
    site = site_of(migrated, METRICS_TOKEN=TOKEN, WEB_WORKERS=3)
    port = free_port()
    api = Api(port)
    site.start("-m", "gunicorn", "-c", "gunicorn.conf.py", BIND=f"127.0.0.1:{port}")
    wait_for(lambda: api.answers("/healthz"), 40, "the site")
    before = counted(port)
    for _ in range(60):
        assert api.answers("/healthz")
    assert counted(port) == before + 60

    # Files are no more when every worker has been replaced, and nothing that they counted is gone.
    master, *workers = sorted(site.processes())
    maps = Path(f"/proc/{workers[0]}/maps").read_text()
    directory = Path(re.search(r"\s(/\S+)/counter_\S+\.db", maps)[1])
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not set(workers) & set(site.processes()), 20, "the old workers to end")
    wait_for(lambda: len(site.processes()) == 4, 20, "the new workers")
    for _ in range(60):
        assert api.answers("/healthz")
    assert counted(port) == before + 120
    assert len({path.name.rpartition("_")[2] for path in directory.glob("*.db")}) <= 4  # three, and their parent

    os.kill(master, signal.SIGTERM)
    wait_for(lambda: not directory.exists(), 20, "its files to go with it")
