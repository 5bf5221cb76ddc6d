"""Where a request comes from, as far as it can be believed."""

from ipaddress import IPv6Address, ip_address, ip_network

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """The address of the client, or of the last proxy where the client's is not known.

    Each trusted proxy adds its peer to `X-Forwarded-For`, so that of N of them the Nth from the right is the
    client's. What stands left of it the client wrote itself.
    """
    peer = str(request.META.get("REMOTE_ADDR") or "")
    proxies: int = settings.TRUSTED_PROXIES
    if not proxies:
        return _canonical(peer)
    hops = str(request.META.get("HTTP_X_FORWARDED_FOR") or "").split(",")
    return (_canonical(hops[-proxies].strip()) if len(hops) >= proxies else "") or _canonical(peer)


def counted_as(address: str) -> str:
    """What failures and rates are counted by: an IPv6 client has a whole /64 to choose its address from."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(ip_network((int(parsed), 64), strict=False)) if isinstance(parsed, IPv6Address) else address


def _canonical(text: str) -> str:
    """One spelling an address; what is none, as the peer of a unix socket, is empty."""
    try:
        parsed = ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return str(mapped or parsed)
