"""Volumes, pools and snapshots as libvirt is told of them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from tests.vmbackends.libvirt.xml_schemas import faults_of
from tests.vmbackends.specs import LONG_AGO
from vmbackends.libvirt.xml.pools import dir_pool_xml
from vmbackends.libvirt.xml.snapshots import lost_snapshot_xml, mark_of, marked, snapshot_xml
from vmbackends.libvirt.xml.text import legal
from vmbackends.libvirt.xml.trial import trial_xml
from vmbackends.libvirt.xml.volumes import clone_xml, raw_xml, upload_xml

GIB = 1024**3
DEFINITION = trial_xml("vm-1", "qemu", "qemu64", None)


@pytest.mark.parametrize(
    ("xml", "schema"),
    [
        (clone_xml("vm-1.qcow2", 100 * GIB, "/var/lib/aiwm/image & <x>.qcow2"), "storagevol"),
        (raw_xml("vm-1-console.log", 0), "storagevol"),
        (upload_xml("image-debian-12.qcow2", 425_000_001), "storagevol"),
        (dir_pool_xml("aiwm", "/var/lib/a & <b>"), "storagepool"),
        (snapshot_xml("692cdc80aabbccddeeff0001", "before <the> update & after"), "domainsnapshot"),
        (lost_snapshot_xml("s", "a & b", DEFINITION, with_memory=True, created_at=LONG_AGO), "domainsnapshot"),
        (lost_snapshot_xml("s", "a & b", DEFINITION, with_memory=False, created_at=LONG_AGO), "domainsnapshot"),
    ],
)
def test_it_fits_the_schema_of_libvirt(xml, schema):
    assert faults_of(xml, schema) == []


def test_a_clone_states_the_format_of_what_it_reads_from():
    volume = etree.fromstring(clone_xml("vm-1.qcow2", 100 * GIB, "/images/<a>.qcow2"))

    assert volume.findtext("name") == "vm-1.qcow2"
    assert volume.findtext("capacity") == str(100 * GIB)
    assert volume.find("capacity").get("unit") == "bytes"
    assert volume.find("target/format").get("type") == "qcow2"
    assert volume.findtext("backingStore/path") == "/images/<a>.qcow2"
    assert volume.find("backingStore/format").get("type") == "qcow2"


@pytest.mark.parametrize(("xml", "taken"), [(raw_xml("a", 4096), "0"), (upload_xml("a", 4096), "4096")])
def test_only_an_upload_takes_its_space_at_once(xml, taken):
    volume = etree.fromstring(xml)

    assert volume.findtext("capacity") == "4096"
    assert volume.findtext("allocation") == taken
    assert volume.find("target/format").get("type") == "raw"


def test_a_pool_is_a_folder():
    pool = etree.fromstring(dir_pool_xml("aiwm", "/srv/a & b"))

    assert pool.get("type") == "dir"
    assert pool.findtext("name") == "aiwm"
    assert pool.findtext("target/path") == "/srv/a & b"


@given(description=st.text(st.characters()))
@settings(deadline=None, derandomize=True, database=None)
def test_any_description_of_a_snapshot_comes_back(description):
    snapshot = etree.fromstring(snapshot_xml("s", description))

    assert snapshot.findtext("name") == "s"
    assert snapshot.findtext("description") == legal(description)


def test_a_snapshot_is_marked_in_each_definition_that_it_holds_and_keeps_the_newest_mark():
    ours = '<a:vm xmlns:a="urn:aiwm:vm:1">1</a:vm>'
    held = f"<domain><metadata>{ours}</metadata></domain><inactiveDomain><name>x</name></inactiveDomain>"
    once = marked(f"<domainsnapshot><name>s</name>{held}</domainsnapshot>", "first")
    snapshot = etree.fromstring(marked(once, "2026-01-01T00:00:00+00:00 & <more>"))

    assert snapshot.findtext("name") == "s"
    assert snapshot.findtext("domain/metadata/{urn:aiwm:vm:1}vm") == "1"
    assert snapshot.find("metadata") is None
    for definition in ("domain", "inactiveDomain"):
        (mark,) = snapshot.iterfind(f"{definition}/metadata/{{urn:aiwm:restore:1}}mark")
        assert mark_of(etree.tostring(mark, encoding="unicode")) == "2026-01-01T00:00:00+00:00 & <more>"
