from functools import partial

from django.apps import AppConfig
from django.conf import settings


class ResourcesConfig(AppConfig):
    name = "resources"

    def ready(self) -> None:
        from nodes import devices, images, lost
        from resources import console, guest_console, handlers, logs, metrics, queries, reconcile, strays
        from resources.config import MAX_DISK_GB, OsImage
        from tasks.registry import Periodic, registry

        images.use.names = tuple(OsImage)
        images.use.largest_disk_gb = MAX_DISK_GB
        images.use.deployed = queries.deployed_of
        devices.use.vms_on = strays.vms_on
        lost.use.bury = partial(reconcile.bury, seconds=5.0)  # somebody waits for the answer
        lost.use.forgotten = strays.forgotten_on
        lost.use.found_gone = strays.found_gone
        registry.add(*handlers.TYPES)
        registry.each_turn["sweep-noticed"] = reconcile.sweep_noticed
        registry.add_periodic(
            Periodic("sweep", lambda: settings.SWEEP_SECONDS, reconcile.sweep_all),
            Periodic("sample-metrics", lambda: settings.SAMPLE_SECONDS, metrics.sample_all),
            Periodic("read-consoles", lambda: settings.SWEEP_SECONDS, guest_console.read_all),
            Periodic("compact-metrics", lambda: 3600, metrics.compact),
            Periodic("purge-logs", lambda: 3600, logs.purge),
            Periodic("purge-consoles", lambda: 3600, console.purge),
        )
