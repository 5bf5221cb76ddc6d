"""Passwords, for the API and the admin alike."""

from typing import Any

from django.conf import settings
from django.contrib.auth.backends import ModelBackend
from django.http import HttpRequest

from accounts import guard, logins
from accounts.models import User
from common.addresses import client_address
from common.errors import NotAuthenticated, Throttled


class GuardedBackend(ModelBackend):
    """Django's own, behind the lock-out. Raises Throttled while a pair of name and address is locked out.

    A password that is the user name works with DEBUG alone: the demo's accounts have such. Django's own hashes a
    password for an unknown name too, so that the time tells nothing about which names exist.
    """

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> User | None:
        if username is None or password is None:
            return None
        if password == username and not settings.DEBUG:
            password = ""  # as of the demo's accounts; it fails below like any other wrong one
        address = client_address(request) if request is not None else ""
        try:
            guard.check(username, address)
            user = super().authenticate(request, username=username, password=password)
            if isinstance(user, User):
                guard.succeeded(username, address)
                return user
        except Throttled as e:
            logins.refused(request, username, "login", e.code, "Locked out")
            raise
        logins.refused(request, username, "login", NotAuthenticated.code, "Wrong user name or password")
        if guard.failed(username, address):
            logins.refused(request, username, "lockout", Throttled.code, "Locked out for too many failed log-ins")
        else:
            # Of many guesses at once those that end after the lock must look alike, or the one that differs is right.
            guard.check(username, address)
        return None
