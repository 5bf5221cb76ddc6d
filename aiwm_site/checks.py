"""What `manage.py check` can say of the settings, and `check --deploy` of a production."""

from typing import Any
from urllib.parse import urlsplit

from django import db
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core import checks
from django.core.checks import CheckMessage, Tags, register
from django.core.exceptions import ImproperlyConfigured

from vmbackends import get_backend

# Seeded accounts are the oldest, and each test of a password takes a good part of a second on purpose.
MOST_ACCOUNTS = 20
SHORTEST_TOKEN = 20


@register(Tags.urls)
def public_url(**_: Any) -> list[CheckMessage]:
    try:
        url = urlsplit(settings.PUBLIC_URL)
        good = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:  # a port that is no number, a broken IPv6 address
        good = False
    else:
        good = good and not (url.query or url.fragment or url.username)
    if good:
        return []
    return [
        checks.Error(f"PUBLIC_URL is {settings.PUBLIC_URL!r}.", hint="It takes http(s)://host[:port].", id="aiwm.E001")
    ]


@register(Tags.security, deploy=True)
def local_addresses(**_: Any) -> list[CheckMessage]:
    """The defaults are those of a machine that nobody else reaches, and a production starts with them as well."""
    if settings.DEBUG:
        return []
    found: list[CheckMessage] = []
    if all(_is_local(host) for host in settings.ALLOWED_HOSTS):
        found.append(
            checks.Warning(
                f"ALLOWED_HOSTS is {','.join(settings.ALLOWED_HOSTS)}: by any other name nobody is let in.",
                hint="Set ALLOWED_HOSTS to the names that this service is reached by, comma-separated.",
                id="aiwm.W009",
            )
        )
    if _is_local(urlsplit(settings.PUBLIC_URL).hostname or ""):
        found.append(
            checks.Warning(
                f"PUBLIC_URL is {settings.PUBLIC_URL}: links and consoles lead to the reader's own machine, and "
                "cookies are sent without TLS.",
                hint="Set PUBLIC_URL to the address that this service is reached by, as https://aiwm.example.com.",
                id="aiwm.W010",
            )
        )
    if all(_is_local(urlsplit(origin).hostname or "") for origin in settings.CORS_ALLOWED_ORIGINS):
        found.append(
            checks.Warning(
                "FRONTEND_ORIGINS names no origin but local ones: no frontend's pages may call the API.",
                hint="Set FRONTEND_ORIGINS to the origins of your frontends. Is there none, silence this.",
                id="aiwm.W011",
            )
        )
    return found


@register(Tags.security, deploy=True)
def any_host(**_: Any) -> list[CheckMessage]:
    if settings.DEBUG or "*" not in settings.ALLOWED_HOSTS:
        return []
    return [
        checks.Warning(
            "ALLOWED_HOSTS has *: whoever asks may say by which name this service is reached.",
            hint="Set ALLOWED_HOSTS to the names that it is reached by, comma-separated.",
            id="aiwm.W012",
        )
    ]


def _is_local(host: str) -> bool:
    return host.strip("[]") in ("localhost", "::1") or host.startswith("127.")


@register("aiwm")
def vm_backend(**_: Any) -> list[CheckMessage]:
    try:
        get_backend()
    except ImproperlyConfigured as e:
        hint = "See VM_BACKEND and VM_BACKEND_OPTIONS."
        misses_a_package = isinstance(e.__cause__, ImportError) and not isinstance(
            e.__cause__.__cause__, AttributeError
        )
        if settings.VM_BACKEND["BACKEND"].startswith("vmbackends.libvirt.") and misses_a_package:
            hint = "Install what it needs: pip install --require-hashes -r requirements-libvirt.txt. See docs/nodes.md."
        return [checks.Error(str(e), hint=hint, id="aiwm.E002")]
    return []


