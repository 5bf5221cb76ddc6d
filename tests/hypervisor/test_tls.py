"""A node that is reached over its network, with certificates made as docs/nodes.md has operators make them."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lab.node import Node
from lab.shell import run
from tests.hypervisor.guests import node_ref
from tests.hypervisor.remote import address_of, log_of_a_new_vm, refusal, restart

PAGE = Path(__file__).parents[2] / "docs/nodes.md"
CONF = """
listen_tls = 1
ca_file = "/etc/libvirt/pki/ca-cert.pem"
cert_file = "/etc/libvirt/pki/node-cert.pem"
key_file = "/etc/libvirt/pki/node-key.pem"
"""


def authority(folder, *changes):
    """Run what the page says in this folder, with other words in some places."""
    [script] = [block for block in re.findall(r"```bash\n(.*?)```", PAGE.read_text(), re.DOTALL) if "certtool" in block]
    for old, new in changes:
        assert old in script
        script = script.replace(old, new)
    folder.mkdir()
    run("sh", "-ec", script, cwd=folder)
    return folder


def pkipath(folder, made):
    folder.mkdir()
    for name, source in {"cacert": "ca-cert", "clientcert": "worker-cert", "clientkey": "worker-key"}.items():
        shutil.copy(made / f"{source}.pem", folder / f"{name}.pem")
    return folder


def reached_over_tls(node, pki, address):
    return replace(node_ref(node), uri=f"qemu+tls://{address}/system?pkipath={pki}")


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return tmp_path_factory.mktemp("certificates")


@pytest.fixture(scope="module")
def node(lab_packages, certificates, tmp_path_factory):
    """Its certificate is for its address in the untagged network; it has others, in VLANs."""
    node = Node("lab-tls", tmp_path_factory.mktemp("lab-tls"), mortal=True, listens=True)
    try:
        node.start()
        made = authority(
            certificates / "made", ("dns_name = worker-01.example.com", f"ip_address = {address_of(node)}")
        )
        (node.etc / "pki").mkdir()
        for name in ("ca-cert.pem", "node-cert.pem", "node-key.pem"):
            shutil.copy(made / name, node.etc / "pki")
        [who] = re.findall(r"^printf '(tls_allowed_dn_list.*)\\n' >>", PAGE.read_text(), re.MULTILINE)
        restart(node, (node.etc / "libvirtd.conf").read_text().replace("listen_tls = 0\n", "") + CONF + f"{who}\n")
        yield node
    finally:
        node.remove()


@pytest.fixture(scope="module")
def pki(certificates, node):
    return pkipath(certificates / "workers", certificates / "made")


def test_a_vm_is_made_over_tls_and_its_log_is_read(node, pki, backend, boot_sector):
    ref = reached_over_tls(node, pki, address_of(node))

    assert backend.probe(ref).boot_id == node.boot_id
    assert "finished" in log_of_a_new_vm(backend, ref, boot_sector)[-1].message


def test_a_node_of_another_name_is_not_spoken_to(node, pki, backend):
    text = refusal(backend, reached_over_tls(node, pki, address_of(node, 100)))

    assert "Failed to verify peer's certificate" in text
    assert "for the name in its URI" in text


def test_a_worker_whom_the_node_does_not_know_is_told_where_it_is_let_in(node, pki, backend, tmp_path):
    stranger = pkipath(tmp_path / "stranger", pki.parent / "made")
    (stranger / "clientcert.pem").write_bytes((node.etc / "pki/node-cert.pem").read_bytes())
    (stranger / "clientkey.pem").write_bytes((node.etc / "pki/node-key.pem").read_bytes())

    assert "tls_allowed_dn_list" in refusal(backend, reached_over_tls(node, stranger, address_of(node)))


def test_a_worker_of_another_authority_is_told_what_to_look_at(node, pki, backend, tmp_path):
    foreign = pkipath(tmp_path / "foreign", pki.parent / "made")
    (foreign / "cacert.pem").write_bytes((authority(tmp_path / "other") / "ca-cert.pem").read_bytes())

    assert "signed by its cacert.pem" in refusal(backend, reached_over_tls(node, foreign, address_of(node)))
