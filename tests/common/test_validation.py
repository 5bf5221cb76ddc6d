"""From pydantic's faults to ours."""

from typing import Annotated, Literal

import pytest
from pydantic import Field

from common.errors import FieldError, Malformed, ValidationFailed
from common.validation import StrictModel, custom_error, parse


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


def test_it_knows_its_own_codes_alone():
    assert custom_error("invalid", "No").type == "invalid"
    with pytest.raises(AssertionError):
        custom_error("wrong", "No")
