"""Sessions of Socket.IO clients."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "sessions",
        sa.Column("user_key", sa.String(32), nullable=False),
        sa.Column("session_id", sa.String(128), nullable=False),
        sa.Column("thread_key", sa.String(32), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("last_used_at", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(["user_key"], ["users.user_key"], name="fk_sessions_user_key_users"),
        sa.ForeignKeyConstraint(["thread_key"], ["threads.thread_key"], name="fk_sessions_thread_key_threads"),
        sa.PrimaryKeyConstraint("user_key", "session_id", name="pk_sessions"),
    )
    op.create_index("ix_sessions_thread_key", "sessions", ["thread_key"])


def downgrade() -> None:
    """Drop it. Threads stay, and with them everything that was said."""
    op.drop_table("sessions")
