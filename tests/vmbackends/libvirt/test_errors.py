"""What libvirt raises becomes what backends raise, in words for an operator."""

# ruff: noqa: E402  # what imports libvirt comes after the look whether it is there

from dataclasses import replace

import pytest

libvirt = pytest.importorskip("libvirt", reason="needs the extra `libvirt`")

from tests.vmbackends.specs import vm_spec
from vmbackends.base import NodeRef
from vmbackends.errors import NodeUnreachable, NotSupported, Refused
from vmbackends.libvirt.errors import is_missing, is_transport, translated

NODE = NodeRef("675a1b2c3d4e5f6a7b8c9d0e", "worker-01", "qemu+ssh://deploy@10.0.0.1:2222/system?keyfile=/etc/aiwm/key")


def error_of(code, text="it failed", domain=libvirt.VIR_FROM_QEMU):
    error = libvirt.libvirtError(text)
    error.err = (code, domain, text, libvirt.VIR_ERR_ERROR, "", "", "", -1, -1)
    return error


def translation(error, what="start the domain", vm=None, **options):
    with pytest.raises(Exception) as caught, translated(NODE, what, vm, **options):
        raise error
    return caught.value


# Which error it becomes


@pytest.mark.parametrize(
    ("code", "domain"),
    [
        (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_RPC),  # "client socket is closed", "keepalive timeout"
        (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_FROM_RPC),  # "Cannot recv data", "Failed to connect socket"
        (libvirt.VIR_ERR_RPC, libvirt.VIR_FROM_STREAMS),
        (libvirt.VIR_ERR_INVALID_CONN, libvirt.VIR_FROM_NONE),
        (libvirt.VIR_ERR_NO_CONNECT, libvirt.VIR_FROM_NONE),
        (libvirt.VIR_ERR_AUTH_FAILED, libvirt.VIR_FROM_REMOTE),
        (libvirt.VIR_ERR_AUTH_UNAVAILABLE, libvirt.VIR_FROM_AUTH),
        (libvirt.VIR_ERR_GNUTLS_ERROR, libvirt.VIR_FROM_RPC),
        (libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_FROM_REMOTE),  # "transport in URL not recognised"
    ],
)
def test_a_node_that_does_not_answer_is_unreachable(code, domain):
    error = error_of(code, domain=domain)

    answer = translation(error)

    assert type(answer) is NodeUnreachable
    assert answer.code == code
    assert answer.__cause__ is error
    assert is_transport(error)


@pytest.mark.parametrize(
    "code",
    [
        libvirt.VIR_ERR_NO_SUPPORT,
        libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
        libvirt.VIR_ERR_ARGUMENT_UNSUPPORTED,
        libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
    ],
)
@pytest.mark.parametrize("domain", [libvirt.VIR_FROM_QEMU, libvirt.VIR_FROM_RPC])
def test_what_a_node_cannot_do_is_not_supported(code, domain):
    """An old node answers an unknown call in the name of the client's own RPC."""
    answer = translation(error_of(code, domain=domain))

    assert type(answer) is NotSupported
    assert answer.code == code


@pytest.mark.parametrize(
    "code",
    [
        libvirt.VIR_ERR_INTERNAL_ERROR,
        libvirt.VIR_ERR_SYSTEM_ERROR,
        libvirt.VIR_ERR_NO_DOMAIN,
        libvirt.VIR_ERR_OPERATION_INVALID,
        libvirt.VIR_ERR_AGENT_UNRESPONSIVE,
        libvirt.VIR_ERR_ACCESS_DENIED,
        libvirt.VIR_ERR_XML_ERROR,
    ],
)
def test_what_a_node_will_not_do_is_refused(code):
    answer = translation(error_of(code))

    assert type(answer) is Refused
    assert answer.code == code


def test_an_error_without_a_code_is_refused():
    answer = translation(libvirt.libvirtError("virDomainCreate() failed"))

    assert type(answer) is Refused
    assert answer.code is None


def test_a_domain_that_another_job_holds_may_be_asked_again():
    answer = translation(error_of(libvirt.VIR_ERR_OPERATION_TIMEOUT, "cannot acquire state change lock"))

    assert type(answer) is NodeUnreachable
    assert answer.busy
    assert answer.message == "Node worker-01 is too busy to start the domain: cannot acquire state change lock."


