from pathlib import Path

import pytest

from service_testing.errors import LocalServerError
from service_testing.postgres import LocalPostgres


def test_a_server_that_ends_while_starting_is_told_with_its_reason(tmp_path: Path) -> None:
    server = LocalPostgres(tmp_path / "data", durable=False, settings={"no_such_setting": "1"})
    with pytest.raises(LocalServerError, match=r"ended while starting.*no_such_setting"):
        server.start()


def test_data_of_another_major_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("9\n")
    with pytest.raises(LocalServerError, match="was made by PostgreSQL 9"):
        LocalPostgres(tmp_path / "data").start()


def test_postgres_demands_its_password_over_scram(tmp_path: Path) -> None:
    with LocalPostgres(tmp_path / "data", password="p'ss w/rd:1", durable=False) as server:
        assert server.execute("SELECT 1") == "1"
        assert server.execute("SHOW password_encryption") == "scram-sha-256"
        assert "trust" not in (server.data_dir / "pg_hba.conf").read_text().split("# TYPE")[1]
        other = LocalPostgres(server.data_dir, port=server.port, password="wrong")
        with pytest.raises(LocalServerError, match="password authentication failed"):
            other.execute("SELECT 1")
        assert "p'ss" not in Path(f"/proc/{server.pid}/cmdline").read_text()


def test_a_role_owns_its_own_database_and_enters_no_other(initialised: Path) -> None:
    with LocalPostgres(initialised / "data", durable=False) as server:
        for name in ("office", "shop"):
            server.create_role(name, "first")
            server.create_role(name, "second")
            assert server.create_database(name, owner=name)
            assert not server.create_database(name, owner=name)
        own = server.url_for("office", user="office", password="second")
        assert server.execute("SELECT 1", url=own) == "1"
        server.execute("CREATE TABLE t (id int)", url=own)
        with pytest.raises(LocalServerError, match="permission denied for database"):
            server.execute("SELECT 1", url=server.url_for("shop", user="office", password="second"))
        with pytest.raises(LocalServerError, match="authentication failed"):
            server.execute(
                "SELECT 1", url=server.url_for("office", user="office", password="first")
            )
        server.drop_database("office")
        server.drop_database("office")


@pytest.mark.parametrize("durable", [True, False])
def test_committed_rows_survive_a_restart_and_a_kill(tmp_path: Path, durable: bool) -> None:
    server = LocalPostgres(tmp_path / "data", durable=durable)
    server.start()
    server.execute("CREATE TABLE t (id int)")
    server.execute("INSERT INTO t VALUES (1)")
    server.restart()
    server.execute("INSERT INTO t VALUES (2)")
    server.kill()
    server.start()
    assert server.execute("SELECT count(*) FROM t") == "2"
    assert server.execute("SHOW fsync") == ("on" if durable else "off")
    server.remove()
