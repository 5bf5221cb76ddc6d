"""All settings, read from the environment. `manage.py check --deploy` says what a production lacks."""

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from aiwm_site import env
from aiwm_site.openapi import spectacular_settings
from aiwm_site.unfold import UNFOLD  # noqa: F401 - a setting

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(env.text("AIWM_VAR", str(BASE_DIR / "var")))

# Safety

_DEFAULT_SECRET_KEY = "insecure-key-for-development-only-" + "0" * 32

DEBUG = env.flag("DEBUG", False)
SECRET_KEY = env.text("SECRET_KEY", _DEFAULT_SECRET_KEY)
if SECRET_KEY == _DEFAULT_SECRET_KEY and not DEBUG:
    raise ImproperlyConfigured(
        "SECRET_KEY is the default one, which everybody knows. Set SECRET_KEY (or SECRET_KEY_FILE) to a long "
        "random text, or DEBUG=1 for development."
    )
# Seals what must be read in clear once (Windows passwords). Of its own, so that SECRET_KEY may be rotated.
SECRETS_KEY = env.text("SECRETS_KEY", SECRET_KEY)
ALLOWED_HOSTS = env.words("ALLOWED_HOSTS", "*" if DEBUG else "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = env.words("CSRF_TRUSTED_ORIGINS")
PUBLIC_URL = env.text("PUBLIC_URL", "http://localhost:3305").rstrip("/")
_HTTPS = PUBLIC_URL.startswith("https://")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.flag("BEHIND_TLS_PROXY", False) else None
SECURE_HSTS_SECONDS = env.integer("HSTS_SECONDS", 31_536_000 if _HTTPS and not DEBUG else 0)
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = env.flag("HSTS_SUBDOMAINS", False)
SECURE_SSL_REDIRECT = env.flag("SSL_REDIRECT", False)
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]  # which are asked from beside the service, past the proxy
SECURE_CONTENT_TYPE_NOSNIFF = True
DEFAULT_EXCEPTION_REPORTER_FILTER = "aiwm_site.reports.NoLocalsFilter"
X_FRAME_OPTIONS = "DENY"
CSRF_FAILURE_VIEW = "aiwm_site.errors.csrf_failure"
# How many proxies in front of us set X-Forwarded-For; 0 takes the peer's address.
TRUSTED_PROXIES = env.integer("TRUSTED_PROXIES", 0)
SILENCED_SYSTEM_CHECKS = env.words("SILENCED_CHECKS")

# Applications

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "corsheaders",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "aiwm_site",
    "snapshots",
    "resources",
    "nodes",
    "accounts",
    "tasks",
]

MIDDLEWARE = [
    "aiwm_site.middleware.RequestIdMiddleware",
    "aiwm_site.headers.HeadersMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "aiwm_site.middleware.AdminNulMiddleware",
    "aiwm_site.middleware.BodyLimitMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "aiwm_site.middleware.AdminOutsidersMiddleware",
]

ROOT_URLCONF = "aiwm_site.urls"
WSGI_APPLICATION = "aiwm_site.wsgi.application"
APPEND_SLASH = False  # the API has none; the admin's own URLs redirect by themselves

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# Database

# Connections are kept. Each is tried before a request uses it: after a restart of the server nobody sees an error.
DATABASES: dict[str, Any] = {
    "default": env.database(
        "DATABASE_URL", f"sqlite:///{VAR_DIR / 'aiwm.sqlite3'}", conn_max_age=600, conn_health_checks=True
    ),
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # Writers take the lock when they begin, so that none fails halfway because another was first.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=20000;",
    }
elif DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    # A server that has gone without a word is found out within half a minute, also by who waits for an answer of it.
    # What DATABASE_URL says comes first. https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": 10,
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 25_000,
        **DATABASES["default"].get("OPTIONS", {}),
    }
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# People and tokens

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["accounts.backends.GuardedBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"
ACCESS_TOKEN_MINUTES = env.number("ACCESS_TOKEN_MINUTES", 15, least=1)
REFRESH_TOKEN_DAYS = env.number("REFRESH_TOKEN_DAYS", 7, least=0.01)
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=ACCESS_TOKEN_MINUTES),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=REFRESH_TOKEN_DAYS),
    "USER_ID_CLAIM": "userId",
    "UPDATE_LAST_LOGIN": False,
}
# So many failed log-ins of one user name from one address lock that pair out for so long.
LOGIN_FAILURES = env.integer("LOGIN_FAILURES", 5, least=1)
LOGIN_LOCK_SECONDS = env.integer("LOGIN_LOCK_SECONDS", 300, least=1)
AUDIT_DAYS = env.integer("AUDIT_DAYS", 0)  # how long the audit trail is kept; 0 is for ever

