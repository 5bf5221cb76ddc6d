"""A process keeps a connection to each node for each thread that calls, hangs at none, and leaves alone what it cannot
reach."""

# ruff: noqa: E402  # what imports libvirt comes after the look whether it is there

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, nullcontext
from unittest.mock import Mock

import pytest

libvirt = pytest.importorskip("libvirt", reason="needs the extra `libvirt`")

from tests.vmbackends.specs import vm_spec
from vmbackends.base import NodeRef
from vmbackends.errors import NodeUnreachable, NotAsked, Refused
from vmbackends.libvirt import connections as module
from vmbackends.libvirt import longcalls, opening, reach, readings, shutdowns
from vmbackends.libvirt.connections import MOST_LINKS, Connections
from vmbackends.libvirt.opening import MOST_HANGING, without_questions
from vmbackends.libvirt.options import Options

URI = "test:///default"
NODE = NodeRef("675a1b2c3d4e5f6a7b8c9d0e", "worker-01", URI)
MOVED = NodeRef(NODE.id, NODE.name, f"{URI}?moved=1")
# Every attempt counts, and none is put off.
AT_ONCE = Options(connect_s=10, first_backoff_s=0, longest_backoff_s=0)
IMPATIENT = Options(connect_s=0.3, first_backoff_s=0, longest_backoff_s=0)


@pytest.fixture
def make_connections():
    with ExitStack() as stack:

        def make(options=AT_ONCE):
            connections = Connections(options)
            stack.callback(connections.close)
            return connections

        yield make


@pytest.fixture
def connections(make_connections):
    return make_connections()


@pytest.fixture
def impatient(make_connections):
    return make_connections(IMPATIENT)


@pytest.fixture
def opened(monkeypatch):
    """All the connections that are opened, in order."""
    real, made = libvirt.open, []

    def open_and_note(uri):
        made.append(real(uri))
        return made[-1]

    monkeypatch.setattr(libvirt, "open", open_and_note)
    return made


@pytest.fixture
def listener(tmp_path):
    """A unix socket that takes connections, and on which a test may answer or not."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "sock"))
        server.listen(20)
        yield server


def node_of(server):
    if server.family == socket.AF_UNIX:
        return NodeRef("1", "worker-02", f"qemu+unix:///system?socket={server.getsockname()}")
    return NodeRef("1", "worker-02", f"qemu+tcp://127.0.0.1:{server.getsockname()[1]}/system")


def use(connections, node=NODE):
    with connections.at(node, "look at its domains") as connection:
        return connection


def refused_text(connections, node):
    with pytest.raises(NodeUnreachable) as caught:
        use(connections, node)
    return caught.value.message


def break_link(connections, node=NODE):
    """What libvirt's close callback does when the daemon goes away."""
    connections._nodes[node.id]._links[0]._closed.set()


def until(condition, seconds=5):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.01)


def is_closed(connection):
    return connection._o is None


# One connection a thread


def test_it_gives_a_connection_that_works(connections):
    with connections.at(NODE, "look at its domains") as connection:
        assert [domain.name() for domain in connection.listAllDomains()] == ["test"]


def test_it_gives_the_same_connection_again(connections, opened):
    assert use(connections) is use(connections)
    assert len(opened) == 1


def test_it_gives_the_same_connection_within_a_call(connections, opened):
    with connections.at(NODE, "delete its disks") as outer, connections.at(NODE, "look at its domain") as inner:
        assert inner is outer
    assert len(opened) == 1


def test_it_gives_each_node_its_own(connections):
    other = NodeRef("675a1b2c3d4e5f6a7b8c9d0f", "worker-02", URI)

    assert use(connections) is not use(connections, other)


@contextmanager
def held(connections, count):
    """By as many threads at once, until the end or until the event that this gives is set."""
    got, end = [], threading.Event()

    def hold():
        with connections.at(NODE, "look at its domains") as connection:
            got.append(connection)
            end.wait(10)

    threads = [threading.Thread(target=hold) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: len(got) == count)
        assert len(set(map(id, got))) == count, "two threads have one connection"
        yield end
    finally:
        end.set()
        for thread in threads:
            thread.join()


