"""`ETag`, `If-Match` and `If-None-Match` on the version of a row. RFC 9110, sections 8.8.3 and 13.1."""

import re

from common.errors import PreconditionFailed

_TAG = re.compile(r'(?:W/)?"[^"]*"|\*')
_VERSION = re.compile(r'"([0-9]{1,9})"')


def etag(version: int) -> str:
    return f'"{version}"'


def required_version(header: str | None) -> int | None:
    """The version that `If-Match` asks for, or None where it asks for none (no header, or `*`).

    Raises PreconditionFailed for a tag that is no version of ours: it can match nothing.
    """
    if header is None or header.strip() == "*":
        return None
    found = _VERSION.fullmatch(header.strip())
    if found is None:
        raise PreconditionFailed(f"If-Match takes the ETag as GET gave it, such as {etag(3)}")
    return int(found[1])


def is_unchanged(header: str | None, tag: str) -> bool:
    """Whether `If-None-Match` names this tag: the caller has what we would send."""
    if header is None:
        return False
    return any(given in (tag, f"W/{tag}", "*") for given in _TAG.findall(header))
