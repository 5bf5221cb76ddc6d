"""`ETag`, `If-Match` and `If-None-Match` on the version of a row. RFC 9110, sections 8.8.3 and 13.1."""

import re

from common.errors import PreconditionFailed

_TAG = re.compile(r'(?:W/)?"[^"]*"|\*')
_VERSION = re.compile(r'"([0-9]{1,9})"')


def etag(version: int) -> str:
    return f'"{version}"'


def viewers_etag(version: int) -> str:
    """Of what a viewer is shown without what they may not do. It is no version that `If-Match` could ask for."""
    return f'"{version}-viewer"'


def required_versions(header: str | None) -> frozenset[int] | None:
    """The versions of which `If-Match` asks for one, or None where it asks for none (no header, or `*`).

    A weak tag is none of them: the comparison is the strong one. Raises PreconditionFailed where no tag is a version
    of ours, or where it is no list of tags: it can match nothing.
    """
    if header is None or header.strip() == "*":
        return None
    versions = frozenset(int(found[1]) for tag in _TAG.findall(header) if (found := _VERSION.fullmatch(tag)))
    is_list = not _TAG.sub("", header).strip(", \t") and "*" not in header
    if not versions or not is_list:
        raise PreconditionFailed(f"If-Match takes the ETag as GET gave it, such as {etag(3)}")
    return versions


def is_unchanged(header: str | None, tag: str) -> bool:
    """Whether `If-None-Match` names this tag: the caller has what we would send."""
    if header is None:
        return False
    return any(given in (tag, f"W/{tag}", "*") for given in _TAG.findall(header))