def test_no_two_threads_have_one_at_once_and_those_that_come_later_have_it_again(connections, opened):
    with held(connections, 3):
        assert use(connections) is opened[3]
        assert use(connections) is opened[3]
    with held(connections, 4):
        assert len(opened) == 4


def test_where_too_many_are_in_use_it_waits_for_one_and_then_says_so(make_connections, opened):
    connections, got = make_connections(IMPATIENT), []
    with held(connections, MOST_LINKS) as end:
        with pytest.raises(
            NotAsked, match=rf"^Node worker-01 is too busy to look at its domains: {MOST_LINKS} calls "
        ) as told:
            use(connections)
        assert told.value.busy
        waits = threading.Thread(target=lambda: got.append(use(connections)))
        waits.start()
        end.set()
        waits.join()
    assert got[0] in opened
    assert len(opened) == MOST_LINKS


def test_there_is_room_beside_all_calls_that_may_hang():
    long_ones = longcalls.MOST_OF_A_NODE + longcalls.MOST_STARTS_OF_A_NODE
    may_hang = long_ones + readings.MOST_HANGING + 1 + shutdowns.MOST
    a_task, the_sweep, consoles = 1, 1, 1
    assert may_hang + a_task + the_sweep + consoles < MOST_LINKS


def test_those_that_nobody_needs_any_more_are_closed_but_for_one(connections, opened, monkeypatch):
    with held(connections, 3):
        pass
    assert not any(map(is_closed, opened))

    monkeypatch.setattr(module, "_IDLE_S", -1.0)
    assert use(connections) is opened[0]
    until(lambda: is_closed(opened[1]) and is_closed(opened[2]))
    assert not is_closed(opened[0])


def test_a_node_that_is_being_opened_holds_up_no_other(connections, listener):
    busy = threading.Thread(target=refused_text, args=(connections, node_of(listener)))
    busy.start()
    peer, _ = listener.accept()
    use(connections)

    assert busy.is_alive()
    peer.close()
    busy.join()


# When it is dropped


def look_up(connections, name, before=lambda: None):
    with connections.at(NODE, "start the domain", vm_spec(name="web-01")) as connection:
        before()
        connection.lookupByName(name)


def test_it_keeps_a_connection_over_refusals(connections, opened):
    with pytest.raises(
        Refused, match=r"^Node worker-01 could not start the domain \(VM web-01\): Domain not"
    ) as caught:
        look_up(connections, "none")
    use(connections)

    assert caught.value.code == libvirt.VIR_ERR_NO_DOMAIN
    assert len(opened) == 1


def test_it_keeps_a_connection_over_other_errors(connections, opened):
    with pytest.raises(KeyError), connections.at(NODE, "start the domain"):
        raise KeyError("x")
    use(connections)

    assert len(opened) == 1


def test_it_opens_anew_when_the_connection_broke(connections, opened):
    use(connections)
    break_link(connections)
    use(connections)

    assert len(opened) == 2
    until(lambda: is_closed(opened[0]))


def test_a_call_that_loses_its_connection_is_told_that_the_node_is_unreachable(connections, opened):
    with pytest.raises(NodeUnreachable, match=r"^Node worker-01 cannot be reached to start the domain \(VM web-01\): "):
        look_up(connections, "none", before=lambda: break_link(connections))

    until(lambda: is_closed(opened[0]))
    use(connections)
    assert len(opened) == 2


def test_it_opens_anew_when_the_uri_changed(connections, opened):
    use(connections)
    assert use(connections, MOVED).getURI() == MOVED.uri
    until(lambda: is_closed(opened[0]))
    assert not is_closed(opened[1])


def test_it_closes_no_connection_that_is_in_use(connections, opened):
    with connections.at(NODE, "look at its domains") as connection:
        use(connections, MOVED)
        connections.close()
        time.sleep(0.05)
        assert connection.getURI() == NODE.uri

    until(lambda: all(is_closed(connection) for connection in opened))


def test_it_lets_go_of_all_when_it_closes(connections, opened):
    use(connections)
    connections.subscribe(NODE, lambda *_: None)
    connections.close()

    until(lambda: is_closed(opened[0]))


