"""Fields of an entity: how they are written, and what columns, bodies and tests need of a type.

A field is `name:type`. The types are those of `KINDS` and enumerations, `status:draft|sent|paid`;
a `?` behind the type lets the field be null.
"""

import re
from dataclasses import dataclass
from typing import Any, Final

from devtools.errors import UsageError, no_such
from devtools.new.names import camel, check_field

ENUMERATION: Final = "enumeration"
TEXT_WORDS: Final = ("Alder", "Birch", "Cedar", "Damson")

_VALUE: Final = re.compile(r"[a-z]+(_[a-z]+)*")


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of fields.

    Attributes:
        python: its type in rows.
        column: its type in a migration.
        accepted: its type in the body of a request.
        answered: its type in an answer.
        values: four of them, as JSON, in the order in which PostgreSQL sorts them.
        refused: what a request cannot have for it.
        last: SQL of a value behind all others, for a list in the order of a field that is null.
        order_column: type of the column with that value, in a migration.
        note: what its description adds.
        is_text: a search looks for its words.
        is_sorted: a list can have its order.
        is_filter: a list can have only those rows that have one value of it.
    """

    python: str
    column: str
    accepted: str
    answered: str
    values: tuple[Any, Any, Any, Any]
    refused: tuple[Any, ...]
    last: str = ""
    order_column: str = ""
    note: str = ""
    is_text: bool = False
    is_sorted: bool = False
    is_filter: bool = False


KINDS: Final = {
    "str": Kind(
        python="str",
        column="sa.Text()",
        accepted="Line",
        answered="str",
        values=TEXT_WORDS,
        refused=(5, "", "  ", "a\nb", "x" * 201),
        is_text=True,
        is_sorted=True,
    ),
    "text": Kind(
        python="str",
        column="sa.Text()",
        accepted="Text",
        answered="str",
        values=tuple(f"{word} trees.\nIn two lines." for word in TEXT_WORDS),  # type: ignore[arg-type]
        refused=(5, "a\x00b", "x" * 10_001),
        note="; may have several lines",
        is_text=True,
    ),
    "int": Kind(
        python="int",
        column="sa.Integer()",
        accepted="WholeNumber",
        answered="int",
        values=(1, 2, 3, 40),
        refused=("1", 1.5, True, 2**31),
        last="2147483647",
        order_column="sa.Integer()",
        note=", a whole number",
        is_sorted=True,
    ),
    "Decimal": Kind(
        python="Decimal",
        column="sa.Numeric(precision=12, scale=2)",
        accepted="Amount",
        answered="AmountNumber",
        values=(0.01, 19.5, 20, 300.25),
        refused=(-0.01, 0.001, 10_000_000_000, "dear", True),
        last="10000000000",
        order_column="sa.Numeric(precision=13, scale=2)",
        note=", with at most two decimals",
        is_sorted=True,
    ),
    "bool": Kind(
        python="bool",
        column="sa.Boolean()",
        accepted="StrictBool",
        answered="bool",
        values=(False, False, True, True),
        refused=("true", 1),
        is_filter=True,
    ),
    "date": Kind(
        python="date",
        column="sa.Date()",
        accepted="Day",
        answered="date",
        values=("1999-12-31", "2026-11-29", "2026-11-30", "2027-01-01"),
        refused=(0, "2026-02-30", "0001-01-01", "2026-11-30T00:00:00Z"),
        last="'infinity'",
        order_column="sa.Date()",
        is_sorted=True,
        is_filter=True,
    ),
    "datetime": Kind(
        python="datetime",
        column="sa.DateTime(timezone=True)",
        accepted="Moment",
        answered="datetime",
        values=(
            "1999-12-31T23:59:59Z",
            "2026-11-30T12:00:00Z",
            "2026-11-30T12:00:01Z",
            "2027-01-01T00:00:00Z",
        ),
        refused=(0, "2026-11-30", "2026-11-30T12:00:00", "0001-01-01T00:00:00+14:00"),
        last="'infinity'",
        order_column="sa.DateTime(timezone=True)",
        is_sorted=True,
    ),
    "UUID": Kind(
        python="uuid.UUID",
        column="sa.Uuid()",
        accepted="UUID",
        answered="UUID",
        values=(
            "01a20a18-1754-7618-bce7-f4d3b9cc0001",
            "01a20a18-1754-7618-bce7-f4d3b9cc0002",
            "01a20a18-1754-7618-bce7-f4d3b9cc0003",
            "01a20a18-1754-7618-bce7-f4d3b9cc0004",
        ),
        refused=(5, "x", "00000000-0000-0000-0000-00000000000g"),
        is_filter=True,
    ),
    "list[str]": Kind(
        python="list[str]",
        column="postgresql.ARRAY(sa.Text())",
        accepted="Tags",
        answered="list[str]",
        values=(["home"], ["home", "light"], ["food"], []),
        refused=("home", ["home"] * 21),
        note=": words it is found by; kept in lower case, each once",
    ),
}


@dataclass(frozen=True, slots=True)
class EntityField:
    """A field of an entity.

    Attributes:
        name: of the column and of the member.
        kind: its type.
        optional: it can be null.
        choices: the values of an enumeration, none of other types.
    """

    name: str
    kind: Kind
    optional: bool = False
    choices: tuple[str, ...] = ()

    @property
    def constant(self) -> str:
        """The name of its description in `schemas.py`."""
        return self.name.upper()

    @property
    def words(self) -> str:
        """Its name in a sentence."""
        return self.name.replace("_", " ")

    @property
    def is_list(self) -> bool:
        """It has several values, and is never null but empty."""
        return self.kind is KINDS["list[str]"]

    @property
    def required(self) -> bool:
        """A new row must have it."""
        return not self.optional and not self.is_list

    @property
    def is_sorted(self) -> bool:
        """A list can have its order; null has a place in it where the type has a last value."""
        return self.kind.is_sorted and (not self.optional or bool(self.kind.last))

    @property
    def is_filter(self) -> bool:
        """A list can have only those rows that have one value of it, or all of some tags."""
        return self.kind.is_filter or self.is_list

    @property
    def has_order_column(self) -> bool:
        """A column of its own has the order."""
        return self.is_sorted and self.optional

    @property
    def order_column(self) -> str:
        """The column that has its order."""
        return f"{self.name}_order" if self.has_order_column else self.name

    @property
    def null(self) -> str:
        """What an annotation adds where it can be null."""
        return " | None" if self.optional else ""

    def accepted(self, entity: str) -> str:
        """Its type in the body of a request.

        Args:
            entity: name of the entity's class.
        """
        return self.class_name(entity) if self.choices else self.kind.accepted

    def answered(self, entity: str) -> str:
        """Its type in an answer."""
        return self.class_name(entity) if self.choices else self.kind.answered

    def in_query(self, entity: str) -> str:
        """Its type in a query, where everything is text."""
        return "bool" if self.kind is KINDS["bool"] else self.accepted(entity)

    @property
    def filter_description(self) -> str:
        """What a list has that is asked for one value of it."""
        if self.kind is KINDS["bool"]:
            return "Only those where it is so, or only those where it is not."
        return f"Only those with this {self.words}."

    @property
    def condition(self) -> str:
        """SQL that an enumeration's column must meet."""
        values = ", ".join(f"'{choice}'" for choice in self.choices)
        return f"{self.name} IN ({values})"

    def class_name(self, entity: str) -> str:
        """The name of an enumeration's class."""
        return f"{entity}{camel(self.name)}"

    def description(self, word: str) -> str:
        """What it is, in a sentence.

        Args:
            word: what one entity is called.
        """
        said, _, last = self.words.rpartition(" ")
        if self.kind is KINDS["bool"]:
            whether = self.words.removeprefix("is ")
            return f"Whether it {'' if whether.startswith('has ') else 'is '}{whether}."
        if said and last in {"at", "on"}:
            return f"When it was {said}."
        if said and last == "id":
            return f"The `id` of its {said}."
        date = " date" if self.kind is KINDS["date"] and last != "date" else ""
        return f"The {self.words}{date} of the {word}{self.kind.note}."


