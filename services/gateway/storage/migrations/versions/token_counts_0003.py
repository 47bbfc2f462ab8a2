"""Counts of tokens as large as a model may report them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make room."""
    _change(sa.Integer(), sa.BigInteger())


def downgrade() -> None:
    """Take it back; PostgreSQL refuses when a count needs it."""
    _change(sa.BigInteger(), sa.Integer())


def _change(old: sa.Integer, new: sa.Integer) -> None:
    if op.get_bind().dialect.name == "sqlite":
        # There an integer has 64 bits whatever its column is called, and to rename that would be to copy the table.
        return
    for name in ("input_tokens", "output_tokens"):
        op.alter_column("runs", name, existing_type=old, type_=new, existing_nullable=True)
