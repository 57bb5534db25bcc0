"""The tables of webhooks, as part of a service's tables.

    webhook_tables(Base.metadata)

in the service's `models.py`, beside the tables of jobs; `./dev migrate new` then writes the
migration, as for any table.
"""

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY


def webhook_tables(metadata: MetaData) -> tuple[Table, Table]:
    """The tables `webhook_subscriptions` and `webhook_deliveries`.

    Secrets are encrypted (see `secrets.py`). `failing_since` is the first failure after the last
    success. A delivery is `waiting` for its next attempt, and in the end `succeeded` or `failed`.
    `job_id` is the job that makes its next attempt; a waiting one without has to wait until its
    subscription has room. `sending_until` is when an attempt that is being made is over for sure.
    """
    subscriptions = Table(
        "webhook_subscriptions",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column("account", Text, nullable=False),
        Column("url", Text, nullable=False),
        Column("types", ARRAY(Text), nullable=False),
        Column("description", Text),
        Column("secret", LargeBinary, nullable=False),
        Column("previous_secret", LargeBinary),
        Column("previous_secret_until", DateTime(timezone=True)),
        Column("failing_since", DateTime(timezone=True)),
        Column("disabled_at", DateTime(timezone=True)),
        Column("disabled_reason", Text),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Column("version", Integer, nullable=False, server_default=text("1")),
        CheckConstraint("disabled_reason IN ('owner', 'failing', 'gone')", name="disabled_reason"),
    )
    Index("ix_webhook_subscriptions_account", subscriptions.c.account, subscriptions.c.id)
    deliveries = Table(
        "webhook_deliveries",
        metadata,
        Column("id", Uuid, primary_key=True),
        Column(
            "subscription_id",
            Uuid,
            ForeignKey("webhook_subscriptions.id", ondelete="CASCADE"),
            nullable=False,
        ),
        Column("type", Text, nullable=False),
        Column("payload", Text, nullable=False),
        Column("status", Text, nullable=False, server_default=text("'waiting'")),
        Column("job_id", Uuid),
        Column("sending_until", DateTime(timezone=True)),
        Column("attempts", Integer, nullable=False, server_default=text("0")),
        Column("failures", Integer, nullable=False, server_default=text("0")),
        Column("response_status", Integer),
        Column("error", Text),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Column("attempted_at", DateTime(timezone=True)),
        Column("next_attempt_at", DateTime(timezone=True)),
        Column("finished_at", DateTime(timezone=True)),
        CheckConstraint("status IN ('waiting', 'succeeded', 'failed')", name="status"),
    )
    Index("ix_webhook_deliveries_subscription_id_id", deliveries.c.subscription_id, deliveries.c.id)
    Index(
        "ix_webhook_deliveries_without_job",
        deliveries.c.subscription_id,
        deliveries.c.id,
        postgresql_where=text("status = 'waiting' AND job_id IS NULL"),
    )
    Index(
        "ix_webhook_deliveries_being_sent",
        deliveries.c.subscription_id,
        postgresql_where=text("sending_until IS NOT NULL"),
    )
    Index(
        "ix_webhook_deliveries_finished_at",
        deliveries.c.finished_at,
        postgresql_where=text("finished_at IS NOT NULL"),
    )
    return subscriptions, deliveries


__all__ = ["webhook_tables"]
