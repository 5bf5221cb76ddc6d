import pytest

from common.errors import PreconditionFailed
from common.etags import etag, required_version


@pytest.mark.parametrize(("header", "version"), [(None, None), ("*", None), ('"7"', 7), (' "7" ', 7), (etag(12), 12)])
def test_it_reads_if_match(header, version):
    assert required_version(header) == version


@pytest.mark.parametrize("header", ["7", 'W/"7"', '"x"', '"1", "2"', "", '"' + "9" * 30 + '"'])
def test_it_matches_nothing_else(header):
    with pytest.raises(PreconditionFailed):
        required_version(header)
