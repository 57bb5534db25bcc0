"""Renders the templates of a service and of an entity, and reads what they need of the workspace.

The templates are Copier's. What they say depends on the fields in so many ways that each value with
a rule is made here, or by a field, and the templates only put them together.
"""

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from devtools.errors import UsageError
from devtools.new.fields import KINDS, EntityField
from devtools.new.names import Noun, camel
from service_platform.database.search import tsvector_of
from service_testing.declarations import declarations, next_port

TEMPLATES: Final = Path(__file__).parent / "templates"
WIDTH: Final = 68
"""Of a piece of text that is too long for one line."""

ROWS: Final = (1, 2, 0, 3)
"""Which of a type's four values the rows of the tests of lists have, in the order of creation."""

_REVISION: Final = re.compile(r'^revision = "(.+)"$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity that is to be made.

    Attributes:
        service: to which it belongs.
        noun: what it is called.
        fields: that it has.
        is_first: the service is made with it, and it has the service's name.
    """

    service: str
    noun: Noun
    fields: tuple[EntityField, ...]
    is_first: bool

    @property
    def package(self) -> str:
        """The package of its modules."""
        return self.service if self.is_first else f"{self.service}.{self.noun.several}"

    @property
    def segment(self) -> str:
        """Its own segment of the path."""
        return self.noun.several.replace("_", "-")

    @property
    def path(self) -> str:
        """The path of its list, below that of the version of the API."""
        return self.service if self.is_first else f"{self.service}/{self.segment}"


def render_service(entity: Entity, root: Path, folder: Path) -> None:
    """Render a service with its first entity.

    Args:
        entity: its first one.
        root: of the workspace.
        folder: where to; of the service, and empty.
    """
    values = _values(entity) | {"port": next_port(declarations(root)), "revision": "0001"}
    values |= {"slug": "initial", "down_revision": "None"}
    source = folder / "src" / entity.service
    _render("service", folder, values)
    _render("package", source, values)
    _render("entity", source, values)
    (source / "py.typed").touch()
    _render("migration", source / "migrations" / "versions", values)
    _render("service_tests", folder / "tests", values)
    _render("entity_tests", folder / "tests", values)


def render_entity(entity: Entity, root: Path, folder: Path) -> None:
    """Render a further entity of a service.

    Args:
        entity: which one.
        root: of the workspace.
        folder: where to; laid out as that of the service, and empty.

    Raises:
        UsageError: the migrations of the service cannot be continued.
    """
    source = Path("src") / entity.service
    number, latest = latest_revision(root / "services" / entity.service / source)
    values = _values(entity) | {"revision": f"{number + 1:04}", "slug": entity.noun.several}
    values |= {"down_revision": f'"{latest}"'}
    _render("entity", folder / source / entity.noun.several, values)
    _render("migration", folder / source / "migrations" / "versions", values)
    _render("entity_tests", folder / "tests" / entity.noun.several, values)


def latest_revision(source: Path) -> tuple[int, str]:
    """Return the number of the last migration of a service, and its revision.

    Args:
        source: the package of the service.

    Raises:
        UsageError: there is none with a number.
    """
    numbered = {
        int(file.name[:4]): file
        for file in (source / "migrations" / "versions").glob("[0-9][0-9][0-9][0-9]_*.py")
    }
    if numbered:
        number = max(numbered)
        if found := _REVISION.search(numbered[number].read_text("utf-8")):
            return number, found[1]
    raise UsageError(f"{source.name} has no numbered migration that a new one could follow.")


def _render(template: str, folder: Path, values: Mapping[str, Any]) -> None:
    import copier  # noqa: PLC0415 - half a second, which `./dev --help` need not wait

    copier.run_copy(
        str(TEMPLATES / template), folder, data=dict(values), defaults=True, quiet=True,
        overwrite=True,
    )  # fmt: skip


def _values(entity: Entity) -> dict[str, Any]:
    """Everything that the templates name."""
    noun, fields = entity.noun, entity.fields
    changed = next(field for field in fields if not field.is_list)
    filters = [field for field in fields if field.is_filter]
    texts = [field for field in fields if field.kind.is_text]
    sorts = [("created_at", "created_at"), ("updated_at", "updated_at")]
    sorts += [(field.name, field.order_column) for field in fields if field.is_sorted]
    return {
        "service": entity.service,
        "prefix": camel(entity.service),
        "package": entity.package,
        "path": entity.path,
        "segment": entity.segment,
        "is_first": entity.is_first,
        "noun": noun,
        "one": noun.one,
        "One": noun.class_name,
        "ONE": noun.one.upper(),
        "MANY": noun.several.upper() if noun.several != noun.one else f"{noun.one.upper()}_LIST",
        "fields": fields,
        "texts": texts,
        "filters": filters,
        "lists": [field for field in fields if field.is_list],
        "uses": {field.kind.accepted for field in fields},
        "sorts": sorts,
        "order_columns": sorted(column for _, column in sorts),
        "search_description": _search_description(texts),
        "search_sql": _search_sql(texts),
        "update_doc": _update_doc(entity),
        "new": {field.name: field.kind.values[0] for field in fields},
        "shown": {field.name: field.kind.values[1] for field in fields},
        "least": {field.name: field.kind.values[0] for field in fields if field.required},
        "omitted": {
            field.name: [] if field.is_list else None for field in fields if not field.required
        },
        "nulls": {field.name: None for field in fields if field.optional},
        "change": {changed.name: changed.kind.values[2]},
        "rows": _rows(fields),
        "filter_cases": _filter_cases(filters),
        "python": _python,
        "literal": _literal,
        "in_parentheses": _in_parentheses,
        "examples": _examples,
        "docstring": _docstring,
    }


def _rows(fields: tuple[EntityField, ...]) -> list[dict[str, Any]]:
    """The rows of the tests of lists; the last has only what it must."""
    return [
        {field.name: field.kind.values[place] for field in fields if place < 3 or field.required}
        for place in ROWS
    ]


def _filter_cases(filters: list[EntityField]) -> list[tuple[dict[str, Any], set[int]]]:
    """Queries of the tests of lists, each with the places of the rows it finds."""
    cases: list[tuple[dict[str, Any], set[int]]] = []
    for field in filters:
        has = {
            row: field.kind.values[place]
            for row, place in enumerate(ROWS)
            if place < 3 or field.required
        }
        asked: list[Any] = ["home", ["Home ", "light"]] if field.is_list else [has[0], has[1]]
        cases += [
            ({field.name: each}, {row for row, value in has.items() if _matches(value, each)})
            for each in asked
        ]
    return cases


def _matches(value: Any, asked: Any) -> bool:
    """Whether a list that is asked for a value has a row with this one."""
    if not isinstance(value, list):
        return bool(value == asked)
    tags = asked if isinstance(asked, list) else [asked]
    return {tag.strip().lower() for tag in tags} <= set(value)


def _search_description(texts: list[EntityField]) -> str:
    names = [field.words for field in texts]
    listed = " or ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} or {names[-1]}"
    return f"Search text: every word must begin a word of {listed}."


def _search_sql(texts: list[EntityField]) -> str:
    """What generates the column that is searched, as a migration writes it."""
    if not texts:
        return ""
    computed = tsvector_of(*(field.name for field in texts)).column.computed
    if computed is None:
        raise AssertionError("A column that is searched is generated.")
    return _pieces(str(computed.sqltext))


def _update_doc(entity: Entity) -> str:
    null = "; null removes a value" if any(field.optional for field in entity.fields) else ""
    return f"Changes of {entity.noun.a_word}. Omitted members stay as they are{null}."


def _examples(field: EntityField, *, answered: bool = False) -> str:
    """The argument with the examples of a field, where its type has none of its own."""
    value = field.kind.values[1]
    if field.choices or field.kind.accepted in {"StrictBool", "UUID"}:
        return ""
    if field.kind is KINDS["Decimal"] and not answered:
        return ""
    return f", examples=[{value!r}]"


def _python(value: Any) -> str:
    """A value as Python writes it; what repeats one thing very often is a product."""
    if isinstance(value, str | list) and len(value) > 20 and value == value[:1] * len(value):
        return f"{value[:1]!r} * {len(value)}"
    return repr(value)


def _literal(text: str) -> str:
    """A text as Python writes it, in several pieces where it is long."""
    return repr(text) if len(text) <= WIDTH else _pieces(text)


def _in_parentheses(text: str) -> str:
    """The same, where pieces need parentheses around them."""
    literal = _literal(text)
    return f"({literal})" if "\n" in literal else literal


def _pieces(text: str) -> str:
    pieces = textwrap.wrap(text, WIDTH, drop_whitespace=False, break_on_hyphens=False)
    return "\n".join(repr(piece) for piece in pieces)


def _docstring(text: str, indent: int = 4) -> str:
    """A docstring; its second sentence is a paragraph of its own where the line would be long."""
    if indent + len(text) + 6 <= 100:
        return f'"""{text}"""'
    first, _, rest = text.partition(". ")
    return f'"""{first}.\n\n{" " * indent}{rest}\n{" " * indent}"""'


__all__ = ["KINDS", "Entity", "latest_revision", "render_entity", "render_service"]