def test_what_a_node_says_of_its_own_daemons_is_refused():
    """virtlogd's socket fails on the node in the same words as the node's own would here."""
    error = error_of(libvirt.VIR_ERR_SYSTEM_ERROR, "Failed to connect socket to virtlogd", libvirt.VIR_FROM_RPC)

    assert type(translation(error, answers=lambda: True)) is Refused
    assert type(translation(error, answers=lambda: False)) is NodeUnreachable


def test_nothing_is_known_when_the_connection_broke_whatever_the_error_says():
    error = error_of(libvirt.VIR_ERR_OPERATION_FAILED, "stream had I/O failure", libvirt.VIR_FROM_STREAMS)

    assert type(translation(error, answers=lambda: False)) is NodeUnreachable


def test_other_errors_pass():
    refusal = Refused("Node worker-01 has no space")

    assert translation(refusal) is refusal
    assert isinstance(translation(KeyError("x")), KeyError)


def test_it_knows_what_is_missing():
    assert is_missing(error_of(libvirt.VIR_ERR_NO_DOMAIN))
    assert is_missing(error_of(libvirt.VIR_ERR_NO_STORAGE_VOL))
    assert is_missing(error_of(libvirt.VIR_ERR_NO_STORAGE_POOL))
    assert not is_missing(error_of(libvirt.VIR_ERR_OPERATION_INVALID))
    assert not is_missing(libvirt.libvirtError("no code"))


# What it says


def test_it_names_the_node_and_what_was_to_be_done():
    answer = translation(error_of(libvirt.VIR_ERR_OPERATION_INVALID, "domain is already running"))

    assert answer.message == "Node worker-01 could not start the domain: domain is already running."


def test_it_names_the_vm():
    answer = translation(error_of(libvirt.VIR_ERR_NO_SUPPORT), vm=replace(vm_spec(), name="web-01"))

    assert answer.message == "Node worker-01 cannot start the domain (VM web-01) as it is: it failed."


def test_it_says_what_to_look_at_when_a_node_does_not_answer():
    lost = translation(error_of(libvirt.VIR_ERR_RPC, "connection closed"))
    unknown = translation(error_of(libvirt.VIR_ERR_AUTH_FAILED, "authentication failed"))

    assert lost.message == (
        "Node worker-01 cannot be reached to start the domain: connection closed. Check that it is on and runs libvirt."
    )
    assert unknown.message.endswith("authentication failed. Check the keys or certificates of both.")


TLS = replace(NODE, uri="qemu+tls://worker-01.example.com/system?pkipath=/etc/aiwm/pki")


@pytest.mark.parametrize(
    ("node", "text", "mend"),
    [
        (
            TLS,
            "Cannot read CA certificate '/etc/aiwm/pki/cacert.pem': No such file or directory",
            "files in pkipath are there",
        ),
        (
            TLS,
            "The client certificate /etc/aiwm/pki/clientcert.pem has expired",
            "in date, and signed by its cacert.pem",
        ),
        (TLS, "Unable to set x509 key and certificate: Error while reading file.", "the worker's to read"),
        (TLS, "Unable to read TLS confirmation: Input/output error", "its name in tls_allowed_dn_list"),
        (TLS, "authentication failed: Failed to verify peer's certificate", "for the name in its URI"),
        (TLS, "Cannot recv data: The TLS connection was non-properly terminated.", "that it is on and runs libvirt"),
        (NODE, "Cannot recv data: Host key verification failed.: Connection reset by peer", "ssh_known_hosts"),
        (
            NODE,
            "Cannot recv data: @@@@@\r\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!  @\r\n",
            "ssh_known_hosts",
        ),
        (NODE, "Cannot recv data: deploy@h: Permission denied (publickey).: Connection reset by peer", "no passphrase"),
        (NODE, "authentication unavailable: no polkit agent available to authenticate action", "in the group libvirt"),
        (NODE, "Failed to connect socket to '/run/libvirt/libvirt-sock': Permission denied", "in the group libvirt"),
        (NODE, "Cannot recv data: ssh: connect to host h port 22: No route to host", "that it is on and runs libvirt"),
    ],
)
def test_it_says_what_to_mend_where_a_node_and_its_worker_do_not_know_each_other(node, text, mend):
    with pytest.raises(NodeUnreachable) as caught, translated(node, "look at its domains", answers=lambda: False):
        raise error_of(libvirt.VIR_ERR_SYSTEM_ERROR, text, libvirt.VIR_FROM_RPC)

    assert mend in caught.value.message
    assert "/etc/aiwm" not in caught.value.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"no connection driver available for {NODE.uri}", "no connection driver available for its URI"),
        ("bad 'qemu+tls://u:secret@h/system?x=1' given", "bad 'its URI' given"),
        ("Cannot recv data: deploy@10.0.0.1: Permission denied", "Cannot recv data: 10.0.0.1: Permission denied"),
        (
            "@@@@@@@@@@@@@@@@\r\n@     WARNING: UNPROTECTED PRIVATE KEY FILE!      @\r\n@@@@@@@@@@@@@@@@\r\nIt is.",
            "WARNING: UNPROTECTED PRIVATE KEY FILE! It is",
        ),
        ("(domain):1: no end\n<domain\n-------^\n", "(domain):1: no end <domain -------^"),
        ("It ends with a stop.", "It ends with a stop"),
    ],
)
def test_it_gives_libvirts_words_without_the_uri(text, said):
    answer = translation(error_of(libvirt.VIR_ERR_OPERATION_FAILED, text))

    assert answer.message == f"Node worker-01 could not start the domain: {said}."


