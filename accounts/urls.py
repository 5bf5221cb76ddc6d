from django.urls import path

from accounts.views import MeView, OrganizationView, TokenView

urlpatterns = [
    path("auth/token", TokenView.as_view({"post": "create"}), name="token"),
    path("auth/token/refresh", TokenView.as_view({"post": "refresh"}), name="token-refresh"),
    path("auth/token/revoke", TokenView.as_view({"post": "revoke"}), name="token-revoke"),
    path("auth/me", MeView.as_view({"get": "retrieve"}), name="me"),
    path("organization", OrganizationView.as_view({"get": "retrieve"}), name="organization"),
    path("organization/users", OrganizationView.as_view({"get": "users"}), name="organization-users"),
]
