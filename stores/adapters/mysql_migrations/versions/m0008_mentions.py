"""Mentions."""

from stores.adapters.mysql_migrations.making import create

revision = "0008"
down_revision = "0007"

MENTIONS = """
    CREATE TABLE IF NOT EXISTS mentions (
        `conversation` VARCHAR(240) NOT NULL,
        `user` VARCHAR(240) NOT NULL,
        `message` BIGINT NOT NULL,
        `class_` BIGINT,
        `sender` MEDIUMTEXT,
        `recalled` BIGINT,
        PRIMARY KEY (`conversation`, `user`, `message`),
        KEY mentions_by_user_message (`user`, `message`)
    )
"""


def upgrade() -> None:
    create(MENTIONS)
