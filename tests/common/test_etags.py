import pytest

from common.errors import PreconditionFailed
from common.etags import etag, required_versions


@pytest.mark.parametrize(
    ("header", "versions"),
    [
        (None, None),
        ("*", None),
        ('"7"', {7}),
        (' "7" ', {7}),
        (etag(12), {12}),
        ('"1", "2"', {1, 2}),
        ('"1","2" ,, "2",', {1, 2}),
        ('W/"1", "2", "a, b"', {2}),
    ],
)
def test_it_reads_if_match(header, versions):
    assert required_versions(header) == versions


@pytest.mark.parametrize(
    "header", ["7", 'W/"7"', 'W/"7", W/"8"', '"x"', '"1", 2', '"1", *', '"1" "2', ", ,", "", '"' + "9" * 30 + '"']
)
def test_it_matches_nothing_else(header):
    with pytest.raises(PreconditionFailed):
        required_versions(header)
