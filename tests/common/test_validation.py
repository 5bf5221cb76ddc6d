"""From pydantic's faults to ours."""

import re
from typing import Annotated, Literal

import pytest
from pydantic import Field

from common.errors import FieldError, Malformed, ValidationFailed
from common.schemas import schema_of
from common.validation import NO_CONTROL, NO_CONTROL_BUT_LINES, NOT_BLANK, StrictModel, custom_error, parse


class Cat(StrictModel):
    type: Literal["cat"]
    lives: int = Field(ge=1, le=9000)


class Dog(StrictModel):
    type: Literal["dog"]
    tricks: list[str] = Field(default=[], max_length=2)


class Owner(StrictModel):
    first_name: str = Field(alias="firstName", min_length=2, max_length=5)
    pet: Annotated[Cat | Dog, Field(discriminator="type")]


def faults(data, messages=None, prefix=""):
    with pytest.raises(ValidationFailed) as caught:
        parse(Owner, data, messages, prefix)
    return list(caught.value.errors)


def test_it_gives_the_model():
    owner = parse(Owner, {"firstName": "Ada", "pet": {"type": "cat", "lives": 9}})
    assert owner.first_name == "Ada"
    assert isinstance(owner.pet, Cat)


@pytest.mark.parametrize("data", [None, [], "x", 1])
def test_it_calls_what_is_no_object_malformed(data):
    with pytest.raises(Malformed):
        parse(Owner, data)


def test_it_leaves_the_tag_of_a_union_out_of_the_path():
    assert faults({"firstName": "Ada", "pet": {"type": "cat"}}) == [
        FieldError("pet.lives", "required", "This field is required")
    ]
    assert faults({"firstName": "Ada", "pet": {"type": "dog", "tricks": ["a", 1]}}) == [
        FieldError("pet.tricks.1", "type", "Must be text")
    ]
    assert faults({"firstName": "Ada", "pet": {"type": "dog", "dog": 1}}) == [
        FieldError("pet.dog", "unknown_field", "Unknown field")
    ]


def test_it_blames_the_tag_itself():
    assert faults({"firstName": "Ada", "pet": {}}) == [FieldError("pet.type", "required", "This field is required")]
    assert faults({"firstName": "Ada", "pet": {"type": "fish"}}) == [
        FieldError("pet.type", "enum", "Must be one of cat, dog")
    ]
    assert faults({"firstName": "Ada", "pet": 1}) == [FieldError("pet", "type", "Must be an object")]


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("A", "min", "Must have at least 2 characters"),
        ("Augusta", "max", "Must have at most 5 characters"),
        (None, "required", "This field is required"),
        (1, "type", "Must be text"),
    ],
)
def test_it_has_words_of_its_own(name, code, message):
    assert faults({"firstName": name, "pet": {"type": "cat", "lives": 9}}) == [FieldError("firstName", code, message)]


@pytest.mark.parametrize(
    ("lives", "message"), [(1.5, "Must be a whole number"), ("9", "Must be a number"), (True, "Must be a number")]
)
def test_it_tells_a_fraction_from_what_is_no_number(lives, message):
    assert faults({"firstName": "Ada", "pet": {"type": "cat", "lives": lives}}) == [
        FieldError("pet.lives", "type", message)
    ]


def test_it_writes_large_limits_so_that_they_can_be_read():
    assert faults({"firstName": "Ada", "pet": {"type": "cat", "lives": 9001}})[0].message == "Must be at most 9,000"


def test_it_takes_the_words_given_for_a_path_or_for_any_entry_of_a_list():
    data = {"firstName": 1, "pet": {"type": "dog", "tricks": [1]}}
    messages = {("firstName", "type"): "A name, please", ("pet.tricks.*", "type"): "A trick, please"}
    assert [error.message for error in faults(data, messages)] == ["A name, please", "A trick, please"]


def test_it_puts_a_prefix_before_every_path_and_looks_words_up_with_it():
    found = faults({"pet": {"type": "cat", "lives": 9}}, {("owner.firstName", "required"): "Whose?"}, "owner")
    assert found == [FieldError("owner.firstName", "required", "Whose?")]


class Named(StrictModel):
    name: str = Field(default="", pattern=NO_CONTROL)
    not_blank: str = Field(default="x", pattern=NOT_BLANK)
    description: str = Field(default="", pattern=NO_CONTROL_BUT_LINES)


TURNING = [*range(0x202A, 0x202F), *range(0x2066, 0x206A)]
INVISIBLE = [
    0xAD,
    0x61C,
    0x180E,
    0x200B,
    0x200E,
    0x200F,
    0x2060,
    0x2063,
    0x206A,
    0x3164,
    0xFEFF,
    0xFFFB,
    0x1D173,
    0xE0041,
]

EDGES = [
    *range(0x2100), 0x3000, *range(0x3160, 0x3168), *range(0xFE00, 0x10000), *range(0x1BC9E, 0x1BCA6),
    *range(0x1D170, 0x1D17D), *range(0x1F3F0, 0x1F3FF), *range(0xDFFFE, 0xE0002), *range(0xE007E, 0xE0102),
]  # fmt: skip


@pytest.mark.parametrize("code", [*TURNING, *INVISIBLE, 0x0, 0x1B, 0x7F, 0x85, 0x2028, 0x200C, 0x200D])
def test_no_name_has_what_makes_it_look_like_another(code):
    with pytest.raises(ValidationFailed):
        parse(Named, {"name": f"we{chr(code)}b"})


@pytest.mark.parametrize(
    "name",
    [
        "web-01 (test)",
        "Ü ñ ł Ω я 数据 データ שרת خادم",
        "\N{WOMAN}\u200d\N{PERSONAL COMPUTER}",
        "\N{EYE}\ufe0f\u200d\N{LEFT SPEECH BUBBLE}\ufe0f",
        "\N{HEAVY BLACK HEART}\ufe0f 1\ufe0f\u20e3",
        "\N{WHITE FLAG}\ufe0f\u200d\N{RAINBOW}",
        "می\u200cخواهم",
        "क्\u200dष",
    ],
)
def test_a_name_may_have_emoji_and_any_script(name):
    assert parse(Named, {"name": name}).name == name


def test_a_text_may_have_lines_and_what_comes_with_copying_and_nothing_that_turns_it_around():
    text = "one\r\n\ttwo\u200b\u00ad שלום\u200f!"
    assert parse(Named, {"description": text}).description == text
    for code in (*TURNING, 0x0, 0x1B):
        with pytest.raises(ValidationFailed):
            parse(Named, {"description": chr(code)})


def test_the_openapi_document_has_the_same_patterns_in_words_that_every_reader_knows():
    shown = schema_of(Named, "validation")["properties"]
    # In Python a `$` alone would also be the place before a line end.
    patterns = {name: re.compile(about["pattern"][:-1] + r"\Z") for name, about in shown.items()}
    for character in map(chr, EDGES):
        for text in (f"a{character}b", f"\N{EYE}{character}b", f" {character}", f"{character}\u200d"):
            for name, pattern in patterns.items():
                assert bool(pattern.match(text)) == accepted(name, text), (name, ascii(text))


def accepted(name, text):
    try:
        parse(Named, {name: text})
    except ValidationFailed:
        return False
    return True


def test_it_knows_its_own_codes_alone():
    assert custom_error("invalid", "No").type == "invalid"
    with pytest.raises(AssertionError):
        custom_error("wrong", "No")
