"""Takes compiled SELECT statements from SQLAlchemy, for the driver to run them directly."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import CursorResult, Row, Select
from sqlalchemy.sql.compiler import SQLCompiler


class CompiledSelect:
    """A compiled SELECT: its SQL, how parameters are bound, and how rows are made.

    Everything is taken from a result of SQLAlchemy: the statement as it was compiled, and the
    metadata of rows with the processors chosen for the types that the server sent.

    Args:
        result: of an execution of the statement by SQLAlchemy.
    """

    __slots__ = ("_bind_parameters", "_compiled", "_metadata", "_processors", "sql")

    def __init__(self, result: CursorResult[*tuple[Any, ...]]) -> None:
        context: Any = result.context
        compiled: SQLCompiler = context.compiled
        self.sql: str = compiled.string
        self._compiled = compiled
        self._bind_parameters = context.extracted_parameters
        self._processors: list[tuple[str, Any]] = [
            (name, compiled._bind_processors.get(name))  # noqa: SLF001
            for name in compiled.positiontup or ()
        ]
        self._metadata: Any = result._metadata  # noqa: SLF001

    def bind(self, parameters: Mapping[str, Any] | None) -> list[Any]:
        """Return the values for the SQL's placeholders.

        Raises:
            Exception: a value is missing, or its type refuses it.
        """
        values = self._compiled.construct_params(
            parameters, extracted_parameters=self._bind_parameters, escape_names=False
        )
        return [
            values[name] if processor is None else processor(values[name])
            for name, processor in self._processors
        ]

    def rows(self, records: Sequence[Any]) -> list[Row[*tuple[Any, ...]]]:
        """Return SQLAlchemy's rows for the driver's records."""
        metadata = self._metadata
        processors, key_to_index = metadata._effective_processors, metadata._key_to_index  # noqa: SLF001
        return [Row(metadata, processors, key_to_index, record) for record in records]


def compiled_select(
    statement: Select[*tuple[Any, ...]], result: CursorResult[*tuple[Any, ...]]
) -> CompiledSelect | None:
    """Return the compiled statement of a result, if the driver can run it as it is.

    Returns:
        `None` where SQLAlchemy compiles it anew for each execution, where its SQL depends on its
        values (`IN` with a list), or where it has values or options of its own.
    """
    context: Any = result.context
    compiled = context.compiled
    cache_key = statement._generate_cache_key()  # noqa: SLF001
    if (
        cache_key is None
        or cache_key.params is not None
        or statement.get_execution_options()
        or not isinstance(compiled, SQLCompiler)
        or compiled.cache_key is None
        or compiled.post_compile_params
        or compiled.literal_execute_params
        or compiled.schema_translate_map
    ):
        return None
    return CompiledSelect(result)


__all__ = ["CompiledSelect", "compiled_select"]
