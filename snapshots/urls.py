"""The API's table of snapshots."""

from django.urls import path

from snapshots.views import SnapshotView

OF_VM = "resources/<str:resource_id>/snapshots"

urlpatterns = [
    path(OF_VM, SnapshotView.as_view({"get": "list", "post": "create"}), name="snapshots"),
    path(f"{OF_VM}/<str:snapshot_id>", SnapshotView.as_view({"delete": "destroy"}), name="snapshot"),
    path(f"{OF_VM}/<str:snapshot_id>/restore", SnapshotView.as_view({"post": "restore"}), name="snapshot-restore"),
]
