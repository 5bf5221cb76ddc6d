"""Filters as libvirt is told of them. `AIWM_WRITE_GOLDEN=1` writes the golden files anew: read their diff."""

import os
from pathlib import Path

import pytest
from lxml import etree

from tests.vmbackends.libvirt.xml_schemas import faults_of
from vmbackends.libvirt.xml.nwfilters import DHCP, STATIC, filter_xml, same

GOLDEN = Path(__file__).parent / "golden_nwfilters"


@pytest.mark.parametrize("name", [STATIC, DHCP])
def test_it_builds_what_its_golden_file_says(name):
    golden = GOLDEN / f"{name}.xml"
    if os.environ.get("AIWM_WRITE_GOLDEN"):
        golden.write_text(filter_xml(name), encoding="utf-8")

    assert filter_xml(name) == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [STATIC, DHCP])
def test_it_fits_the_schema_of_libvirt(name):
    assert faults_of(filter_xml(name), "nwfilter") == []


def test_each_filter_keeps_its_uuid():
    ids = {etree.fromstring(filter_xml(name)).findtext("uuid") for name in (STATIC, DHCP, STATIC)}

    assert len(ids) == 2


def test_only_one_that_may_use_dhcp_asks_for_an_address():
    asks = {name: "255.255.255.255" in filter_xml(name) for name in (STATIC, DHCP)}

    assert asks == {STATIC: False, DHCP: True}


@pytest.mark.parametrize("name", [STATIC, DHCP])
def test_what_no_rule_accepts_is_dropped_in_both_directions(name):
    last = etree.fromstring(filter_xml(name)).findall("rule")[-1]

    assert (last.get("action"), last.get("direction"), last[0].tag, dict(last[0].attrib)) == (
        "drop",
        "inout",
        "mac",
        {},
    )


def test_there_is_no_other_filter():
    with pytest.raises(ValueError, match="no filter clean-traffic"):
        filter_xml("clean-traffic")


def test_filters_are_the_same_however_they_are_written():
    xml = filter_xml(STATIC)
    root = etree.fromstring(xml)
    for rule in root.iter("rule"):
        attributes = dict(rule.attrib)
        rule.attrib.clear()
        rule.attrib.update(dict(reversed(attributes.items())))
    other = etree.tostring(root, encoding="unicode").replace("\n", "\n\n")

    assert other != xml
    assert same(xml, other)
    assert not same(xml, xml.replace('priority="2"', 'priority="20"'))
