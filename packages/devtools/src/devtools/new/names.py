"""Names of services, entities and fields: which there can be, and one form made from another."""

import builtins
import importlib.util
import keyword
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from pydantic import BaseModel
from sqlalchemy.dialects.postgresql.base import RESERVED_WORDS

from devtools.errors import UsageError

LONGEST: Final = 20
"""Letters of a name. The longest index, of the order by a field, has both the entity's and the
field's in its name, of which PostgreSQL keeps 63."""

OF_EVERY_ROW: Final = frozenset({"id", "owner_id", "created_at", "updated_at", "version", "words"})
OF_EVERY_LIST: Final = frozenset({"cursor", "limit", "q", "sort", "items", "next_cursor"})
OF_THE_CODE: Final = frozenset(
    {
        # what the modules import under a name without capitals
        "date", "datetime", "text", "uuid", "func", "mapped_column", "tsvector_of",
        # what SQLAlchemy and the classes of every entity have
        "metadata", "registry", "caller", "changed_fields",
        # after which the classes of an entity are named
        "create", "read", "update", "page", "row", "reader", "writer", "not_found",
    }
)  # fmt: skip
OF_THE_ROUTES: Final = frozenset(
    {
        "session", "page", "reader", "response", "request", "key", "owner", "preconditions",
        "change", "found", "values", "statement", "limit", "router", "repository", "service",
        "base", "closed_account", "inbox", "inbox_subject", "etag", "column", "index",
        "check_constraint", "computed", "account", "database",
    }
)  # fmt: skip
"""Names that the modules of an entity have, besides those made from the entity's own."""

OF_THE_SYSTEM: Final = frozenset(
    {
        "postgres", "public", "template", "gateway", "page", "dev", "valkey", "problems",
        # folders of the workspace
        "benchmarks", "docs", "infra", "packages", "services", "tests",
    }
)  # fmt: skip
"""What logs, databases and addresses of the system have under such a name."""

_SNAKE: Final = re.compile(r"[a-z]+(_[a-z]+)*")
_PLAIN: Final = re.compile(r"[a-z]+")
_ENDINGS: Final = (
    (re.compile(r"(?<=..)ies$"), "y"),
    (re.compile(r"(ss|sh|ch|x|(?<![aeo])us)es$"), r"\1"),
    (re.compile(r"(?<![siu])s$"), ""),
)


@dataclass(frozen=True, slots=True)
class Noun:
    """What one and several of a thing are called, as code writes them.

    Attributes:
        several: such as `order_lines`.
        one: such as `order_line`.
    """

    several: str
    one: str

    @property
    def class_name(self) -> str:
        """`OrderLine`."""
        return camel(self.one)

    @property
    def words(self) -> str:
        """`order lines`, in a sentence."""
        return self.several.replace("_", " ")

    @property
    def word(self) -> str:
        """`order line`, in a sentence."""
        return self.one.replace("_", " ")

    @property
    def a_word(self) -> str:
        """`an order line`, in a sentence."""
        return with_article(self.word)


def camel(name: str) -> str:
    """Return a name as that of a class."""
    return "".join(part.capitalize() for part in name.split("_"))


def with_article(word: str) -> str:
    """Return a word behind `a` or `an`."""
    return f"{'an' if word[0] in 'aeio' else 'a'} {word}"


def singular_of(plural: str) -> str:
    """Return what one of several is called, by the rules of regular English nouns.

    `companies` is `company`, `addresses` is `address`, `orders` is `order`. A word that follows
    none of them stays as it is.
    """
    for ending, replacement in _ENDINGS:
        singular, changed = ending.subn(replacement, plural)
        if changed:
            return singular
    return plural


