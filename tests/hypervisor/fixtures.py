"""Lab nodes with images, and who lives there: in the test's own process, or on a site of real workers."""

import pytest

from lab.asm import boot_sector as assemble
from lab.shell import run
from tests.hypervisor import estate, labsite
from tests.hypervisor.guests import node_ref
from vmbackends import get_backend

STUBBORN_BYTES = 1024**2


@pytest.fixture(scope="session")
def stubborn_guest(lab_packages, tmp_path_factory):
    """A qcow2 whose guest answers no button and writes without end."""
    folder = tmp_path_factory.mktemp("stubborn")
    source = estate.HERE / "stubborn.S"
    (folder / "raw").write_bytes(assemble(source).ljust(STUBBORN_BYTES, b"\0"))
    run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", folder / "raw", folder / "stubborn.qcow2")
    return folder / "stubborn.qcow2"


@pytest.fixture
def push_images(boot_sector, stubborn_guest):
    from vmbackends.libvirt import LibvirtBackend  # not before it is known that libvirt is there

    def push(*refs):
        backend = LibvirtBackend()
        for ref in refs:
            for image, file in ((estate.IMAGES["debian-12"], boot_sector), (estate.STUBBORN, stubborn_guest)):
                backend.push_image(ref, image, file, lambda sent: None)
        backend._connections.close()

    return push


@pytest.fixture
def backend():
    """The backend in the test's own process."""
    from vmbackends.libvirt import LibvirtBackend

    backend = LibvirtBackend()
    yield backend
    backend._connections.close()


@pytest.fixture
def labs(lab_nodes, push_images):
    """The two nodes with all images; whatever a test does to them and leaves there is put right."""
    push_images(*map(node_ref, lab_nodes))
    yield lab_nodes
    for lab in lab_nodes:
        estate.put_right(lab)


@pytest.fixture
def here(settings, transactional_db, labs):
    """The nodes' rows in the test's own database, and the backend in its process. Gives the nodes."""
    settings.VM_BACKEND = {"BACKEND": "vmbackends.libvirt.LibvirtBackend", "OPTIONS": estate.QUICK}
    estate.move_in([(lab.name, lab.uri, lab.boot_id) for lab in labs], estate.sizes(labs[0]))
    yield labs
    get_backend()._connections.close()


@pytest.fixture
def lab_site(site_of, migrated, labs):
    """Makes a site with the nodes' rows, and no worker yet."""

    def make(backend="vmbackends.libvirt.LibvirtBackend", options=None, **settings):
        return labsite.LabSite(site_of(migrated, **labsite.settings(backend, **options or {}) | settings), labs)

    return make
