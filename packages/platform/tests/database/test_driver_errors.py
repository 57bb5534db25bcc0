"""What an error of asyncpg says of its connection, and what of it may be logged."""

import asyncpg
import pytest
from asyncpg import exceptions

from service_platform.database.driver_errors import conceal_values, ends_connection


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (exceptions.ConnectionDoesNotExistError("closed"), True),
        (exceptions.InternalClientError("got result for unknown protocol state"), True),
        (exceptions.AdminShutdownError("terminating connection"), True),
        (exceptions.CrashShutdownError("another backend crashed"), True),
        (exceptions.CannotConnectNowError("starting up"), True),
        (exceptions.ReadOnlySQLTransactionError("cannot execute INSERT"), True),
        (exceptions.UniqueViolationError("duplicate key"), False),
        (exceptions.QueryCanceledError("canceling statement"), False),
        (exceptions.DeadlockDetectedError("deadlock"), False),
        (exceptions.InterfaceError("another operation is in progress"), False),
        (ValueError("no"), False),
        (None, False),
    ],
)
def test_which_errors_end_a_connection(error: BaseException | None, ended: bool) -> None:
    assert ends_connection(error) is ended


async def error_of(connection: asyncpg.Connection, sql: str) -> asyncpg.PostgresError:
    with pytest.raises(asyncpg.PostgresError) as caught:
        await connection.execute(sql)
    error: asyncpg.PostgresError = caught.value
    return error


async def test_rows_and_values_are_removed_from_messages(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute("CREATE TEMPORARY TABLE t (name text PRIMARY KEY)")
        await connection.execute("INSERT INTO t VALUES ('hunter2')")
        twice = await error_of(connection, "INSERT INTO t VALUES ('hunter2')")
        assert "hunter2" in str(twice.detail)
        wrapper = Exception("unchanged")
        conceal_values(twice, wrapper)
        assert twice.detail is None
        assert "duplicate key" in str(twice)
        assert wrapper.args == ("unchanged",)
        wrong = await error_of(connection, "SELECT 'hunter2'::int")
        assert "hunter2" in str(wrong)
        wrapper = Exception(f"in SQLAlchemy's words: {wrong}")
        conceal_values(wrong, wrapper, None)
        assert "hunter2" not in f"{wrong} {wrong!r} {wrapper}"
    finally:
        await connection.close()


@pytest.mark.parametrize("error", [None, ValueError("kept"), ConnectionResetError("kept")])
def test_other_errors_stay_as_they_are(error: BaseException | None) -> None:
    before = None if error is None else error.args
    conceal_values(error, None)
    assert before == (None if error is None else error.args)