# Opening takes no longer than it may


def test_it_sets_keepalive_on_what_goes_over_a_socket(connections, monkeypatch, listener):
    said = []

    class Fake:
        def setKeepAlive(self, *numbers):
            said.append(numbers)

        def registerCloseCallback(self, *_):
            pass

        def isAlive(self):
            return True

        def close(self):
            pass

        def unregisterCloseCallback(self):
            pass

    monkeypatch.setattr(opening, "sign_of_life", lambda *_: None)
    monkeypatch.setattr(libvirt, "open", lambda _uri: Fake())
    use(connections, node_of(listener))

    assert said == [(5, 3)]


@pytest.mark.parametrize("family", [socket.AF_UNIX, socket.AF_INET])
def test_it_does_not_wait_for_a_daemon_that_takes_connections_and_says_nothing(impatient, tmp_path, family):
    with socket.socket(family) as server:
        server.bind(str(tmp_path / "sock") if family == socket.AF_UNIX else ("127.0.0.1", 0))
        server.listen()
        begun = time.monotonic()
        text = refused_text(impatient, node_of(server))

    assert 0.25 < time.monotonic() - begun < 1
    assert text == (
        "Node worker-02 cannot be reached to look at its domains: it did not answer within the time. "
        "Check that it is on and runs libvirt."
    )


def test_it_does_not_wait_for_a_tls_daemon_that_says_nothing(impatient):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        text = refused_text(impatient, NodeRef("1", "worker-02", f"qemu+tls://127.0.0.1:{port}/system"))
        peer, _ = server.accept()
        with peer:
            assert (
                peer.recv(3)[:2] == b"\x16\x03"
            )  # a TLS handshake: https://www.rfc-editor.org/rfc/rfc8446#section-5.1

    assert "it did not answer within the time" in text


def test_it_does_not_wait_for_a_daemon_that_hangs_later_and_tries_so_no_more_than_a_few_times(impatient, listener):
    """A sign of life comes, and then nothing: libvirt's own call is left behind in its thread."""
    held = []

    def answer_each_hello():
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            held.append(peer)
            if peer.recv(28):
                peer.sendall(b"\0" if len(held) % 2 else b"")

    threading.Thread(target=answer_each_hello, daemon=True).start()
    node = node_of(listener)

    for _ in range(MOST_HANGING):
        assert "it did not answer within the time" in refused_text(impatient, node)
    assert "earlier attempts to connect hang still" in refused_text(impatient, node)
    assert len(held) == 2 * MOST_HANGING

    listener.shutdown(socket.SHUT_RDWR)
    for peer in held:
        peer.close()
    until(lambda: "nobody listens there" in refused_text(impatient, node))


def test_a_connection_that_comes_too_late_is_closed(impatient, opened, monkeypatch):
    noted, go_on = libvirt.open, threading.Event()
    monkeypatch.setattr(libvirt, "open", lambda uri: (go_on.wait(5), noted(uri))[1])

    assert "it did not answer within the time" in refused_text(impatient, NODE)
    go_on.set()

    until(lambda: opened and is_closed(opened[0]))


def test_it_does_not_call_libvirt_when_the_sign_of_life_comes_too_late(impatient, opened, monkeypatch):
    go_on, over = threading.Event(), threading.Event()
    monkeypatch.setattr(opening, "sign_of_life", lambda *_: (go_on.wait(5), over.set()))

    refused_text(impatient, NODE)
    go_on.set()
    over.wait(5)

    until(lambda: not any(thread.name == "libvirt-open" for thread in threading.enumerate()))
    assert opened == []


# What cannot be reached


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("qemu+unix:///system?socket=/nowhere/sock", "libvirt's socket is not there"),
        ("qemu+tcp://no-such-host.invalid/system", None),  # the resolver's words
        ("qemu+tcp://a..b/system", "its host's name is none"),
        ("", "it has no URI"),
        ("qemu+unix:///system?socket=/" + "x" * 120, "AF_UNIX path too long"),
    ],
)
def test_it_says_why_a_node_cannot_be_reached_and_does_not_tell_its_uri(make_connections, uri, reason):
    text = refused_text(make_connections(Options(connect_s=5)), NodeRef("1", "worker-02", uri))

    assert text.startswith(f"Node worker-02 cannot be reached to look at its domains: {reason or ''}")
    assert "://" not in text
    assert "nowhere" not in text


