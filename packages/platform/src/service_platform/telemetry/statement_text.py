"""Describes SQL statements for spans: their text without values, what they do, their table.

Source: OpenTelemetry semantic conventions, "Database client spans", sections on sanitization of
`db.query.text` and on `db.query.summary`.
"""

import re
from functools import lru_cache
from typing import Final

_COMMENT: Final = r"/\*(?:[^*/]|\*(?!/)|/(?!\*)%s)*(?:\*/|\Z)"
_TOKEN: Final = re.compile(
    rf"""(?P<name>"(?:[^"]|"")*(?:"|\Z))          # a quoted name stays
    | (?P<comment>--[^\n]*|{_COMMENT % ("|" + _COMMENT % "")})  # in which quotes are none
    | (?<![\w$])[eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)  # text with escapes
    | '(?:[^']|'')*(?:'|\Z)                      # text
    | (?<![\w$])\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)  # text between dollars
    | (?<![\w$])\d(?:[eE][+-]\d|[\w.])*          # a number that is no $1 and in no name""",
    re.VERBOSE | re.DOTALL,
)
_NAME: Final = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
_WORD: Final = re.compile(
    rf"""(?P<bracket>[()])
    | \b(?P<before>FROM|INTO|UPDATE)\s+(?:ONLY\s+)?(?P<table>{_NAME}(?:\.{_NAME})*)
      (?P<call>(?=\s*\())?
    | \b(?P<operation>SELECT|INSERT|UPDATE|DELETE|MERGE)\b
    | {_NAME}                               # any other""",
    re.VERBOSE | re.IGNORECASE,
)
_BEFORE_TABLE: Final = {
    "SELECT": "FROM",
    "INSERT": "INTO",
    "UPDATE": "UPDATE",
    "DELETE": "FROM",
    "MERGE": "INTO",
}


@lru_cache(maxsize=1024)
def describe(statement: str) -> tuple[str, dict[str, str]]:
    """Return the name and the attributes of a statement's span, without any value.

    The name is the operation and the first table it is about, such as `SELECT profiles`. Parameters
    are `$1` and stay; literals become `?`.
    """
    text = " ".join(_TOKEN.sub(_without_value, statement).split())
    main = text.lstrip("( ")
    operation, table = main.partition(" ")[0].rstrip(";").upper(), ""
    if operation == "WITH" or operation in _BEFORE_TABLE:
        operation, table = _operation_and_table(main)
    name = f"{operation} {table}".strip()
    attributes = {
        "db.system.name": "postgresql",
        "db.query.text": text,
        "db.operation.name": operation,
        "db.query.summary": name,
    }
    if table:
        attributes["db.collection.name"] = table
    return name, attributes


def _operation_and_table(text: str) -> tuple[str, str]:
    """Return what a statement does, and the table it is about or that of its first subquery.

    What is in brackets is an operation of its own, such as a common table expression, or none: the
    `FROM` in `extract(epoch FROM now())`.
    """
    operations, tables = [""], dict[int, str]()
    for word in _WORD.finditer(text):
        if word["bracket"] == "(":
            operations.append("")
        elif word["bracket"] and len(operations) > 1:
            operations.pop()
        elif word["operation"] or (word["before"] or "").upper() == "UPDATE":
            operations[-1] = operations[-1] or (word["operation"] or "UPDATE").upper()
        before, operation = (word["before"] or "").upper(), operations[-1]
        is_function = before == "FROM" and word["call"] is not None
        if before and before == _BEFORE_TABLE.get(operation) and not is_function:
            tables.setdefault(len(operations), word["table"].replace('"', ""))
    return operations[0] or "WITH", tables[min(tables)] if tables else ""


def _without_value(token: re.Match[str]) -> str:
    if token["name"]:
        return token["name"]
    return " " if token["comment"] else "?"


__all__ = ["describe"]
