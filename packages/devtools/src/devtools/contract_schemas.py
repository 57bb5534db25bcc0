"""Compares two JSON Schemas of OpenAPI 3.1: does whoever relied on the old one break by the new?

What is sent must be accepted. A request is sent by the old schema and accepted by the new one, a
response is sent by the new one and accepted by the old one: one comparison, in two directions.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

Schema = Mapping[str, Any]
Direction = Literal["request", "response"]
Found = tuple[str, str, str]
"""A rule, the place where it is broken, and what is different in words."""

COMPONENT: Final = "#/components/schemas/"
ANYTHING: Final = "any value"
NOTES: Final = frozenset(
    {
        "title", "description", "example", "examples", "deprecated", "readOnly", "writeOnly",
        "externalDocs", "$comment", "xml", "discriminator",
    }
)  # fmt: skip
"""Words that allow and refuse nothing."""
JUDGED: Final = frozenset(
    {
        "type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref", "properties", "required",
        "additionalProperties", "items", "pattern", "format", "default", "minLength", "maxLength",
        "minItems", "maxItems", "uniqueItems", "minimum", "maximum", "exclusiveMinimum",
        "exclusiveMaximum",
    }
)  # fmt: skip
LEAST: Final = ("minLength", "minItems", "minimum", "exclusiveMinimum")
MOST: Final = ("maxLength", "maxItems", "maximum", "exclusiveMaximum")


@dataclass(frozen=True, slots=True)
class Side:
    """A schema and the document that has what it refers to."""

    schema: Schema
    document: Schema
    name: str = ""
    """Of the component that it is; empty where it is written in place."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The same thing before and now.

    Attributes:
        old: as it was released.
        new: as it is.
        direction: who sends it.
        place: where it is, for people.
        above: the components that it is in, so that a schema in itself ends.
    """

    old: Side
    new: Side
    direction: Direction
    place: str
    above: frozenset[tuple[str, str]] = frozenset()

    @property
    def sent(self) -> Side:
        """What may be sent."""
        return self.old if self.direction == "request" else self.new

    @property
    def accepted(self) -> Side:
        """What the receiver knows."""
        return self.new if self.direction == "request" else self.old

    def rule(self, name: str) -> str:
        """The rule of this direction."""
        return f"{self.direction}-{name}"

    def of(self, old: Schema | bool, new: Schema | bool, place: str) -> "Pair":
        """What is below it."""
        return replace(
            self, old=_side(old, self.old.document), new=_side(new, self.new.document), place=place
        )


def compare(pair: Pair) -> Iterator[Found]:
    """What breaks whoever relied on the old schema."""
    pair = _resolved(pair)
    if pair.old.name or pair.new.name:
        known = (pair.old.name, pair.new.name)
        if known in pair.above:
            return
        same = pair.old.name == pair.new.name
        pair = replace(
            pair, above=pair.above | {known}, place=pair.old.name if same else pair.place
        )
    if pair.direction == "request" and "default" in pair.old.schema:
        before, now = pair.old.schema["default"], pair.new.schema.get("default")
        if before != now:
            yield pair.rule("default-changed"), pair.place, f"{before!r} is now {now!r}"
    accepted = list(_alternatives(pair.accepted))
    for sent in _alternatives(pair.sent):
        fitting = [each for each in accepted if _fits(kind_of(sent.schema), kind_of(each.schema))]
        if fitting:
            tried = [list(_alternative(_paired(pair, sent, each))) for each in fitting]
            yield from min(tried, key=len)
        else:
            kind = kind_of(sent.schema)
            how = "is no longer accepted" if pair.direction == "request" else "may be there now"
            yield pair.rule("type"), pair.place, f"{kind} {how}"


def _side(schema: Schema | bool, document: Schema) -> Side:
    if schema is False:
        schema = {"not": {}}
    return Side({} if schema is True else schema, document)


def _resolved(pair: Pair) -> Pair:
    return replace(pair, old=resolve(pair.old), new=resolve(pair.new))


def resolve(side: Side) -> Side:
    """Follow references; words beside one count, too."""
    schema, name = side.schema, side.name
    while "$ref" in schema:
        reference = schema["$ref"]
        name = reference.removeprefix(COMPONENT)
        beside = {word: value for word, value in schema.items() if word != "$ref"}
        schema = {**side.document["components"]["schemas"][name], **beside}
    return Side(schema, side.document, name)


def _alternatives(side: Side) -> Iterator[Side]:
    """Each kind of value that a schema allows, as a schema with one type."""
    side = _merged(resolve(side))
    schema = side.schema
    for word in ("anyOf", "oneOf"):
        if word in schema:
            beside = {name: value for name, value in schema.items() if name in JUDGED - {word}}
            beside.pop("default", None)
            for each in schema[word]:
                inner = resolve(Side(each, side.document))
                yield from _alternatives(replace(inner, schema={**beside, **inner.schema}))
            return
    kinds = schema.get("type")
    if isinstance(kinds, list):
        for kind in kinds:
            yield replace(side, schema={**schema, "type": kind})
        return
    yield side


def _merged(side: Side) -> Side:
    """A schema with the members of its `allOf` in it."""
    if "allOf" not in side.schema:
        return side
    whole: dict[str, Any] = {}
    for part in [*side.schema["allOf"], {k: v for k, v in side.schema.items() if k != "allOf"}]:
        schema = _merged(resolve(Side(part, side.document))).schema
        properties = {**whole.get("properties", {}), **schema.get("properties", {})}
        required = [*whole.get("required", ()), *schema.get("required", ())]
        whole |= schema
        if properties:
            whole |= {"properties": properties, "required": required}
    return replace(side, schema=whole)


def kind_of(schema: Schema) -> str:
    """The type of a schema; found by its values where it has none."""
    if "type" in schema:
        return str(schema["type"])
    values = schema.get("enum", [schema["const"]] if "const" in schema else [])
    kinds = {type(value).__name__ for value in values}
    if len(kinds) == 1:
        names = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}
        return names.get(kinds.pop(), "null")
    if "properties" in schema:
        return "object"
    return ANYTHING


def _fits(sent: str, accepted: str) -> bool:
    return accepted in {sent, ANYTHING} or (sent, accepted) == ("integer", "number")


def _paired(pair: Pair, sent: Side, accepted: Side) -> Pair:
    if pair.direction == "request":
        inner = replace(pair, old=sent, new=accepted)
    else:
        inner = replace(pair, old=accepted, new=sent)
    known = (inner.old.name, inner.new.name)
    if all(known) and known not in pair.above:
        # One of several alternatives is a component: its members are told by its name.
        same = inner.old.name == inner.new.name
        place = inner.old.name if same else pair.place
        return replace(inner, place=place, above=pair.above | {known})
    return inner


def _alternative(pair: Pair) -> Iterator[Found]:
    """Compare two schemas of one kind."""
    for check in CHECKS:
        yield from check(pair)


def _values(pair: Pair) -> Iterator[Found]:
    known = _enumerated(pair.accepted.schema)
    if known is None:
        return
    sent = _enumerated(pair.sent.schema)
    if sent is None:
        when = "now" if pair.direction == "request" else "before"
        yield pair.rule("enum"), pair.place, f"only {_listed(known)} {when}"
        return
    if more := [value for value in sent if value not in known]:
        how = "no longer accepted" if pair.direction == "request" else "may be there now"
        yield pair.rule("enum"), pair.place, f"{_listed(more)} {how}"


def _enumerated(schema: Schema) -> Sequence[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    values: Sequence[Any] | None = schema.get("enum")
    return values


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(str(value) for value in values)


def _bounds(pair: Pair) -> Iterator[Found]:
    sent, accepted = pair.sent.schema, pair.accepted.schema
    for word in LEAST:
        if word in accepted and (word not in sent or sent[word] < accepted[word]):
            yield pair.rule("bounds"), pair.place, _changed(pair, word)
    for word in MOST:
        if word in accepted and (word not in sent or sent[word] > accepted[word]):
            yield pair.rule("bounds"), pair.place, _changed(pair, word)
    if accepted.get("uniqueItems") and not sent.get("uniqueItems"):
        yield pair.rule("bounds"), pair.place, _changed(pair, "uniqueItems")


def _text(pair: Pair) -> Iterator[Found]:
    for word in ("pattern", "format"):
        known = pair.accepted.schema.get(word)
        if known is not None and pair.sent.schema.get(word) != known:
            yield pair.rule(word), pair.place, _changed(pair, word)


def _items(pair: Pair) -> Iterator[Found]:
    if "items" in pair.old.schema or "items" in pair.new.schema:
        old, new = pair.old.schema.get("items", True), pair.new.schema.get("items", True)
        yield from compare(pair.of(old, new, f"{pair.place}[]"))


def _members(pair: Pair) -> Iterator[Found]:
    old, new = pair.old.schema.get("properties", {}), pair.new.schema.get("properties", {})
    required = (set(pair.old.schema.get("required", ())), set(pair.new.schema.get("required", ())))
    for name in old:
        place = f"{pair.place}.{name}"
        if name not in new:
            yield pair.rule("property-removed"), place, "is gone"
            continue
        yield from compare(pair.of(old[name], new[name], place))
    if pair.direction == "response":
        for name in sorted(required[0] - required[1]):
            if name in new or name not in old:
                yield pair.rule("property-optional"), f"{pair.place}.{name}", "may be left out now"
    if pair.direction == "request":
        for name in sorted(required[1] - required[0]):
            how = "is no longer optional" if name in old else "is new and required"
            yield pair.rule("property-required"), f"{pair.place}.{name}", how
    yield from _other_members(pair)


def _other_members(pair: Pair) -> Iterator[Found]:
    old = pair.old.schema.get("additionalProperties", True)
    new = pair.new.schema.get("additionalProperties", True)
    if (isinstance(old, Mapping) or isinstance(new, Mapping)) and False not in (old, new):
        yield from compare(pair.of(old, new, f"{pair.place}.*"))
        return
    if pair.direction == "request" and new is False and old is not False:
        yield pair.rule("members-refused"), pair.place, "refuses members it does not name now"
    if pair.direction == "response" and old is False and new is not False:
        yield pair.rule("members-added"), pair.place, "may have members it does not name now"


def _others(pair: Pair) -> Iterator[Found]:
    """Whatever is not judged here must stay as it is."""
    old, new = pair.old.schema, pair.new.schema
    for word in sorted((old.keys() | new.keys()) - JUDGED - NOTES):
        if not word.startswith("x-") and old.get(word) != new.get(word):
            yield pair.rule("schema"), pair.place, _changed(pair, word)


def _changed(pair: Pair, word: str) -> str:
    before, now = pair.old.schema.get(word), pair.new.schema.get(word)
    return f"{word} was {'not there' if before is None else before}, " + (
        "is gone" if now is None else f"is {now}"
    )


CHECKS: Final[tuple[Callable[[Pair], Iterator[Found]], ...]] = (
    _values, _bounds, _text, _items, _members, _others,
)  # fmt: skip
