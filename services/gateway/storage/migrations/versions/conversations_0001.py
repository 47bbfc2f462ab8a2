"""Users, threads, runs, messages, the event log."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "log",
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("epoch", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_log"),
    )
    op.create_table(
        "writers",
        sa.Column("writer_id", sa.String(64), nullable=False),
        sa.Column("last_batch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("writer_id", name="pk_writers"),
    )
    op.create_table(
        "users",
        sa.Column("user_key", sa.String(32), nullable=False),
        sa.Column("tenant_id", sa.String(128), nullable=False),
        sa.Column("user_id", sa.String(128), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("user_key", name="pk_users"),
    )
    op.create_table(
        "threads",
        sa.Column("thread_key", sa.String(32), nullable=False),
        sa.Column("user_key", sa.String(32), nullable=False),
        sa.Column("thread_id", sa.String(128), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("acked_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(["user_key"], ["users.user_key"], name="fk_threads_user_key_users"),
        sa.PrimaryKeyConstraint("thread_key", name="pk_threads"),
    )
    op.create_index("ix_threads_user_key", "threads", ["user_key"])
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("thread_key", sa.String(32), nullable=False),
        sa.Column("user_key", sa.String(32), nullable=False),
        sa.Column("message_id", sa.String(128), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("accepted_seq", sa.BigInteger(), nullable=False),
        sa.Column("request", sa.Text(), nullable=False),
        sa.Column("error_code", sa.String(32), nullable=True),
        sa.Column("input_tokens", sa.Integer(), nullable=True),
        sa.Column("output_tokens", sa.Integer(), nullable=True),
        sa.Column("duration_ms", sa.Float(), nullable=True),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.Column("finished_at", sa.String(32), nullable=True),
        sa.ForeignKeyConstraint(["thread_key"], ["threads.thread_key"], name="fk_runs_thread_key_threads"),
        sa.ForeignKeyConstraint(["user_key"], ["users.user_key"], name="fk_runs_user_key_users"),
        sa.PrimaryKeyConstraint("run_id", name="pk_runs"),
        sa.UniqueConstraint("user_key", "message_id", name="uq_runs_user_key_message_id"),
    )
    op.create_index("ix_runs_thread_key", "runs", ["thread_key"])
    op.create_index("ix_runs_status", "runs", ["status"])
    op.create_table(
        "messages",
        sa.Column("thread_key", sa.String(32), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("message_id", sa.String(128), nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("role", sa.String(16), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(["thread_key"], ["threads.thread_key"], name="fk_messages_thread_key_threads"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.run_id"], name="fk_messages_run_id_runs"),
        sa.PrimaryKeyConstraint("thread_key", "seq", name="pk_messages"),
    )
    op.create_table(
        "events",
        sa.Column("thread_key", sa.String(32), nullable=False),
        sa.Column("seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("run_id", sa.String(64), nullable=False),
        sa.Column("type", sa.String(32), nullable=False),
        sa.Column("frame", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["thread_key"], ["threads.thread_key"], name="fk_events_thread_key_threads"),
        sa.PrimaryKeyConstraint("thread_key", "seq", name="pk_events"),
    )
    op.create_index("ix_events_run_id", "events", ["run_id"])


def downgrade() -> None:
    """Drop the tables and everything in them."""
    for table in ("events", "messages", "runs", "threads", "users", "writers", "log"):
        op.drop_table(table)