def test_nobody_listens(connections):
    with socket.create_server(("127.0.0.1", 0)) as server:
        node = node_of(server)

    assert "nobody listens there" in refused_text(connections, node)


def test_a_daemon_that_hangs_up_at_once_is_not_reached(connections, listener):
    def hang_up():
        peer, _ = listener.accept()
        peer.recv(28)
        peer.close()

    threading.Thread(target=hang_up, daemon=True).start()

    assert "the connection was closed at once" in refused_text(connections, node_of(listener))


@pytest.mark.parametrize(
    ("uri", "asked"),
    [
        ("qemu:///system", ["direct", "legacy"]),
        ("qemu:///system?mode=auto", ["direct", "legacy"]),
        ("qemu:///system?mode=legacy", ["legacy"]),
        ("qemu+unix:///system?mode=direct", ["direct"]),
        ("qemu:///session", []),
        ("qemu+ssh://no-such-host.invalid/system", []),
        ("test:///default", []),
    ],
)
def test_it_asks_the_sockets_that_the_uri_may_mean(monkeypatch, tmp_path, uri, asked):
    tried = []

    class Socket(socket.socket):
        def connect(self, path):
            tried.append(path)
            raise FileNotFoundError

    monkeypatch.setattr(reach, "_SYSTEM_SOCKETS", {"direct": "direct", "legacy": "legacy"})
    monkeypatch.setattr(socket, "socket", Socket)

    with pytest.raises(reach.Silent) if asked else nullcontext():
        reach.sign_of_life(uri, 1)

    assert tried == asked


