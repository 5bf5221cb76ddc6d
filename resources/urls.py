"""The API's table below /resources. What is no id stands before what is one."""

from django.urls import path

from resources.console_views import viewer
from resources.monitoring_views import ConsoleView, EventsView, LogsView, MetricsView
from resources.task_views import TaskView
from resources.views import CatalogView, LifecycleView, StatusView, VirtualMachineView

VM = "resources/<str:resource_id>"

urlpatterns = [
    path("resources/catalog", CatalogView.as_view({"get": "list"}), name="catalog"),
    path("resources/estimate", CatalogView.as_view({"post": "estimate"}), name="estimate"),
    path("resources/tasks", TaskView.as_view({"get": "list"}), name="tasks"),
    path("resources/tasks/<str:task_id>", TaskView.as_view({"get": "retrieve"}), name="task"),
    path("resources/tasks/<str:task_id>/cancel", TaskView.as_view({"post": "cancel"}), name="task-cancel"),
    path("resources", VirtualMachineView.as_view({"get": "list", "post": "create"}), name="vms"),
    path(
        VM,
        VirtualMachineView.as_view({"get": "retrieve", "patch": "partial_update", "delete": "destroy"}),
        name="vm",
    ),
    path(f"{VM}/start", LifecycleView.as_view({"post": "start"}), name="vm-start"),
    path(f"{VM}/stop", LifecycleView.as_view({"post": "stop"}), name="vm-stop"),
    path(f"{VM}/restart", LifecycleView.as_view({"post": "restart"}), name="vm-restart"),
    path(f"{VM}/status", StatusView.as_view({"get": "retrieve"}), name="vm-status"),
    path(f"{VM}/logs", LogsView.as_view({"get": "list"}), name="vm-logs"),
    path(f"{VM}/metrics", MetricsView.as_view({"get": "retrieve"}), name="vm-metrics"),
    path(f"{VM}/metrics/history", MetricsView.as_view({"get": "history"}), name="vm-metrics-history"),
    path(f"{VM}/events", EventsView.as_view({"get": "list"}), name="vm-events"),
    path(f"{VM}/console", ConsoleView.as_view({"get": "retrieve"}), name="vm-console"),
    path(f"{VM}/tasks", TaskView.as_view({"get": "of_vm"}), name="vm-tasks"),
    path("console/view/<str:public_id>", viewer, name="console-viewer"),
]
