"""Which libvirt connection URIs a node may have: https://libvirt.org/uri.html

Some parameters of a URI name a program that libvirt runs where the URI is opened, on the worker (`command`,
`proxy`, `netcat`), or switch off what proves the node's identity (`no_verify`). So what is not known here is refused.
So is `known_hosts`, which libvirt does not hand on to ssh: the node's key is looked for where ssh itself looks.
"""

import posixpath
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from urllib.parse import SplitResult, parse_qsl, urlsplit

_PATH = re.compile(r"/[A-Za-z0-9._/-]{1,200}")
_FLAG = re.compile(r"[01]")
_MODE = re.compile(r"auto|direct|legacy")
# What begins with a dash would be an option of ssh.
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\]")
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_PRINTABLE = re.compile(r"[!-~]{1,500}")

_LOCAL: Mapping[str, re.Pattern[str]] = {"socket": _PATH, "mode": _MODE}
_PARAMETERS: Mapping[str, Mapping[str, re.Pattern[str]]] = {
    "qemu": _LOCAL,
    "qemu+unix": _LOCAL,
    "qemu+tls": {"pkipath": _PATH, "mode": _MODE},
    "qemu+ssh": {"keyfile": _PATH, "socket": _PATH, "no_tty": _FLAG, "mode": _MODE},
    "qemu+tcp": {"mode": _MODE},
    "test": {},
}
_PORTS = {"qemu+tls": 16514, "qemu+tcp": 16509, "qemu+ssh": 22}
_USUAL_SOCKETS = ("/", "/run/libvirt/libvirt-sock", "/var/run/libvirt/libvirt-sock")
_OF_TLS = ("cacert.pem", "clientcert.pem", "clientkey.pem")
_REMOTE = ("qemu+tls", "qemu+ssh", "qemu+tcp")


def hypervisor_of(uri: str) -> tuple[str, int | None, str, str] | None:
    """What the URI leads to, by whichever transport and key: host, port where it is not the transport's own, path and
    socket. None for libvirt's own mock, of which each connection may be a node. https://libvirt.org/uri.html"""
    parts = urlsplit(uri)
    if parts.scheme == "test":
        return None
    host = (parts.hostname or "").rstrip(".")
    port = None if parts.port == _PORTS.get(parts.scheme) else parts.port
    path = f"{parts.username or ''}:/session" if parts.path == "/session" else parts.path  # each user has their own
    socket = posixpath.normpath(f"/{dict(parse_qsl(parts.query)).get('socket', '').lstrip('/')}")
    return host, port, path, "" if socket in _USUAL_SOCKETS else socket


def key_files(uri: str) -> list[PurePosixPath]:
    """What the URI says lies on the machine of the workers: the key of ssh, or what TLS is done with.

    https://libvirt.org/kbase/tlscerts.html
    """
    parameters = dict(parse_qsl(urlsplit(uri).query))
    files = [PurePosixPath(parameters["keyfile"])] if "keyfile" in parameters else []
    if "pkipath" in parameters:
        files += [PurePosixPath(parameters["pkipath"]) / name for name in _OF_TLS]
    return files


def uri_fault(uri: str) -> str | None:
    """What is wrong with a node's URI, in words for an operator, or None."""
    if not _PRINTABLE.fullmatch(uri):
        return "Must be a libvirt URI of printable ASCII characters without spaces"
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        return "Must be a libvirt URI such as qemu+tls://worker-01.example.com/system"
    parameters = _PARAMETERS.get(parts.scheme)
    if parameters is None:
        return f"The URI's scheme must be one of {', '.join(_PARAMETERS)}"
    if "#" in uri or port == 0:
        return "Must be a libvirt URI with no fragment, and no port 0"
    return _authority_fault(parts) or _path_fault(parts) or _parameters_fault(parts, parameters)


def _authority_fault(parts: SplitResult) -> str | None:
    user, at, host = parts.netloc.rpartition("@")
    if ":" in user:
        return "A URI must hold no password: let the worker use a key or a certificate"
    if parts.scheme not in _REMOTE:
        return f"{parts.scheme}:// takes no host: name the transport, as in qemu+tls://" if parts.netloc else None
    if at and (parts.scheme != "qemu+ssh" or not _USER.fullmatch(user)):
        return "Only qemu+ssh takes a user name, of letters, digits, dots, dashes and underscores"
    host = re.sub(r":[0-9]{1,5}$", "", host) if not host.endswith("]") else host
    return None if _HOST.fullmatch(host) else "The URI must name the node's host or address"


def _path_fault(parts: SplitResult) -> str | None:
    allowed = ("/default",) if parts.scheme == "test" else ("/system", "/session")
    return None if parts.path in allowed else f"The URI's path must be {' or '.join(allowed)}"


def _parameters_fault(parts: SplitResult, parameters: Mapping[str, re.Pattern[str]]) -> str | None:
    seen = set()
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        return "The URI's parameters must be name=value, joined by &"
    for name, value in pairs:
        pattern = parameters.get(name)
        if pattern is None:
            takes = f"takes {', '.join(parameters)}" if parameters else "takes none"
            return f"The parameter {name} is not allowed: {parts.scheme} {takes}"
        if name in seen:
            return f"The parameter {name} is given twice"
        if not pattern.fullmatch(value):
            return f"The parameter {name} has a value that is not allowed"
        seen.add(name)
    return None
