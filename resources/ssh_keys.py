"""Whether a line is an SSH public key, as far as it can be told without decoding the whole of it."""

import base64
import re

KEY_TYPES = (
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
)

PRIVATE_KEY = "This is a private key. Keep it to yourself and paste the public key (the .pub file)"
ONE_LINE = "SSH public key must be a single line"
UNKNOWN_TYPE = f"Unknown SSH key type; use one of {', '.join(KEY_TYPES)}"
DSA = "DSA keys (ssh-dss) are no longer accepted by SSH servers; use an ssh-ed25519 key"
WRONG_DATA = "Invalid SSH public key format: its data does not match its type"

_PRIVATE = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY|PuTTY-User-Key-File|BEGIN SSH2 ENCRYPTED PRIVATE KEY")
_NOT_ONE_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# Whole data with its padding, or data that was cut short for display and says so with dots.
_DATA = re.compile(r"(?P<run>[A-Za-z0-9+/]+)(?:={0,2}|(?P<cut>\.{2,}|…))")


def fault_of(key: str) -> str | None:
    """What is wrong with an OpenSSH public key line (type, base64 data, comment), or None.

    The data of each type begins with the type's own name behind its length (RFC 4253, section 6.6). A key cut
    short with dots passes as far as it goes; a backend may want one that decodes whole.
    """
    if _PRIVATE.search(key):
        return PRIVATE_KEY
    if _NOT_ONE_LINE.search(key):
        return ONE_LINE
    kind, _, rest = key.partition(" ")
    if kind == "ssh-dss":
        return DSA
    if kind not in KEY_TYPES:
        return UNKNOWN_TYPE
    data = _DATA.fullmatch(rest.strip().partition(" ")[0])
    if data is None:
        return WRONG_DATA
    run = data["run"]
    start = base64.b64decode(run[: len(run) // 4 * 4])
    expected = len(kind).to_bytes(4, "big") + kind.encode()
    if not start or (len(start) <= len(expected) and not data["cut"]):
        return WRONG_DATA
    length = min(len(start), len(expected))
    return None if start[:length] == expected[:length] else WRONG_DATA
