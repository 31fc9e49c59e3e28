"""Claims and releases of handles."""

from stores.adapters.mysql_migrations.making import create

revision = "0006"
down_revision = "0005"

HANDLES = """
    CREATE TABLE IF NOT EXISTS handles (
        `handle` VARCHAR(240) NOT NULL,
        `event` BIGINT NOT NULL,
        `user` VARCHAR(240),
        `kind` MEDIUMTEXT,
        PRIMARY KEY (`handle`, `event`),
        KEY handles_by_user_event (`user`, `event`)
    )
"""


def upgrade() -> None:
    create(HANDLES)