# The API

API_RATE = env.integer("API_RATE", 6000)  # requests a minute a user; 0 is no limit
TOKEN_RATE = env.integer("TOKEN_RATE", 30)  # log-ins and refreshes a minute an address; 0 is no limit
MAX_BODY_BYTES = 1_000_000
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_500_000  # the admin's forms
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["accounts.authentication.AccessTokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["aiwm_site.parsers.StrictJsonParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "aiwm_site.renderers.ForgivingNegotiation",
    "DEFAULT_RENDERER_CLASSES": ["aiwm_site.renderers.OrjsonRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "aiwm_site.errors.exception_handler",
    "DEFAULT_THROTTLE_CLASSES": ["accounts.throttling.UserThrottle"],
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = spectacular_settings(PUBLIC_URL)
CORS_ALLOWED_ORIGINS = env.words("FRONTEND_ORIGINS")
CORS_ALLOW_ALL_ORIGINS = DEBUG and not CORS_ALLOWED_ORIGINS
CORS_EXPOSE_HEADERS = ["Location", "ETag", "Retry-After", "X-Request-Id", "Idempotent-Replayed"]
CORS_ALLOW_HEADERS = [
    "accept", "authorization", "content-type", "idempotency-key", "if-match", "if-none-match", "x-org-id",
    "x-request-id",
]  # fmt: skip

# Who may read /metrics: nobody, unless one of these is set.
METRICS_TOKEN = env.text("METRICS_TOKEN")
METRICS_ALLOW = env.networks("METRICS_ALLOW")

# VMs

VM_BACKEND: dict[str, Any] = {
    "BACKEND": env.text("VM_BACKEND", "vmbackends.mock.MockBackend"),
    "OPTIONS": env.json_object("VM_BACKEND_OPTIONS"),
}
# Where operators keep the files of OS images, on the machine where they run `manage.py images`.
IMAGES_DIR = Path(env.text("IMAGES_DIR", str(VAR_DIR / "images")))
# A VLAN without a Network row is open to all, or unknown.
OPEN_VLANS = env.flag("OPEN_VLANS", DEBUG)
SHUTDOWN_SECONDS = env.number("SHUTDOWN_SECONDS", 60)  # before the power is cut
BOOT_SECONDS = env.number("BOOT_SECONDS", 300, least=1)  # before a first start counts as failed
SWEEP_SECONDS = env.number("SWEEP_SECONDS", 30, least=0.1)
SAMPLE_SECONDS = env.number("SAMPLE_SECONDS", 60, least=1)
CONSOLE_MINUTES = env.number("CONSOLE_MINUTES", 60, least=1)
LOG_DAYS = env.integer("LOG_DAYS", 90, least=1)
CURRENCY = env.text("CURRENCY", "USD")
# A price an hour of each unit; a month has 730 hours.
PRICES = {
    "vcpus": env.number("PRICE_VCPU", 0.02),
    "ramGB": env.number("PRICE_RAM_GB", 0.005),
    "diskGB": env.number("PRICE_DISK_GB", 0.0001),
    "gpus": env.number("PRICE_GPU", 2.5),
    "migSlices": env.number("PRICE_MIG_SLICE", 0.36),
}

# Workers

LEASE_SECONDS = env.number("LEASE_SECONDS", 90, least=1)
POLL_SECONDS = env.number("POLL_SECONDS", 0.5, least=0.01)

# Pages, files, logs

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
FORMAT_MODULE_PATH = "aiwm_site.formats"
STATIC_URL = "static/"
STATIC_ROOT = VAR_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = DEBUG
TESTING = "pytest" in sys.modules

LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "request_id": {"()": "aiwm_site.logs.RequestIdFilter"},
        "refusals": {"()": "aiwm_site.logs.RefusalFilter"},
    },
    "formatters": {
        "json": {"()": "aiwm_site.logs.JsonFormatter"},
        "plain": {"()": "aiwm_site.logs.PlainFormatter"},
    },
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "filters": ["request_id", "refusals"],
            "formatter": "plain" if DEBUG else "json",
        },
    },
    "root": {"handlers": ["stderr"], "level": env.one_of("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR"))},
    "loggers": {
        "django": {"level": "INFO"},  # without Django's own handler, which would print each line again
        "django.server": {"handlers": ["stderr"], "propagate": False},
    },
}