def read_field(text: str) -> EntityField:
    """Read a field as it is written on a command line.

    Raises:
        UsageError: it cannot be read; the sentence says why.
    """
    name, colon, kind = text.partition(":")
    if not colon or not kind.rstrip("?"):
        raise UsageError(f"The field {text} has no type: write it as {name or 'title'}:str.")
    check_field(name)
    optional, kind = kind.endswith("?"), kind.removesuffix("?")
    if "|" in kind:
        return _enumeration(name, kind.split("|"), optional=optional)
    if kind not in KINDS:
        raise no_such(
            "type",
            kind,
            KINDS,
            f"Types are {', '.join(KINDS)} and enumerations such as draft|sent|paid.",
        )
    if optional and kind == "list[str]":
        raise UsageError(f"The field {name} is a list, which is empty rather than null: omit the ?")
    return EntityField(name, KINDS[kind], optional)


def read_fields(texts: list[str]) -> tuple[EntityField, ...]:
    """Read all fields of an entity.

    Raises:
        UsageError: one cannot be read, or a name is there twice.
    """
    fields = tuple(read_field(each) for each in texts)
    names = [each.name for each in fields]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"There are two fields named {name}.")
    if all(each.is_list for each in fields):
        raise UsageError("A list of words is not enough: add a field, such as --field name:str.")
    return fields


def _enumeration(name: str, choices: list[str], *, optional: bool) -> EntityField:
    for choice in choices:
        if not _VALUE.fullmatch(choice):
            raise UsageError(
                f"The field {name} cannot have the value {choice!r}: values have letters from a to"
                " z, and _ between words."
            )
    if len(set(choices)) < max(2, len(choices)):
        raise UsageError(f"The values of {name} must be two or more, each once.")
    if name in {"id", "filters"}:
        raise UsageError(f"An enumeration cannot be named {name}.")
    first, second = choices[:2]
    kind = Kind(
        python="str",
        column="sa.Text()",
        accepted="",
        answered="",
        values=(first, first, second, second),
        refused=("no such value", 5),
        is_filter=True,
    )
    return EntityField(name, kind, optional, tuple(choices))


__all__ = ["KINDS", "EntityField", "Kind", "read_field", "read_fields"]
