"""Search by the beginnings of words, answered by an index; nothing to install in PostgreSQL.

    class Item(Base):
        words: Mapped[str] = words_of("name", "description")
        __table_args__ = (Index("ix_items_words", "words", postgresql_using="gin"),)

    FOUND = select(Item.id).where(has_words(Item.words, "words"))
    await reader.all(FOUND, {"words": question(q)})

Words are what white space and punctuation separate, in the stored text and in the question alike:
PostgreSQL's own parser would take `black/white` for a file name and `example.com` for one word.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, Computed, Text, bindparam, cast, func
from sqlalchemy.dialects.postgresql import REGCONFIG, TSVECTOR
from sqlalchemy.orm import MappedColumn, mapped_column

PUNCTUATION: Final = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
MAX_WORDS: Final = 10
"""Further words of a question are not looked at: each costs a walk through the index."""

_to_spaces: Final = str.maketrans(dict.fromkeys(PUNCTUATION, " "))


def words_of(*columns: str) -> MappedColumn[str]:
    """A generated column with the words of other columns of the row; NULL is no word.

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


def question(text: str) -> str:
    """What `to_tsquery` takes: every word of `text`, each as the beginning of a word."""
    words = text.translate(_to_spaces).split()[:MAX_WORDS]
    return " & ".join(f"'{word}':*" for word in words)


def has_words(column: Any, parameter: str) -> ColumnElement[bool]:
    """Whether a row has, for each word of a question, a word that begins with it.

    Args:
        column: see `words_of`.
        parameter: name of the statement's parameter; its value is a `question`. One without any
            word is found nowhere.
    """
    matches: ColumnElement[bool] = column.bool_op("@@")(
        func.to_tsquery(cast("simple", REGCONFIG), bindparam(parameter, type_=Text))
    )
    return matches


__all__ = ["has_words", "question", "words_of"]
