"""Threads."""

from stores.adapters.mysql_migrations.making import create

revision = "0007"
down_revision = "0006"

REPLIES = """
    CREATE TABLE IF NOT EXISTS replies (
        `thread` BIGINT NOT NULL,
        `class_` BIGINT NOT NULL,
        `message` BIGINT,
        `recalled` BIGINT,
        PRIMARY KEY (`thread`, `class_`),
        KEY replies_by_thread_message (`thread`, `message`)
    )
"""


def upgrade() -> None:
    create(REPLIES)
