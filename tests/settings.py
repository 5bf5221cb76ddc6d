"""The site's settings as the tests run them: no delays, no limits of rate, cheap password hashes."""

import os

os.environ.setdefault("SECRET_KEY", "a-key-for-the-tests-alone-" + "0" * 40)
os.environ.setdefault("SECRETS_KEY", "another-key-for-the-tests-alone-" + "0" * 40)
os.environ.setdefault("VM_BACKEND_OPTIONS", '{"deploy_s": 0, "stop_s": 0, "restore_s": 0, "down": ["worker-03"]}')
os.environ.setdefault("API_RATE", "0")
os.environ.setdefault("TOKEN_RATE", "0")
os.environ.setdefault("OPEN_VLANS", "1")

from aiwm_site.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
WHITENOISE_AUTOREFRESH = True  # no collected files are needed
