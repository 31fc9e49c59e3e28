"""Whose direct messages a user does not take."""

from stores.adapters.mysql_migrations.making import create

revision = "0003"
down_revision = "0002"

BLOCKS = """
    CREATE TABLE IF NOT EXISTS blocks (
        `user` VARCHAR(240) NOT NULL,
        `target` VARCHAR(240) NOT NULL,
        `blocked` BIGINT NOT NULL DEFAULT 0,
        `blocked_at` BIGINT NOT NULL DEFAULT 0,
        PRIMARY KEY (`user`, `target`),
        KEY blocks_by_user_blocked_target (`user`, `blocked`, `target`)
    )
"""


def upgrade() -> None:
    create(BLOCKS)
