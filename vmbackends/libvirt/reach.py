"""Whether anybody answers where a URI leads, asked before libvirt is, which would wait for ever."""

import contextlib
import socket
import ssl
import struct
from urllib.parse import SplitResult, parse_qs, urlsplit

_PORTS = {"tcp": 16509, "tls": 16514}
# https://libvirt.org/uri.html#default-uri-choice: a modular daemon's socket, or the monolithic one's.
_SYSTEM_SOCKETS = {"direct": "/run/libvirt/virtqemud-sock", "legacy": "/run/libvirt/libvirt-sock"}

# The first call of every client, which needs no log-in: REMOTE_PROC_AUTH_LIST of REMOTE_PROGRAM, in XDR.
# https://libvirt.org/kbase/internals/rpc.html, src/remote/remote_protocol.x
_HELLO = struct.pack(">7I", 28, 0x20008086, 1, 66, 0, 0, 0)


class Silent(Exception):
    """Nobody answers; the message says how, and does not say where."""


def sign_of_life(uri: str, timeout_s: float) -> None:
    """Return if the libvirt daemon of this URI says anything at all. Raises Silent.

    That it takes a connection says little: the kernel does so for a daemon that is stopped or hangs. ssh is not
    asked, for its own configuration may lead it by another name, port or host; nor are sessions, whose
    daemon libvirt starts when it is needed.
    """
    parts = urlsplit(uri)
    transport = parts.scheme.partition("+")[2]
    try:
        if transport in _PORTS:
            _ask_remote(parts, transport, timeout_s)
        elif parts.scheme in ("qemu", "qemu+unix"):
            _ask_local(parts, timeout_s)
    except TimeoutError as e:
        raise Silent("it did not answer within the time") from e
    except ConnectionRefusedError as e:
        raise Silent("nobody listens there") from e
    except FileNotFoundError as e:
        raise Silent("libvirt's socket is not there") from e
    except PermissionError as e:
        raise Silent("the worker may not use its socket") from e
    except UnicodeError as e:
        raise Silent("its host's name is none") from e  # an empty part, or one that is too long
    except OSError as e:
        raise Silent(e.strerror or str(e)) from e


def _ask_remote(parts: SplitResult, transport: str, timeout_s: float) -> None:
    address = (parts.hostname or "", parts.port or _PORTS[transport])
    with socket.create_connection(address, timeout_s) as peer:
        _ask(peer, _tls_hello() if transport == "tls" else _HELLO)


def _ask_local(parts: SplitResult, timeout_s: float) -> None:
    query = parse_qs(parts.query)
    paths = query.get("socket") or _default_sockets(parts, query.get("mode", ["auto"])[0])
    failure: OSError | None = None
    for path in paths:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(timeout_s)
            try:
                peer.connect(path)
            except FileNotFoundError as e:
                failure = e
                continue
            _ask(peer, _HELLO)
            return
    if failure:
        raise failure


def _default_sockets(parts: SplitResult, mode: str) -> list[str]:
    if parts.path != "/system":
        return []
    return [_SYSTEM_SOCKETS[mode]] if mode in _SYSTEM_SOCKETS else list(_SYSTEM_SOCKETS.values())


def _ask(peer: socket.socket, hello: bytes) -> None:
    peer.sendall(hello)
    if not peer.recv(1):
        raise Silent("the connection was closed at once")


def _tls_hello() -> bytes:
    """The opening of a TLS handshake that goes no further; libvirt makes its own, and checks certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):  # it waits for the answer, which is not for it
        context.wrap_bio(incoming, outgoing, server_hostname="libvirt").do_handshake()
    return outgoing.read()
