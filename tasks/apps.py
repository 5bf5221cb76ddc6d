from django.apps import AppConfig
from django.core.checks import register


class TasksConfig(AppConfig):
    name = "tasks"

    def ready(self) -> None:
        from tasks.checks import check_task_types

        register(check_task_types)
