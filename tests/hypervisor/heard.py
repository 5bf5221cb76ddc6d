"""Who answers for an IPv4 address on an Ethernet. A program of its own, run inside of a lab node.

It asks by ARP and by ping, in frames to everybody, and prints the MACs of those that answer, as JSON.
"""

import json
import socket
import struct
import sys
import time
from ipaddress import IPv4Address

SECONDS = 1.0
_EVERYBODY = b"\xff" * 6
_ARP, _IPV4, _ALL = 0x0806, 0x0800, 0x0003
_REQUEST, _REPLY = 1, 2
_ECHO, _ECHO_REPLY = 8, 0


def heard(interface: str, address: str, source: str) -> dict[str, list[str]]:
    """`source` is the asker's address, which nobody has."""
    target, own = IPv4Address(address).packed, IPv4Address(source).packed
    macs: dict[str, set[str]] = {"arp": set(), "ip": set()}
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL)) as wire:
        wire.bind((interface, 0))
        mac = wire.getsockname()[4]
        # Asked by ARP, a guest knows from then on where the asker is, and can answer its ping.
        for frame in (_arp(mac, own, target), _ping(mac, own, target)) * 2:
            wire.send(frame)
            _listen(wire, own, target, macs, SECONDS / 4)
    return {kind: sorted(found) for kind, found in macs.items()}


def _listen(wire: socket.socket, own: bytes, target: bytes, macs: dict[str, set[str]], seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        wire.settimeout(left)
        try:
            frame = wire.recv(2048)
        except TimeoutError:
            return
        (kind,) = struct.unpack_from("!H", frame, 12)
        if kind == _ARP and frame[20:22] == struct.pack("!H", _REPLY) and frame[28:32] == target:
            macs["arp"].add(frame[6:12].hex(":"))
        elif kind == _IPV4 and frame[26:34] == target + own and frame[34] == _ECHO_REPLY:
            macs["ip"].add(frame[6:12].hex(":"))


def _arp(mac: bytes, own: bytes, target: bytes) -> bytes:
    """RFC 826"""
    ethernet = struct.pack("!6s6sH", _EVERYBODY, mac, _ARP)
    return ethernet + struct.pack("!HHBBH6s4s6s4s", 1, _IPV4, 6, 4, _REQUEST, mac, own, bytes(6), target)


def _ping(mac: bytes, own: bytes, target: bytes) -> bytes:
    """RFC 792, in RFC 791"""
    icmp = struct.pack("!BBHHH", _ECHO, 0, 0, 1, 1)
    icmp = icmp[:2] + _checksum(icmp) + icmp[4:]
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(icmp), 0, 0, 64, socket.IPPROTO_ICMP, 0, own, target)
    head = head[:10] + _checksum(head) + head[12:]
    return struct.pack("!6s6sH", _EVERYBODY, mac, _IPV4) + head + icmp


def _checksum(data: bytes) -> bytes:
    """RFC 1071"""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(heard(*sys.argv[1:])))
