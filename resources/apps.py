from django.apps import AppConfig
from django.conf import settings


class ResourcesConfig(AppConfig):
    name = "resources"

    def ready(self) -> None:
        from resources import console, handlers, logs, metrics, reconcile
        from tasks.registry import Periodic, registry

        registry.add(*handlers.TYPES)
        registry.add_periodic(
            Periodic("sweep", lambda: settings.SWEEP_SECONDS, reconcile.sweep_all),
            Periodic("sample-metrics", lambda: settings.SAMPLE_SECONDS, metrics.sample_all),
            Periodic("compact-metrics", lambda: 3600, metrics.compact),
            Periodic("purge-logs", lambda: 3600, logs.purge),
            Periodic("purge-consoles", lambda: 3600, console.purge),
        )
