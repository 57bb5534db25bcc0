"""What PostgreSQL was told to do, from its own log: for tests that count statements."""

import re
from pathlib import Path
from typing import Final

LOG_SETTINGS: Final = {"log_statement": "all", "log_line_prefix": "%d|%p|"}
"""Server settings under which the log can be read by `SqlLog`."""

_statement: Final = re.compile(
    r"^(?P<database>[^|\n]*)\|\d+\|LOG:  (?:statement|execute [^:]*): (?P<sql>.*(?:\n\t.*)*)",
    re.MULTILINE,
)


class SqlLog:
    """The statements of one database since it was made, or since `clear`.

    Args:
        log_file: of a server with `LOG_SETTINGS`.
        database: name of the database.
    """

    def __init__(self, log_file: Path, database: str) -> None:
        self._log_file = log_file
        self._database = database
        self._position = 0
        self.clear()

    def clear(self) -> None:
        """Forgets the statements so far."""
        self._position = self._log_file.stat().st_size

    def statements(self) -> list[str]:
        """Returns the statements in their order, `BEGIN` and `COMMIT` included."""
        with self._log_file.open("rb") as log:
            log.seek(self._position)
            text = log.read().decode(errors="replace")
        return [
            match["sql"].replace("\n\t", "\n")
            for match in _statement.finditer(text)
            if match["database"] == self._database
        ]
