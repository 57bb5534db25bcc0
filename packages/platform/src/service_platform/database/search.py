"""Searches full text by word prefixes with a GIN index; no PostgreSQL extension is needed.

    class Book(Base):
        words: Mapped[str] = tsvector_of("name", "description")
        __table_args__ = (Index("ix_items_words", "words", postgresql_using="gin"),)

    FOUND = select(Book.id).where(matches_tsquery(Book.words, "words"))
    await reader.all(FOUND, {"words": prefix_tsquery(q)})

White space and punctuation separate words, in the stored text and in the query alike: PostgreSQL's
own parser would take `black/white` for a file name and `example.com` for one word.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, Computed, Text, bindparam, cast, func
from sqlalchemy.dialects.postgresql import REGCONFIG, TSVECTOR
from sqlalchemy.orm import MappedColumn, mapped_column

PUNCTUATION: Final = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
MAX_WORDS: Final = 10
"""Further words of a query are ignored: each costs an index scan."""

_to_spaces: Final = str.maketrans(dict.fromkeys(PUNCTUATION, " "))


def tsvector_of(*columns: str) -> MappedColumn[str]:
    """Declare a generated `tsvector` column of other columns' text; NULL is no text.

    Args:
        *columns: names of text columns.
    """
    text = " || ' ' || ".join(f"coalesce({name}, '')" for name in columns)
    quoted = PUNCTUATION.replace("'", "''")
    spaces = " " * len(PUNCTUATION)
    return mapped_column(
        TSVECTOR(),
        Computed(
            f"to_tsvector('simple', translate({text}, '{quoted}', '{spaces}'))", persisted=True
        ),
        deferred=True,
    )


def prefix_tsquery(text: str) -> str:
    """Return text as the argument of `to_tsquery`: every word, each as a prefix."""
    words = text.translate(_to_spaces).split()[:MAX_WORDS]
    return " & ".join(f"'{word}':*" for word in words)


def matches_tsquery(column: Any, parameter: str) -> ColumnElement[bool]:
    """Compare a `tsvector` column with a `tsquery`: each prefix must begin one of its words.

    Args:
        column: see `tsvector_of`.
        parameter: name of the statement's parameter, whose value is made by `prefix_tsquery`. A
            query without any word matches nothing.
    """
    matches: ColumnElement[bool] = column.bool_op("@@")(
        func.to_tsquery(cast("simple", REGCONFIG), bindparam(parameter, type_=Text))
    )
    return matches


__all__ = ["matches_tsquery", "prefix_tsquery", "tsvector_of"]