def check_service(name: str, services: Iterable[str]) -> None:
    """Refuse what cannot be the name of a new service.

    Args:
        name: as it was given.
        services: that there are.

    Raises:
        UsageError: with a sentence that says why.
    """
    if not _PLAIN.fullmatch(name):
        raise UsageError(
            f"A service cannot be named {name}: its name is a Python package, a database and a"
            " host of the cluster, so it has only letters from a to z."
        )
    _check_length("service", name)
    if name in services:
        raise UsageError(
            f"There is a service {name} already; ./dev new {name}/NAME adds an entity to it."
        )
    if name in OF_THE_SYSTEM:
        raise UsageError(f"A service cannot be named {name}: the system has that name already.")
    _check_python("service", name)
    if name in sys.stdlib_module_names or importlib.util.find_spec(name) is not None:
        raise UsageError(
            f"A service cannot be named {name}: Python would find another package of this name."
        )
    _check_sql("service", name)


def check_entity(service: str, name: str, modules: Iterable[str]) -> None:
    """Refuse what cannot be the name of a further entity of a service.

    Args:
        service: the name of the service.
        name: as it was given.
        modules: of the service.

    Raises:
        UsageError: with a sentence that says why.
    """
    if not _SNAKE.fullmatch(name):
        raise UsageError(
            f"An entity cannot be named {name}: its name has letters from a to z, and _ between"
            " words."
        )
    _check_length("entity", name)
    _check_python("entity", name)
    if name == service or name in modules or name in OF_EVERY_ROW:
        raise UsageError(f"An entity of {service} cannot be named {name}: {service} has that name.")
    _check_sql("entity", name)


def noun(several: str, one: str | None) -> Noun:
    """Return the noun of an entity.

    Args:
        several: its checked name.
        one: as it was given; made by the rules of English when it was not.

    Raises:
        UsageError: the code of an entity has that name for something else.
    """
    singular = one or singular_of(several)
    if not _SNAKE.fullmatch(singular):
        raise UsageError(
            f"One of {several} cannot be called {singular}: its name has letters from a to z, and"
            " _ between words."
        )
    _check_length("singular", singular)
    if (
        singular in OF_THE_ROUTES
        or keyword.iskeyword(singular)
        or hasattr(builtins, singular)
        or hasattr(builtins, camel(singular))
        or singular.startswith("test")
        or camel(singular) in {"Any", "Final", "Annotated", "Mapped", "Decimal", "Field"}
    ):
        raise UsageError(
            f"One of {several} cannot be called {singular}: the code has that name for something"
            " else; name it by --singular."
        )
    return Noun(several, singular)


def check_field(name: str) -> None:
    """Refuse what cannot be the name of a field.

    Raises:
        UsageError: with a sentence that says why.
    """
    if not _SNAKE.fullmatch(name):
        raise UsageError(
            f"A field cannot be named {name}: its name has letters from a to z, and _ between"
            " words."
        )
    _check_length("field", name)
    if name in OF_EVERY_ROW or name.endswith("_order"):
        raise UsageError(f"A field cannot be named {name}: the table has such a column already.")
    if name in OF_EVERY_LIST:
        raise UsageError(f"A field cannot be named {name}: every list has that already.")
    if keyword.iskeyword(name) or keyword.issoftkeyword(name) or hasattr(builtins, name):
        raise UsageError(f"A field cannot be named {name}: that is a word of Python.")
    if name in OF_THE_CODE or hasattr(BaseModel, name) or hasattr(tuple, name):
        raise UsageError(
            f"A field cannot be named {name}: the code has that name for something else."
        )
    if name.startswith("model_"):
        raise UsageError(f"A field cannot be named {name}: Pydantic keeps model_ for itself.")
    _check_sql("field", name)


def _check_length(kind: str, name: str) -> None:
    if len(name) > LONGEST:
        raise UsageError(
            f"The name {name} is too long: that of a {kind} has at most {LONGEST} letters."
        )


def _check_python(kind: str, name: str) -> None:
    if keyword.iskeyword(name) or hasattr(builtins, name):
        article = with_article(kind).capitalize()
        raise UsageError(f"{article} cannot be named {name}: that is a word of Python.")


def _check_sql(kind: str, name: str) -> None:
    if name in RESERVED_WORDS:
        article = with_article(kind).capitalize()
        raise UsageError(f"{article} cannot be named {name}: that is a word of SQL.")


__all__ = [
    "Noun",
    "camel",
    "check_entity",
    "check_field",
    "check_service",
    "noun",
    "singular_of",
    "with_article",
]
