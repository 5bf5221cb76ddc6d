"""Text as XML can hold it, and elements as text."""

import re

from lxml import etree

# All but the characters of https://www.w3.org/TR/xml/#charsets: no escape brings the others into a document.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
# What a reader of a single line would take for the end of it; libvirt refuses a title with one.
_LINE_ENDS = re.compile("[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")


def legal(text: str) -> str:
    """The text with U+FFFD for each character that XML has no way to write."""
    return _ILLEGAL.sub("\ufffd", text)


def one_line(text: str) -> str:
    """The same with a space for each end of a line."""
    return legal(_LINE_ENDS.sub(" ", text))


def document(root: "etree._Element") -> str:
    return etree.tostring(root, encoding="unicode", pretty_print=True)
