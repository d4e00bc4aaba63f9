"""Principals in the store, roles that belong to an account, and how often a job's worker was lost."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, the columns and the index."""
    op.create_table(
        "principals",
        sa.Column("access_key_id", sa.String(128), primary_key=True),
        sa.Column("account_id", sa.String(12), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("sealed_secret", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("revoked_at", sa.BigInteger),
    )
    op.add_column("roles", sa.Column("s3_endpoint", sa.String(2048), nullable=False, server_default=""))
    op.add_column("roles", sa.Column("s3_region", sa.String(64), nullable=False, server_default=""))
    op.add_column("roles", sa.Column("sealed_s3_keys", sa.Text))
    op.add_column("roles", sa.Column("created_at", sa.BigInteger))
    op.add_column("jobs", sa.Column("lost_attempts", sa.Integer, nullable=False, server_default="0"))
    is_open = sa.text("status IN ('InProgress', 'Stopping')")
    op.create_index("jobs_open_account", "jobs", ["account_id"], sqlite_where=is_open, postgresql_where=is_open)