def test_a_socket_that_the_worker_may_not_use(connections, listener, monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(reach, "_ask", refuse)

    assert "the worker may not use its socket" in refused_text(connections, node_of(listener))


def test_what_libvirt_says_when_it_cannot_connect_is_told(connections):
    missing = NodeRef("1", "worker-02", "test:///no/such/file")

    with pytest.raises(NodeUnreachable) as caught:
        use(connections, missing)

    assert caught.value.code == libvirt.VIR_ERR_XML_ERROR
    assert isinstance(caught.value.__cause__, libvirt.libvirtError)


def test_a_node_that_could_not_be_reached_is_left_alone_for_a_while(make_connections, opened, tmp_path):
    connections = make_connections(Options(connect_s=1, first_backoff_s=20))
    node = NodeRef("1", "worker-02", f"qemu+unix:///system?socket={tmp_path}/sock")

    assert "libvirt's socket is not there. Check" in refused_text(connections, node)
    assert refused_text(connections, node) == (
        "Node worker-02 cannot be reached to look at its domains: libvirt's socket is not there. "
        "It is not asked again for 20 s."
    )
    with pytest.raises(NotAsked), connections.at(node, "look at its domains"):
        pass
    use(connections, NodeRef("2", "worker-03", URI))  # another node is asked
    use(connections, NodeRef("1", "worker-02", URI))  # and so is this one at another URI
    assert len(opened) == 2


def test_a_node_is_asked_again_when_its_time_is_over(make_connections, monkeypatch):
    connections = make_connections(Options(connect_s=1, first_backoff_s=0.1))
    real = libvirt.open

    def fail(_uri):
        raise libvirt.libvirtError("no")

    monkeypatch.setattr(libvirt, "open", fail)
    refused_text(connections, NODE)
    monkeypatch.setattr(libvirt, "open", real)
    assert "It is not asked again for 1 s." in refused_text(connections, NODE)
    time.sleep(0.12)

    use(connections)


# Events


def destroy_and_start(connections, node=NODE):
    with connections.at(node, "start the domain") as connection:
        domain = connection.lookupByName("test")
        domain.destroy()
        domain.create()


STOPPED_AND_STARTED = [
    ("test", libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_DESTROYED),
    ("test", libvirt.VIR_DOMAIN_EVENT_STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_BOOTED),
]


def test_it_tells_of_what_befalls_domains(connections):
    told = []
    connections.subscribe(NODE, lambda *event: told.append(event))
    destroy_and_start(connections)

    until(lambda: len(told) == 2)
    assert told == STOPPED_AND_STARTED


def test_it_tells_on_a_connection_that_was_open_before(connections):
    told = []
    use(connections)
    connections.subscribe(NODE, lambda *event: told.append(event))
    destroy_and_start(connections)

    until(lambda: told == STOPPED_AND_STARTED)


@pytest.mark.parametrize("node", [NODE, MOVED])
def test_it_goes_on_telling_after_it_connected_anew(connections, opened, node):
    told = []
    connections.subscribe(NODE, lambda *event: told.append(event))
    use(connections)
    break_link(connections)
    use(connections, node)
    until(lambda: is_closed(opened[0]))
    destroy_and_start(connections, node)

    until(lambda: len(told) >= 2)
    time.sleep(0.05)
    assert told == STOPPED_AND_STARTED


def test_it_tells_once_however_many_connections_there_are_and_whichever_breaks(connections, opened):
    told = []
    connections.subscribe(NODE, lambda *event: told.append(event))
    with held(connections, 2):
        destroy_and_start(connections)
        until(lambda: len(told) >= 2)
    break_link(connections)
    use(connections)
    until(lambda: any(map(is_closed, opened)))  # a broken one would tell no more
    destroy_and_start(connections)

    until(lambda: len(told) >= 4)
    time.sleep(0.05)
    assert told == STOPPED_AND_STARTED * 2
    assert len(opened) == 3


def test_where_the_node_refuses_to_tell_nothing_is_subscribed_and_it_may_be_asked_again(connections, monkeypatch):
    told = []
    use(connections)
    with monkeypatch.context() as patch:
        patch.setattr(libvirt.virConnect, "domainEventRegisterAny", Mock(side_effect=libvirt.libvirtError("no")))
        with pytest.raises(Refused):
            connections.subscribe(NODE, lambda *event: told.append("in vain"))
    connections.subscribe(NODE, lambda *event: told.append(event))
    destroy_and_start(connections)

    until(lambda: len(told) >= 2)
    assert told == STOPPED_AND_STARTED


def test_a_callback_that_fails_is_logged_and_stops_no_other(connections, caplog):
    told = []

    def fail(*_):
        raise KeyError("of the callback")

    connections.subscribe(NODE, fail)
    connections.subscribe(NODE, lambda *event: told.append(event))
    with caplog.at_level(logging.ERROR):
        destroy_and_start(connections)
        until(lambda: len(told) == 2)

    assert "a callback for a domain's event failed" in caplog.text


# Processes


FORK = """
import os
from vmbackends.base import NodeRef
from vmbackends.libvirt.connections import Connections
from vmbackends.libvirt.options import Options

node = NodeRef("1", "worker-01", "test:///default")
connections = Connections(Options())

def name():
    with connections.at(node, "look at it") as connection:
        return connection.listAllDomains()[0].name()

name()
child = os.fork()
if not child:
    try:
        name()
    except RuntimeError as e:
        print(e, flush=True)
        os._exit(7)
    os._exit(1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), name())
"""


def test_a_forked_process_is_refused_and_takes_nothing_from_its_parent():
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORK],
        capture_output=True,
        text=True,
        timeout=30,
        env=os.environ | {"PYTHONPATH": os.getcwd()},
    )

    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "libvirt was in use before this process was forked; start a process of its own for it",
        "7 test",
    ]


@pytest.mark.parametrize(
    ("uri", "opened_as"),
    [
        ("qemu+ssh://root@h/system", "qemu+ssh://root@h/system?no_tty=1"),
        ("qemu+ssh://h/system?keyfile=/k", "qemu+ssh://h/system?keyfile=/k&no_tty=1"),
        ("qemu+ssh://h/system?no_tty=0", "qemu+ssh://h/system?no_tty=0"),
        ("qemu+tls://h/system", "qemu+tls://h/system"),
        ("qemu:///system", "qemu:///system"),
    ],
)
def test_ssh_asks_no_terminal_for_a_password(uri, opened_as):
    assert without_questions(uri) == opened_as