OWN, OTHER = "692cdc80aabbccddee000001", "692cdc80aabbccddee000002"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"PCI device 0000:3b:00.0 is in use by driver QEMU, domain vm-{OTHER}",
         "PCI device 0000:3b:00.0 is in use by driver QEMU, another VM"),
        (f"domain 'vm-{OTHER}' already exists with uuid 1", "another VM already exists with uuid 1"),
        (f"lock of '/srv/aiwm/vm-{OTHER}-console.log.0'. Is it vm-{OTHER}?", "lock of another VM. Is it another VM?"),
        (f"domain 'vm-{OWN}' is not running: vm-{OWN}.qcow2", f"domain 'vm-{OWN}' is not running: vm-{OWN}.qcow2"),
        (f"in use by domain vm-{OTHER}0", f"in use by domain vm-{OTHER}0"),
        ("PCI device 0000:3b:00.0 is in use by driver QEMU, domain payroll-db",
         "PCI device 0000:3b:00.0 is in use by driver QEMU, another domain"),
        ("PCI device 0000:3b:00.0 is in use by driver QEMU, domain pay roll db",
         "PCI device 0000:3b:00.0 is in use by driver QEMU, another domain"),
        ("in use by driver QEMU, domain vm-payroll: no", "in use by driver QEMU, another domain: no"),
        ("domain 'pay roll' already exists with uuid 1", "another domain already exists with uuid 1"),
        ("Domain 'vm-payroll' exists already", "another domain exists already"),
        ("not valid, domain is not running", "not valid, domain is not running"),
    ],
)  # fmt: skip
def test_it_names_no_other_vm_to_the_owner_of_one(text, said):
    error = error_of(libvirt.VIR_ERR_OPERATION_INVALID, text)
    answer = translation(error, vm=replace(vm_spec(), id=OWN, name="web-01"))

    assert answer.message == f"Node worker-01 could not start the domain (VM web-01): {said}."


def test_it_names_vms_to_operators():
    answer = translation(error_of(libvirt.VIR_ERR_OPERATION_INVALID, f"in use by domain vm-{OTHER}"))

    assert f"vm-{OTHER}" in answer.message


def test_it_cuts_words_that_have_no_end():
    answer = translation(error_of(libvirt.VIR_ERR_XML_ERROR, "x" * 10_000))

    assert len(answer.message) < 600
    assert answer.message.endswith("x….")


def test_libvirt_prints_nothing_itself(capfd):
    with pytest.raises(libvirt.libvirtError):
        libvirt.open("test:///default").lookupByName("none")

    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Cannot access storage file '/var/lib/libvirt/aiwm/vm-1.qcow2' (as uid:64055)",
         "Cannot access storage file 'vm-1.qcow2' (as uid:64055)"),
        ("cannot open /dev/kvm: denied", "cannot open kvm: denied"),
        ("qemu-system-x86_64: -blockdev driver=file,filename=/srv/a/b.iso: no file",
         "qemu-system-x86_64: -blockdev driver=file,filename=b.iso: no file"),
        ("read 10/20 of them, and/or none", "read 10/20 of them, and/or none"),
    ],
)  # fmt: skip
def test_no_message_tells_where_a_node_keeps_its_files(said, shown):
    assert shown in translation(error_of(libvirt.VIR_ERR_INTERNAL_ERROR, said)).message
