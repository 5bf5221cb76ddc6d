import pytest

from nodes.uris import uri_fault


@pytest.mark.parametrize(
    "uri",
    [
        "qemu:///system",
        "qemu:///session",
        "qemu+unix:///system?socket=/run/libvirt/libvirt-sock",
        "qemu+tls://worker-01.example.com/system",
        "qemu+tls://worker-01.example.com:16514/system?pkipath=/etc/pki/aiwm&mode=direct",
        "qemu+ssh://aiwm@worker-01/system?keyfile=/etc/aiwm/id_ed25519&no_tty=1",
        "qemu+tcp://10.0.0.7/system",
        "qemu+tcp://[fd00::7]:16509/system",
        "test:///default",
    ],
)
def test_it_takes(uri):
    assert uri_fault(uri) is None


@pytest.mark.parametrize(
    ("uri", "word"),
    [
        ("qemu+ssh://w/system?command=/tmp/evil", "command is not allowed"),
        ("qemu+ssh://w/system?%63ommand=/tmp/evil", "command is not allowed"),
        ("qemu+ssh://w/system?netcat=/tmp/evil", "netcat is not allowed"),
        ("qemu+ssh://w/system?proxy=netcat", "proxy is not allowed"),
        ("qemu+ssh://w/system?no_verify=1", "no_verify is not allowed"),
        ("qemu+ssh://w/system?known_hosts=/etc/aiwm/known_hosts", "known_hosts is not allowed: qemu+ssh takes keyfile"),
        ("qemu+tls://w/system?no_verify=1", "no_verify is not allowed"),
        ("qemu+ssh://w/system?keyfile=/a;command=/tmp/evil", "keyfile has a value"),
        ("qemu+ssh://w/system?mode=auto;command=x", "mode has a value"),
        ("qemu+ssh://w/system?keyfile=/a&keyfile=/b", "twice"),
        ("qemu+ssh://w/system?keyfile", "name=value"),
        ("qemu+ssh://w/system?keyfile=/a%20-oProxyCommand=x", "keyfile has a value"),
        ("qemu+ssh://-oProxyCommand=x/system", "host"),
        ("qemu+ssh://-oProxyCommand@w/system", "user name"),
        ("qemu+ssh://me:secret@w/system", "no password"),
        ("qemu+ssh://:secret@w/system", "no password"),
        ("qemu+tls://me@w/system", "Only qemu+ssh"),
        ("qemu+ext:///system?command=/tmp/evil", "scheme"),
        ("qemu+libssh2://w/system", "scheme"),
        ("xen:///system", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("worker-01", "scheme"),
        ("qemu://w/system", "takes no host"),
        ("qemu+unix://w/system", "takes no host"),
        ("qemu+tls:///system", "must name the node's host"),
        ("qemu:///embed?root=/tmp", "path"),
        ("qemu+tls://w/", "path"),
        ("test:///etc/passwd", "path"),
        ("qemu+tls://w/system#x", "fragment"),
        ("qemu+tls://w:0/system", "port 0"),
        ("qemu+tls://w:x/system", "Must be"),
        ("qemu+tls://w:99999/system", "Must be"),
        ("qemu+tls://[w/system", "Must be"),
        ("qemu+tls://w /system", "without spaces"),
        ("qemu+tls://w/system\n", "without spaces"),
    ],
)
def test_it_refuses(uri, word):
    fault = uri_fault(uri)
    assert fault is not None
    assert word in fault
