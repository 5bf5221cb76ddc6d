"""The admin's forms for people."""

from typing import Any

from django import forms
from django.contrib.auth.forms import UserChangeForm as DjangoUserChangeForm
from unfold.forms import AuthenticationForm, UserChangeForm

from accounts import logins
from accounts.models import User
from accounts.throttling import take_login
from common.errors import Forbidden, Throttled


class LoginForm(AuthenticationForm):  # type: ignore[misc] # unfold has no types
    """The log-in of the admin. A lock-out is told like a wrong password, with how long it lasts."""

    def clean(self) -> dict[str, Any]:
        try:
            take_login(self.request, "admin")
            cleaned: dict[str, Any] = super().clean()
        except Throttled as e:
            raise forms.ValidationError(e.message, code="throttled") from e
        user = self.get_user()
        if user is not None:  # with a field left out nobody was looked for
            logins.done(self.request, user)
        return cleaned

    def confirm_login_allowed(self, user: User) -> None:
        try:
            super().confirm_login_allowed(user)
        except forms.ValidationError:
            logins.refused(self.request, user.username, "login", Forbidden.code, "No operator")
            raise


class UserForm(UserChangeForm):  # type: ignore[misc] # unfold has no types
    """Unfold's, which breaks for staff who may look and not change: they have no password field."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if "password" in self.base_fields:
            super().__init__(*args, **kwargs)
        else:
            DjangoUserChangeForm.__init__(self, *args, **kwargs)
