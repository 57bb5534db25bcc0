"""A database for each test: a copy of one that was migrated once in the run.

A copy costs more than many a test, so a database that a test gives back is emptied and used again,
as long as only its rows were changed.
"""

import asyncio
import itertools
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from service_testing.errors import LocalServerError
from service_testing.postgres import LocalPostgres
from service_testing.run import FileLock

PASSWORD = "test-only"  # noqa: S105 - of roles on a server that lives as long as the tests

_SHAPE: Final = """
SELECT md5(string_agg(part, ',' ORDER BY part)) FROM (
    SELECT concat_ws(' ', c.relname, c.relkind, a.attname, a.atttypid, a.attnotnull, a.atthasdef)
        FROM pg_class c LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
        WHERE c.relnamespace = 'public'::regnamespace
    UNION ALL SELECT concat_ws(' ', conname, pg_get_constraintdef(oid))
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT tgname FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT concat_ws(' ', proname, prosrc)
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    UNION ALL SELECT version_num FROM alembic_version
) AS parts(part)
"""
"""A digest of everything in a database but rows."""

_TABLES: Final = """
SELECT string_agg(format('%I', tablename), ', ') FROM pg_tables
WHERE schemaname = 'public' AND tablename <> 'alembic_version'
"""

_HAS_ROWS: Final = """
CREATE FUNCTION pg_temp.has_rows() RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    name text;
    found_rows boolean;
BEGIN
    FOREACH name IN ARRAY string_to_array(coalesce(({tables}), ''), ', ') LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', name) INTO found_rows;
        IF found_rows THEN RETURN true; END IF;
    END LOOP;
    RETURN false;
END $$;
SELECT pg_temp.has_rows();
"""

_EMPTY: Final = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid();
DO $$
DECLARE
    of_table regclass;
BEGIN
    IF ({shape}) IS DISTINCT FROM '{expected}' THEN
        RAISE EXCEPTION 'the schema was changed';
    END IF;
    SET LOCAL session_replication_role = replica;  -- neither foreign keys nor triggers
    FOR of_table IN SELECT format('%I', tablename)::regclass FROM pg_tables
        WHERE schemaname = 'public' AND tablename <> 'alembic_version'
    LOOP
        IF pg_relation_size(of_table) > {much} THEN
            EXECUTE format('TRUNCATE %s CASCADE', of_table);
        ELSE
            EXECUTE format('DELETE FROM %s', of_table);
        END IF;
    END LOOP;
    PERFORM setval(seqrelid, seqstart, false) FROM pg_sequence;
END $$;
SELECT pg_stat_reset();
"""

_MUCH: Final = 1 << 20
"""Bytes of a table beyond which new files are quicker than deleting rows, at a millisecond each."""


class TestDatabases:
    """Makes databases on the run's PostgreSQL, each owned by a role that owns nothing else.

    Args:
        server: PostgreSQL, running.
        directory: of the run, shared by its processes.
        worker: name of this process in the run.
    """

    __test__ = False  # not a test class, whatever its name

    def __init__(self, server: LocalPostgres, directory: Path, worker: str) -> None:
        self._server = server
        self._directory = directory
        self._worker = worker
        self._numbers = itertools.count(1)
        self._empty: defaultdict[str, list[str]] = defaultdict(list)
        self._service_of: dict[str, str] = {}

    def create(self, service: str) -> str:
        """Makes a database with the schema of a service and nothing in it.

        Args:
            service: import name of the service, whose migrations are `<service>.migrations`.

        Returns:
            Its address, for the service's own role.
        """
        template = self._template(service)
        if self._empty[service]:
            name = self._empty[service].pop()
        else:
            name = f"{service}_{self._worker}_{next(self._numbers)}"
            self._server.create_database(name, owner=service, template=template)
        self._service_of[name] = service
        return self._server.url_for(name, user=service, password=PASSWORD)

    def create_empty(self, owner: str) -> str:
        """Makes a database that was never migrated, for the migrations' own tests."""
        name = f"{owner}_{self._worker}_{next(self._numbers)}"
        with self._alone(owner):
            self._server.create_role(owner, PASSWORD)
        self._server.create_database(name, owner=owner)
        return self._server.url_for(name, user=owner, password=PASSWORD)

    def drop(self, url: str) -> None:
        """Ends a test's use of a database, whoever is still connected to it."""
        name = url.rpartition("/")[2]
        service = self._service_of.pop(name, None)
        if service is not None and self._was_emptied(name, service):
            self._empty[service].append(name)
        else:
            self._server.drop_database(name)

    def _was_emptied(self, name: str, service: str) -> bool:
        expected = self._record(service).read_text()
        if not expected:
            return False
        sql = _EMPTY.format(shape=_SHAPE, expected=expected, much=_MUCH)
        try:
            self._server.execute(sql, url=self._server.url_for(name))
        except LocalServerError:
            return False
        return True

    def _template(self, service: str) -> str:
        """Migrates the database to copy from, in the first process that needs it."""
        name = f"template_{service}"
        record = self._record(service)
        if record.exists():
            return name
        with self._alone(service):
            if not record.exists():
                self._server.create_role(service, PASSWORD)
                self._server.drop_database(name)
                self._server.create_database(name, owner=service)
                migrate(service, self._server.url_for(name, user=service, password=PASSWORD))
                self._describe(name, record)
        return name

    def _describe(self, template: str, record: Path) -> None:
        """Writes down the template's shape; nothing when its migrations fill in rows.

        Such rows would be gone after the first test, so each test gets a copy of its own.
        """
        url = self._server.url_for(template)
        filled = self._server.execute(_HAS_ROWS.format(tables=_TABLES), url=url) == "t"
        shape = "" if filled else self._server.execute(_SHAPE, url=url)
        unfinished = record.with_suffix(".unfinished")
        unfinished.write_text(shape)
        unfinished.rename(record)

    def _record(self, service: str) -> Path:
        return self._directory / f"template_{service}.migrated"

    def _alone(self, name: str) -> FileLock:
        return FileLock(self._directory / f"{name}.lock")


def migrate(service: str, url: str) -> None:
    """Runs a service's migrations, from a test or a fixture, async or not."""
    # Here, because of the processes of a run only the first that needs a service migrates it.
    from pydantic import SecretStr  # noqa: PLC0415

    from service_platform.database.migrate import up  # noqa: PLC0415
    from service_platform.settings import PlatformSettings  # noqa: PLC0415

    settings = PlatformSettings(
        project_name=service, environment="test", database_url=SecretStr(url)
    )

    def run() -> None:
        asyncio.run(up(service, settings))

    # In a thread of its own: the caller's may have a running event loop.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(run).result()
