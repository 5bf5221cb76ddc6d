import pytest
from django.http import QueryDict

from common.errors import ValidationFailed
from common.paging import MAX_PAGE, Page, pagination_document, parse_page


def faults(query: str, allowed: set[str] = frozenset()) -> list[tuple[str, str]]:
    with pytest.raises(ValidationFailed) as refused:
        parse_page(QueryDict(query), allowed)
    return [(error.field, error.code) for error in refused.value.errors]


def test_it_has_defaults():
    assert parse_page(QueryDict("")) == Page(1, 20)


def test_it_reads_page_and_limit():
    page = parse_page(QueryDict("page=3&limit=100"))
    assert (page.offset, page.end) == (200, 300)


@pytest.mark.parametrize("value", ["0", "-1", "101", "x", "1.5", "", " 1", "%D9%A1", "1e1", "9" * 30])
def test_it_refuses_limits(value):
    assert faults(f"limit={value}") == [("limit", "invalid")]


@pytest.mark.parametrize("value", ["0", "-1", "x", str(MAX_PAGE + 1), "9" * 5000])
def test_it_refuses_pages(value):
    assert faults(f"page={value}") == [("page", "invalid")]


def test_it_takes_pages_far_past_the_end():
    assert parse_page(QueryDict(f"page={MAX_PAGE}&limit=100")).end < 2**63


def test_it_names_every_fault_at_once():
    assert faults("page=0&limit=x&colour=red&sort=up", {"sort"}) == [
        ("colour", "unknown_parameter"),
        ("page", "invalid"),
        ("limit", "invalid"),
    ]


def test_it_refuses_a_parameter_given_twice():
    assert faults("page=1&page=2") == [("page", "repeated")]


def test_it_takes_a_plain_mapping_too():
    assert parse_page({"page": "2", "q": "x"}, {"q"}) == Page(2, 20)


@pytest.mark.parametrize(("total", "pages"), [(0, 0), (1, 1), (20, 1), (21, 2)])
def test_it_counts_pages(total, pages):
    assert pagination_document(total, Page()) == {"total": total, "page": 1, "limit": 20, "totalPages": pages}
