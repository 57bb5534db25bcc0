"""The newest products first."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_products_created_at_id", "products", ["created_at", "id"])
