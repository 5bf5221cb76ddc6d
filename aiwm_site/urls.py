"""Every path of the service. The API's own tables are in each app's urls.py."""

from django.contrib import admin
from django.urls import include, path
from django.views.decorators.csrf import csrf_exempt
from django.views.generic import RedirectView

from accounts.passwords import change_own_password
from aiwm_site import views
from aiwm_site.metrics_view import metrics

_root = RedirectView.as_view(pattern_name="docs", http_method_names=["get", "head", "options"])

urlpatterns = [
    path("", csrf_exempt(_root), name="root"),
    path("admin", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/password_change/", admin.site.admin_view(change_own_password, cacheable=True)),
    path("admin/", admin.site.urls),
    path("schema", views.SchemaView.as_view(), name="schema"),
    path("docs", views.DocsView.as_view(), name="docs"),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    path("", include("accounts.urls")),
    # All below are under /resources, where `resources/<id>` would take `resources/nodes` if it came first.
    path("", include("nodes.urls")),
    path("", include("snapshots.urls")),
    path("", include("resources.urls")),
]

handler400 = "aiwm_site.errors.bad_request"
handler403 = "aiwm_site.errors.permission_denied"
handler404 = "aiwm_site.errors.page_not_found"
handler500 = "aiwm_site.errors.server_error"
