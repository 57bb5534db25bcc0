"""Items, closed accounts, idempotency keys."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "closed_accounts",
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column(
            "closed_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_closed_accounts")),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("account", "route", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(
        "ix_idempotency_keys_expires_at", "idempotency_keys", ["expires_at"], unique=False
    )
    op.create_table(
        "items",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("price", sa.Numeric(precision=12, scale=2), nullable=True),
        sa.Column(
            "tags", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False
        ),
        sa.Column(
            "price_order",
            sa.Numeric(precision=13, scale=2),
            sa.Computed("coalesce(price, 10000000000)", persisted=True),
            nullable=False,
        ),
        sa.Column(
            "words",
            postgresql.TSVECTOR(),
            sa.Computed(
                "to_tsvector('simple', translate(coalesce(name, '') || ' ' || "
                "coalesce(description, ''), "
                "'!\"#$%&''()*+,-./:;<=>?@[\\]^_`{|}~', "
                "'                                '))",
                persisted=True,
            ),
            nullable=False,
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.CheckConstraint("price >= 0", name=op.f("ck_items_price_not_negative")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_items")),
    )
    op.create_index(
        op.f("ix_items_owner_id_created_at_id"),
        "items",
        ["owner_id", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_items_owner_id_name_id"), "items", ["owner_id", "name", "id"], unique=False
    )
    op.create_index(
        op.f("ix_items_owner_id_price_order_id"),
        "items",
        ["owner_id", "price_order", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_items_owner_id_updated_at_id"),
        "items",
        ["owner_id", "updated_at", "id"],
        unique=False,
    )
    op.create_index(op.f("ix_items_tags"), "items", ["tags"], unique=False, postgresql_using="gin")
    op.create_index(
        op.f("ix_items_words"), "items", ["words"], unique=False, postgresql_using="gin"
    )
