"""A node that is reached over ssh, or over bare TCP, which is for laboratories."""

import os
import signal
import time
from dataclasses import replace

import pytest

from lab.node import Node
from tests.hypervisor import openssh
from tests.hypervisor.guests import guest_spec, node_ref
from tests.hypervisor.remote import address_of, log_of_a_new_vm, refusal, restart
from vmbackends.base import Power
from vmbackends.libvirt import LibvirtBackend

CONF = 'listen_tcp = 1\nauth_tcp = "none"\n'


def reached_over_ssh(node, key):
    return replace(node_ref(node), uri=f"qemu+ssh://root@{address_of(node)}/system?keyfile={key}")


def reached_over_tcp(node):
    return replace(node_ref(node), uri=f"qemu+tcp://{address_of(node)}/system")


@pytest.fixture(scope="module")
def keys(lab_packages, tmp_path_factory):
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def node(keys, tmp_path_factory):
    """It knows the key `known`, and stands in the file `known-hosts`."""
    node = Node("lab-ssh", tmp_path_factory.mktemp("lab-ssh"), mortal=True, listens=True)
    try:
        node.start()
        restart(node, (node.etc / "libvirtd.conf").read_text() + CONF)
        with openssh.served(node, openssh.make_key(keys / "known")) as host_key:
            (keys / "known-hosts").write_text(f"{address_of(node)} {host_key}")
            yield node
    finally:
        node.remove()


@pytest.fixture
def ssh_that_knows(monkeypatch, tmp_path):
    """Gives the worker an ssh, which finds these hosts where the machine's would find its own."""

    def know(hosts):
        folder = openssh.client(tmp_path / "bin", hosts)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    return know


def test_a_vm_is_made_over_ssh_and_its_log_is_read(node, keys, ssh_that_knows, backend, boot_sector):
    ssh_that_knows((keys / "known-hosts").read_text())
    ref = reached_over_ssh(node, keys / "known")

    assert backend.probe(ref).boot_id == node.boot_id
    assert "finished" in log_of_a_new_vm(backend, ref, boot_sector)[-1].message


def test_a_node_whose_host_key_is_not_known_is_not_spoken_to(node, keys, ssh_that_knows, backend):
    ssh_that_knows("")

    text = refusal(backend, reached_over_ssh(node, keys / "known"))

    assert "Host key verification failed" in text
    assert "/etc/ssh/ssh_known_hosts" in text


def test_a_key_that_the_node_does_not_know_is_told_what_to_look_at(node, keys, ssh_that_knows, backend):
    ssh_that_knows((keys / "known-hosts").read_text())
    openssh.make_key(keys / "unknown")

    text = refusal(backend, reached_over_ssh(node, keys / "unknown"))

    assert "Permission denied" in text
    assert "lets in the URI's user on the node" in text


def test_an_ssh_server_that_hangs_is_not_waited_for(node, keys, ssh_that_knows):
    ssh_that_knows((keys / "known-hosts").read_text())
    backend = LibvirtBackend(connect_s=1)
    pid = (node.folder / "sshd/pid").read_text().strip()
    node.run("kill", f"-{signal.SIGSTOP.value}", pid)
    began = time.monotonic()
    try:
        text = refusal(backend, reached_over_ssh(node, keys / "known"))
        took = time.monotonic() - began
    finally:
        node.run("kill", f"-{signal.SIGCONT.value}", pid)

    assert "did not answer within the time" in text
    assert took < 10
    backend._connections.close()


def test_a_vm_is_seen_over_tcp(node, backend):
    ref = reached_over_tcp(node)

    assert backend.probe(ref).boot_id == node.boot_id
    assert backend.domain(ref, guest_spec()).power is Power.MISSING
