"""Bodies of VMs as hypothesis draws them: good ones, with their limits drawn often, and parts of them gone wrong."""

import base64
import copy
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from hypothesis import strategies as st

from resources import config as schema

ED25519 = len(b"ssh-ed25519").to_bytes(4, "big") + b"ssh-ed25519" + (32).to_bytes(4, "big")


def within(least: int, most: int) -> st.SearchStrategy[int]:
    """Whole numbers, every other time one of the limits."""
    return st.sampled_from((least, least + 1, most - 1, most)) | st.integers(least, most)


def text(least: int, most: int, *, lines: bool = False) -> st.SearchStrategy[str]:
    # Cc are control characters, Cs halves of surrogate pairs: the parser of bodies lets none of these through. Cf turn
    # text around or show nothing, as do a few letters that are none.
    hidden = "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2028\u2029\u3164\uffa0"
    letters = st.characters(exclude_categories=("Cc", "Cf", "Cs"), exclude_characters=hidden)
    letters = letters | st.sampled_from("\t\r\n") if lines else letters
    return st.text(letters, min_size=least, max_size=most) | st.text("x", min_size=most, max_size=most)


names = text(1, schema.MAX_NAME).filter(lambda name: bool(name.strip()))
device_ids = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._:-]{0,39}\Z")
labels = st.from_regex(r"\A[A-Za-z][A-Za-z0-9-]{0,61}[A-Za-z0-9]\Z")
hostnames = st.lists(labels, min_size=1, max_size=4).map(".".join).filter(lambda name: len(name) <= 253)
public_keys = st.builds(
    lambda data, comment: f"ssh-ed25519 {base64.b64encode(ED25519 + data).decode()}{comment}",
    st.binary(min_size=32, max_size=32),
    st.sampled_from(("", " me@example.com", " two words")),
)
passwords = text(1, schema.MAX_PASSWORD)


@st.composite
def static_networks(draw: st.DrawFn) -> dict[str, Any]:
    """Two hosts of one subnet, the first and the last of it often."""
    first = draw(st.integers(1, 223).filter(lambda octet: octet not in (127, 169)))
    inside = IPv4Address((first << 24) + draw(st.integers(0, 2**24 - 1)))
    subnet = IPv4Network((int(inside), draw(within(1, 30))), strict=False)
    last = subnet.num_addresses - 2
    # Of a subnet larger than the first octet some addresses are loopback or multicast: there it stays where it is.
    host = draw(within(1, last)) if subnet.prefixlen >= 8 else min(max(int(inside) - int(subnet[0]), 1), last)
    gateway = draw(within(1, last).filter(lambda place: place != host))
    return {
        "mode": "bridge-vlan",
        "ipMode": "static",
        "ipAddress": str(subnet[host]),
        "netmask": str(subnet.netmask),
        "gateway": str(subnet[gateway]),
    }


networks = st.builds(
    lambda network, vlan: network if vlan is None else {**network, "vlanId": vlan},
    st.just({"mode": "bridge-vlan", "ipMode": "dhcp"}) | static_networks(),
    st.none() | within(schema.MIN_VLAN_ID, schema.MAX_VLAN_ID),
)
gpus = st.one_of(
    st.just({"enabled": False}),
    st.just({"enabled": False, "mode": "passthrough", "deviceIds": "whatever"}),
    st.builds(
        lambda ids: {"enabled": True, "mode": "passthrough", "deviceIds": ids},
        st.lists(device_ids, min_size=1, max_size=8, unique=True),
    ),
    st.builds(
        lambda profile: {"enabled": True, "mode": "mig", "migProfile": profile},
        st.from_regex(r"\A[1-7]g\.[1-9][0-9]{0,2}gb\Z"),
    ),
)


def _usernames(os_image: str) -> st.SearchStrategy[str]:
    if os_image.startswith("windows-"):
        return st.from_regex(r"\A[A-Za-z][A-Za-z0-9 _-]{0,18}[A-Za-z0-9]\Z")
    return st.from_regex(r"\A[a-z_][a-z0-9_-]{0,31}\Z")


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    os_image = draw(st.sampled_from([image.value for image in schema.OsImage]))
    cloud_init = st.fixed_dictionaries(
        {},
        optional={
            "hostname": hostnames,
            "sshPublicKey": public_keys,
            "username": _usernames(os_image),
            "password": passwords,
        },
    )
    return draw(
        st.fixed_dictionaries(
            {
                "type": st.just("virtual-machine"),
                "osImage": st.just(os_image),
                "vcpus": within(schema.MIN_VCPUS, schema.MAX_VCPUS),
                "ramMB": within(schema.MIN_RAM_MB, schema.MAX_RAM_MB),
                "diskGB": within(schema.MIN_DISK_GB, schema.MAX_DISK_GB),
                "networkConfig": networks,
            },
            optional={"gpuConfig": gpus | st.none(), "cloudInit": cloud_init | st.none()},
        )
    )


bodies = st.fixed_dictionaries(
    {
        "name": names,
        "resourceType": st.just("virtual-machine"),
        "nodeId": st.from_regex(r"\A[0-9a-f]{24}\Z"),
        "config": configs(),
    },
    optional={"description": text(0, schema.MAX_DESCRIPTION, lines=True) | st.none()},
)

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text(0, 20)
anything = st.recursive(
    scalars | st.sampled_from((2**63, -1, 0, "", "8", "static", "dhcp", "mig", "passthrough", "255.255.255.0")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text(0, 8), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def patches(draw: st.DrawFn) -> dict[str, Any]:
    """Some members of another good body, some of them null, and sometimes one that is anything."""
    patch = _some_of(draw, copy.deepcopy(draw(bodies)))  # a strategy may give the same object twice
    for section in ("networkConfig", "gpuConfig", "cloudInit"):
        inner = patch.get("config", {}).get(section) if isinstance(patch.get("config"), dict) else None
        if isinstance(inner, dict) and draw(st.booleans()):
            patch["config"][section] = _some_of(draw, inner)
    if draw(st.sampled_from((False, False, False, True))):
        gone_wrong(draw, patch)
    return patch


@st.composite
def bodies_gone_wrong(draw: st.DrawFn) -> dict[str, Any]:
    body: dict[str, Any] = copy.deepcopy(draw(bodies))
    gone_wrong(draw, body)
    return body


def gone_wrong(draw: st.DrawFn, document: dict[str, Any]) -> None:
    """Put anything in the place of something, at any depth, or beside it."""
    place: Any = document
    while True:
        inner = [key for key, value in place.items() if isinstance(value, dict)]
        if not inner or draw(st.booleans()):
            break
        place = place[draw(st.sampled_from(inner))]
    place[draw(st.sampled_from([*place, "turbo"]))] = draw(anything)


SELDOM = (False,) * 9 + (True,)


def _some_of(draw: st.DrawFn, document: dict[str, Any]) -> dict[str, Any]:
    chosen = draw(st.sets(st.sampled_from(sorted(document)))) if document else set()
    part = {key: document[key] for key in document if key in chosen}
    if "config" in part and draw(st.booleans()):
        part["config"] = _some_of(draw, part["config"])
    return {key: None if draw(st.sampled_from(SELDOM)) else value for key, value in part.items()}
