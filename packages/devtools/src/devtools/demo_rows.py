"""What `./dev seed` fills collections with: bodies of requests, as many as are wanted.

They are made from samples: those of `services/<name>/seed.json`, where there is one, by the name of
the collection; else the example of the OpenAPI document. Each body is a sample whose first text has
a number, and whose numbers and choices are varied as far as the schema allows.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from devtools.api_collections import Collection
from devtools.errors import CommandError
from devtools.project import ROOT
from devtools.services import Service

SAMPLES: Final = "seed.json"
LONGEST: Final = 100
"""Of a text with its number, where its schema does not say."""

Samples = dict[str, list[dict[str, Any]]]


class SamplesError(CommandError):
    """A `seed.json` cannot be read; the message says which and why."""


@dataclass(frozen=True)
class DemoRows:
    """The rows of a collection.

    Attributes:
        collection: to fill.
        samples: bodies to begin with.
    """

    collection: Collection
    samples: Sequence[Mapping[str, Any]]

    @cached_property
    def label(self) -> str:
        """The member that tells one row of a person from the others; empty where none does."""
        members = self.collection.create.members
        return next(
            (name for name in self.samples[0] if self._is_label(members.get(name, {}), name)), ""
        )

    def bodies(self, person: int, count: int) -> list[dict[str, Any]]:
        """Make them, the same for the same person every time, so that seeding again finds them."""
        chance = random.Random(person)  # noqa: S311 - prices of lamps
        return [self._body(number, chance) for number in range(1, count + 1)]

    def missing(
        self, wanted: Sequence[dict[str, Any]], there: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """Those that a person does not have yet: by their label, or else by how many there are."""
        if not self.label:
            return list(wanted[len(there) :])
        labels = {row.get(self.label) for row in there}
        return [body for body in wanted if body[self.label] not in labels]

    def _body(self, number: int, chance: random.Random) -> dict[str, Any]:
        members = self.collection.create.members
        sample = chance.choice(self.samples)
        body = {
            name: varied(members.get(name, {}), value, chance) for name, value in sample.items()
        }
        if self.label:
            longest, end = members[self.label].get("maxLength", LONGEST), f" {number}"
            body[self.label] = f"{body[self.label][: longest - len(end)]}{end}"
        return body

    def _is_label(self, schema: Mapping[str, Any], name: str) -> bool:
        """Whether every sample has this text, and any text will do."""
        restricted = {"enum", "const", "format", "pattern"} & schema.keys()
        everywhere = all(isinstance(sample.get(name), str) for sample in self.samples)
        return schema.get("type") == "string" and not restricted and everywhere


def varied(schema: Mapping[str, Any], value: Any, chance: random.Random) -> Any:
    """Another value of the same kind: of one of a few, of yes or no, or a number about as large."""
    if "enum" in schema:
        return chance.choice(schema["enum"])
    if isinstance(value, bool):
        return chance.random() < 0.5
    if isinstance(value, int | float):
        other = value * chance.uniform(0.5, 1.5)
        other = min(max(other, schema.get("minimum", other)), schema.get("maximum", other))
        return round(other, 2) if isinstance(value, float) else round(other)
    return value


def demo_rows(service: Service, collection: Collection) -> DemoRows:
    """The rows of a collection of a service, by its samples or by the example of the document.

    Raises:
        SamplesError: its samples are no JSON object of lists of bodies.
    """
    file = service.source.parent / SAMPLES
    samples = read_samples(file).get(collection.name) if file.is_file() else None
    return DemoRows(collection, samples or [collection.create.example])


def read_samples(file: Path) -> Samples:
    """Read a `seed.json`.

    Raises:
        SamplesError: it is no JSON object of lists of bodies.
    """
    try:
        return TypeAdapter[Samples](Samples).validate_json(file.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(each) for each in first["loc"])
        raise SamplesError(
            f"{file.relative_to(ROOT)} is no JSON object with a list of bodies for each "
            f"collection: {f'{place}: ' if place else ''}{first['msg']}."
        ) from None
