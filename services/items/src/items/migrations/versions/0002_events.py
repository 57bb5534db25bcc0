"""inbox of account events, when to erase what belongs to a closed account"""

# squawk-ignore: require-concurrent-index-creation (closed accounts were few)

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "inbox",
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column(
            "applied_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_inbox")),
    )
    op.create_index(op.f("ix_inbox_applied_at"), "inbox", ["applied_at"])
    op.create_table(
        "inbox_subjects",
        sa.Column("stream", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("stream", "subject", name=op.f("pk_inbox_subjects")),
    )
    op.add_column(
        "closed_accounts",
        sa.Column(
            "erase_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=True,
        ),
    )
    op.create_index(
        "ix_closed_accounts_erase_at",
        "closed_accounts",
        ["erase_at"],
        postgresql_where=sa.text("erase_at IS NOT NULL"),
    )
