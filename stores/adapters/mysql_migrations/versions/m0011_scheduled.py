"""Messages that are to be sent later."""

from stores.adapters.mysql_migrations.making import create

revision = "0011"
down_revision = "0010"

SCHEDULED = """
    CREATE TABLE IF NOT EXISTS scheduled (
        `user` VARCHAR(240) NOT NULL,
        `scheduled` VARCHAR(240) NOT NULL,
        `message` MEDIUMTEXT,
        `at_ms` BIGINT,
        `made` BIGINT,
        `home` VARCHAR(240) NOT NULL DEFAULT (''),
        `home_at` BIGINT NOT NULL DEFAULT 0,
        `failure` MEDIUMTEXT NOT NULL DEFAULT ('null'),
        `failure_at` BIGINT NOT NULL DEFAULT 0,
        `sent` BIGINT,
        `done` BIGINT,
        `gone` BIGINT,
        PRIMARY KEY (`user`, `scheduled`),
        KEY scheduled_by_home_done_at_ms (`home`, `done`, `at_ms`),
        KEY scheduled_by_done_at_ms (`done`, `at_ms`),
        KEY scheduled_by_user_gone_at_ms (`user`, `gone`, `at_ms`)
    )
"""


def upgrade() -> None:
    create(SCHEDULED)
