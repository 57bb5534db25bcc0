"""What a span tells of a statement: what it does, the table, and its text without any value."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service_platform.telemetry.statement_text import describe

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("SELECT name FROM items WHERE id = $1", "SELECT items"),
        ("select name\nfrom\titems i JOIN owners o ON true", "SELECT items"),
        ("INSERT INTO items (name, stock) VALUES ($1, $2)", "INSERT items"),
        ("INSERT INTO items(name) SELECT name FROM drafts", "INSERT items"),
        ("INSERT INTO items (a) VALUES ($1) ON CONFLICT (a) DO UPDATE SET a = $1", "INSERT items"),
        ("UPDATE items SET stock = $1 FROM orders", "UPDATE items"),
        ("UPDATE ONLY items SET stock = 0", "UPDATE items"),
        ("DELETE FROM items USING orders", "DELETE items"),
        ("MERGE INTO items USING orders ON true WHEN MATCHED THEN DELETE", "MERGE items"),
        ("WITH a AS (SELECT 1 FROM b) INSERT INTO items (name) VALUES ($1)", "INSERT items"),
        ("WITH a AS (INSERT INTO b (c) SELECT 1 RETURNING c) SELECT c FROM items", "SELECT items"),
        ("WITH a AS (SELECT 1), b AS (DELETE FROM c) UPDATE items SET d = 1", "UPDATE items"),
        ("BEGIN;", "BEGIN"),
        ("BEGIN ISOLATION LEVEL SERIALIZABLE;", "BEGIN"),
        ("COMMIT;", "COMMIT"),
        ("SAVEPOINT a", "SAVEPOINT"),
        ('SELECT a FROM "items" WHERE true', "SELECT items"),
        ('SELECT a FROM "our items"', "SELECT our items"),
        ('SELECT a FROM "public"."items"', "SELECT public.items"),
        ("SELECT a FROM public.items", "SELECT public.items"),
        ("SELECT a FROM generate_series(1, 2) AS a", "SELECT"),
        ("SELECT extract(epoch FROM created_at) FROM items", "SELECT items"),
        ("SELECT (SELECT count(*) FROM orders) FROM items", "SELECT items"),
        ("SELECT a FROM (SELECT a FROM items) b", "SELECT items"),
        ("(SELECT a FROM items) UNION (SELECT a FROM orders)", "SELECT items"),
        ("SELECT pg_advisory_xact_lock($1) FOR UPDATE SKIP LOCKED", "SELECT"),
        ("SELECT 'FROM a' FROM items", "SELECT items"),
        ("/* from a */ SELECT 1 -- FROM b\nFROM items", "SELECT items"),
        ("SHOW server_version", "SHOW"),
        ("", ""),
    ],
)
def test_a_span_is_called_by_what_is_done_to_which_table(statement: str, name: str) -> None:
    called, attributes = describe(statement)
    operation, _, table = name.partition(" ")
    assert (called, attributes["db.query.summary"]) == (name, name)
    assert attributes["db.operation.name"] == operation
    assert attributes.get("db.collection.name", "") == table


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("SELECT $1::NUMERIC(12, 2), $12", "SELECT $1::NUMERIC(?, ?), $12"),
        ("SELECT 'it''s', E'\\'', U&'\\0041', b'101' , x'1F'", "SELECT ?, ?, U&?, b?, x?"),
        ("SELECT date'a\\', 'b'", "SELECT date?, ?"),
        ("SELECT $$a$$, $tag$ $$ 'b' $tag$, c$d$", "SELECT ?, ?, c$d$"),
        ("SELECT 1, -2.5, .5, 1e-9, 0x1F, 1_000", "SELECT ?, -?, .?, ?, ?, ?"),
        ("SELECT t1.a2 FROM shop_gw0_1", "SELECT t1.a2 FROM shop_gw0_1"),
        ("SELECT 1 -- don't\n, 'a'", "SELECT ? , ?"),
        ("SELECT /* don't /* nested's */ ' */ 'a'", "SELECT ?"),
        ("SELECT \"it's\" , 'a'", 'SELECT "it\'s" , ?'),
        ("SELECT 'never ended", "SELECT ?"),
        ("SELECT a /* never ended", "SELECT a"),
    ],
)
def test_literals_are_question_marks(statement: str, told: str) -> None:
    assert describe(statement)[1]["db.query.text"].replace(" ,", ",") == told.replace(" ,", ",")


LETTERS = st.text(alphabet="abc xyz'\\\"$-/*;()\n%?0", max_size=12)
SAFE = st.sampled_from(
    ["FROM items", "AND a = $1", '"it\'s"', "-- don't\n", "/* '$a$ */", "$2", "e"]
)


def _standard(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _escaped(value: str) -> str:
    return "E'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _dollars(value: str) -> str:
    return "$body$" + value + "$body$"


LITERALS = st.builds(
    lambda form, before, after: form(f"{before}{SECRET}{after}"),
    st.sampled_from([_standard, _escaped, _dollars]),
    LETTERS,
    LETTERS,
) | st.sampled_from(["4711", "-4711", "4711.4711", "4711e4711", "0.4711", "4711_4711", "0x4711"])


@given(st.lists(st.tuples(SAFE, LITERALS), max_size=5))
def test_no_literal_is_in_the_text_of_a_span(parts: list[tuple[str, str]]) -> None:
    statement = "SELECT " + " ".join(f"{safe} {literal}" for safe, literal in parts)
    name, attributes = describe(statement)
    for told in (name, *attributes.values()):
        assert SECRET not in told
        assert "4711" not in told