@register(Tags.security, deploy=True)
def secrets_key(**_: Any) -> list[CheckMessage]:
    if settings.SECRETS_KEY != settings.SECRET_KEY:
        return []
    return [
        checks.Error(
            "SECRETS_KEY is the same as SECRET_KEY, so that neither can be changed alone.",
            hint="Set SECRETS_KEY to a long random text of its own.",
            id="aiwm.E003",
        )
    ]


@register(Tags.security, deploy=True)
def mock_backend(**_: Any) -> list[CheckMessage]:
    if not settings.VM_BACKEND["BACKEND"].startswith("vmbackends.mock."):
        return []
    return [
        checks.Warning("VM_BACKEND is the mock: no virtual machine is real.", hint="Set VM_BACKEND.", id="aiwm.W001")
    ]


@register(Tags.security, deploy=True)
def demo_passwords(**_: Any) -> list[CheckMessage]:
    if settings.DEBUG:
        return []
    users = get_user_model().objects.filter(is_active=True).order_by("date_joined")[:MOST_ACCOUNTS]
    try:
        names = [user.get_username() for user in users if user.check_password(user.get_username())]
    except db.Error as e:
        return [
            checks.Warning(
                "The accounts could not be read, so their passwords were not tried.",
                hint=f"Is the database there and migrated? {type(e).__name__}",
                id="aiwm.W002",
            )
        ]
    if not names:
        return []
    return [
        checks.Error(
            f"The password is the user name of: {', '.join(names)}.",
            hint="Change it, or switch the account off, before anybody can reach this service.",
            id="aiwm.E004",
        )
    ]


@register(Tags.security, deploy=True)
def proxies(**_: Any) -> list[CheckMessage]:
    if not settings.SECURE_PROXY_SSL_HEADER or settings.TRUSTED_PROXIES:
        return []
    return [
        checks.Warning(
            "BEHIND_TLS_PROXY is on and TRUSTED_PROXIES is 0: every client has the proxy's address, so that one who "
            "guesses passwords uses up the log-ins of all.",
            hint="Set TRUSTED_PROXIES to how many proxies set X-Forwarded-For.",
            id="aiwm.W003",
        )
    ]


@register(Tags.security, deploy=True)
def cors(**_: Any) -> list[CheckMessage]:
    if not settings.CORS_ALLOW_ALL_ORIGINS:
        return []
    return [
        checks.Warning(
            "Pages of any origin may call the API (CORS).", hint="Set FRONTEND_ORIGINS, or DEBUG off.", id="aiwm.W004"
        )
    ]


@register(Tags.security, deploy=True)
def rates(**_: Any) -> list[CheckMessage]:
    off = [name for name in ("API_RATE", "TOKEN_RATE") if not getattr(settings, name)]
    if not off:
        return []
    return [checks.Warning(f"{' and '.join(off)}: 0 is no limit.", hint="Set a number a minute.", id="aiwm.W005")]


@register(Tags.security, deploy=True)
def metrics(**_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    if any(network.prefixlen == 0 for network in settings.METRICS_ALLOW):
        found.append(
            checks.Warning("METRICS_ALLOW opens /metrics to everybody.", hint="Name a network.", id="aiwm.W006")
        )
    if settings.METRICS_ALLOW and settings.SECURE_PROXY_SSL_HEADER and not settings.TRUSTED_PROXIES:
        found.append(
            checks.Warning(
                "METRICS_ALLOW goes by addresses, and every client has the proxy's.",
                hint="Set TRUSTED_PROXIES, or open /metrics by METRICS_TOKEN.",
                id="aiwm.W007",
            )
        )
    if settings.METRICS_TOKEN and len(settings.METRICS_TOKEN) < SHORTEST_TOKEN:
        found.append(
            checks.Warning(
                f"METRICS_TOKEN has fewer than {SHORTEST_TOKEN} characters.",
                hint="Set a long random text.",
                id="aiwm.W008",
            )
        )
    return found
