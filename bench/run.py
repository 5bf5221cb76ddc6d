"""What a request costs, in CPU time, against a bare view that does the same query: `make bench`.

All of it is measured in one run, in one process, on a SQLite file of its own, so that the ratios hold when the
machine's speed does not. Prints a table; asserts nothing.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "7"))
CALLS = int(os.environ.get("BENCH_CALLS", "60"))
VMS = 100


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="aiwm-bench-") as folder:
        os.environ.update(
            DJANGO_SETTINGS_MODULE="aiwm_site.settings", DATABASE_URL=f"sqlite:///{folder}/bench.sqlite3",
            SECRET_KEY="bench-" * 10, API_RATE="0", LOG_LEVEL="ERROR", OPEN_VLANS="1", ALLOWED_HOSTS="testserver",
        )  # fmt: skip
        sys.path.insert(0, str(ROOT))
        import django

        django.setup()
        measure()


def measure() -> None:
    import orjson
    from django.core.management import call_command
    from django.db.models import Count
    from django.http import HttpRequest, HttpResponse
    from django.test import Client
    from django.urls import path

    from accounts.models import Organization
    from accounts.tokens import issue
    from aiwm_site import urls
    from resources.documents import COLUMNS, VmRow, list_document
    from resources.models import VirtualMachine
    from tests.factories import NodeFactory, UserFactory, VirtualMachineFactory, create_body

    call_command("migrate", verbosity=0)
    user: Any = UserFactory.create()
    node: Any = NodeFactory.create(cap_vcpus=100_000, cap_ram_mb=10**9, cap_disk_gb=10**7)
    Organization.objects.update(quota_vms=10**6, quota_vcpus=10**7, quota_ram_mb=10**10, quota_disk_gb=10**9)
    vms = VirtualMachineFactory.create_batch(VMS, organization=user.organization, owner=user, node=node)
    client = Client(headers={"authorization": f"Bearer {issue(user).access}"})
    body = json.dumps(create_body(node))

    def bare_list(request: HttpRequest) -> HttpResponse:
        rows = VirtualMachine.objects.filter(deleted_at=None, organization_id=user.organization_id)
        counted = dict(rows.order_by().values_list("status").annotate(number=Count("*")))
        page = rows.order_by("-created_at", "-id").values_list(*COLUMNS)[:100]
        data = [list_document(VmRow(*row)) for row in page]
        return HttpResponse(orjson.dumps({"data": data, "statistics": counted}), content_type="application/json")

    def bare_get(request: HttpRequest) -> HttpResponse:
        row = VirtualMachine.objects.filter(deleted_at=None, pk=vms[0].id).values_list(*COLUMNS).get()
        return HttpResponse(orjson.dumps(list_document(VmRow(*row))), content_type="application/json")

    # Below the same middleware: what is compared is the way from the URL to the answer.
    urls.urlpatterns += [path("bare/list", bare_list), path("bare/get", bare_get)]
    pairs = [
        ("list, 100 VMs", "/resources?limit=100", "/bare/list"),
        ("get", f"/resources/{vms[0].id}", "/bare/get"),
        ("status", f"/resources/{vms[0].id}/status", "/bare/get"),
    ]
    print(f"{'request':<16}{'ms':>8}{'bare ms':>9}{'ratio':>7}   CPU time, median of {ROUNDS} rounds of {CALLS}")
    for name, served, bare in pairs:
        report(name, partial(client.get, served), partial(client.get, bare))
    create = partial(client.post, "/resources", body, content_type="application/json")
    report("create", create, partial(client.get, "/bare/get"), "   (against a bare get)")


def report(name: str, served: Callable[[], Any], bare: Callable[[], Any], note: str = "") -> None:
    ours, theirs = cpu_ms(served, bare)
    print(f"{name:<16}{ours:>8.2f}{theirs:>9.2f}{ours / theirs:>7.2f}{note}")


def cpu_ms(served: Callable[[], Any], bare: Callable[[], Any]) -> tuple[float, float]:
    """Median CPU milliseconds a call of each, taken in turn."""
    for function in (served, bare):
        answer = function()
        assert answer.status_code < 300, answer.content
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for function, kept in zip((served, bare), times, strict=True):
            start = time.process_time()
            for _ in range(CALLS):
                function()
            kept.append((time.process_time() - start) / CALLS * 1000)
    return statistics.median(times[0]), statistics.median(times[1])


if __name__ == "__main__":
    main()
