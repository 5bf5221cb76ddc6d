from django.apps import AppConfig


class SiteConfig(AppConfig):
    name = "aiwm_site"
    verbose_name = "AIWM"

    def ready(self) -> None:
        from aiwm_site import checks  # noqa: F401 - registers itself
