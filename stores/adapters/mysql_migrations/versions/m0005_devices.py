"""When a user is not to be disturbed, and devices that are pushed to."""

from stores.adapters.mysql_migrations.making import add_columns, create

revision = "0005"
down_revision = "0004"

DEVICES = """
    CREATE TABLE IF NOT EXISTS devices (
        `user` VARCHAR(240) NOT NULL,
        `device` VARCHAR(240) NOT NULL,
        `push` MEDIUMTEXT NOT NULL DEFAULT ('null'),
        `push_at` BIGINT NOT NULL DEFAULT 0,
        `home` MEDIUMTEXT NOT NULL DEFAULT (''),
        `home_at` BIGINT NOT NULL DEFAULT 0,
        PRIMARY KEY (`user`, `device`),
        KEY devices_by_user_push_at (`user`, `push_at`)
    )
"""
PUSH_TOKENS = """
    CREATE TABLE IF NOT EXISTS push_tokens (
        `token` VARCHAR(240) NOT NULL,
        `owner` MEDIUMTEXT NOT NULL DEFAULT ('null'),
        `owner_at` BIGINT NOT NULL DEFAULT 0,
        PRIMARY KEY (`token`)
    )
"""


def upgrade() -> None:
    create(DEVICES, PUSH_TOKENS)
    add_columns("users", dnd="MEDIUMTEXT NOT NULL DEFAULT ('null')", dnd_at="BIGINT NOT NULL DEFAULT 0")
