"""How chats are entered: links, requests, and who comes in by himself."""

from stores.adapters.mysql_migrations.making import add_columns, create

revision = "0009"
down_revision = "0008"

INVITES = """
    CREATE TABLE IF NOT EXISTS invites (
        `chat` VARCHAR(240) NOT NULL,
        `invite` VARCHAR(240) NOT NULL,
        `creator` MEDIUMTEXT,
        `expires_ms` BIGINT,
        `uses_max` BIGINT,
        `approval` BIGINT,
        `made` BIGINT,
        `revoked` BIGINT,
        PRIMARY KEY (`chat`, `invite`),
        KEY invites_by_chat_revoked_expires_ms (`chat`, `revoked`, `expires_ms`)
    )
"""
INVITE_USES = """
    CREATE TABLE IF NOT EXISTS invite_uses (
        `invite` VARCHAR(240) NOT NULL,
        `lane` BIGINT NOT NULL,
        `uses` BIGINT,
        PRIMARY KEY (`invite`, `lane`)
    )
"""
JOIN_REQUESTS = """
    CREATE TABLE IF NOT EXISTS join_requests (
        `event` BIGINT NOT NULL,
        `chat` VARCHAR(240),
        `user` VARCHAR(240),
        `invite` MEDIUMTEXT,
        `ended` BIGINT,
        PRIMARY KEY (`event`),
        KEY join_requests_by_chat_user_event (`chat`, `user`, `event`),
        KEY join_requests_by_chat_ended_event (`chat`, `ended`, `event`),
        KEY join_requests_by_user_ended_event (`user`, `ended`, `event`)
    )
"""


def upgrade() -> None:
    create(INVITES, INVITE_USES, JOIN_REQUESTS)
    add_columns("chats", entry="MEDIUMTEXT NOT NULL DEFAULT ('')", entry_at="BIGINT NOT NULL DEFAULT 0")
