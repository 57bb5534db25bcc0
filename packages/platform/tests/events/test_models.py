"""The tables of outbox and inbox as PostgreSQL has them."""

from shop.watching import rows

from service_platform.database import Database


async def test_columns(database: Database) -> None:
    columns = await rows(
        database,
        "SELECT table_name, column_name, data_type FROM information_schema.columns "
        "WHERE table_name IN ('outbox', 'inbox', 'inbox_subjects') ORDER BY 1, ordinal_position",
    )
    assert columns == [
        ("inbox", "event_id", "uuid"),
        ("inbox", "applied_at", "timestamp with time zone"),
        ("inbox_subjects", "stream", "text"),
        ("inbox_subjects", "subject", "text"),
        ("inbox_subjects", "sequence", "bigint"),
        ("outbox", "id", "bigint"),
        ("outbox", "event", "jsonb"),
        ("outbox", "recipient", "text"),
        ("outbox", "created_at", "timestamp with time zone"),
        ("outbox", "entry_ms", "bigint"),
        ("outbox", "entry_seq", "bigint"),
    ]


async def test_pending_and_relayed_events_have_an_index_each(database: Database) -> None:
    indexes = dict(
        await rows(
            database, "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'outbox'"
        )
    )
    assert indexes["ix_outbox_pending"].endswith("(id) WHERE (entry_ms IS NULL)")
    assert indexes["ix_outbox_entry"].endswith("(entry_ms, entry_seq) WHERE (entry_ms IS NOT NULL)")
