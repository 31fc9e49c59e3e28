"""Drafts, and dialogs that are marked as unread."""

from stores.adapters.mysql_migrations.making import add_columns, add_key, create

revision = "0002"
down_revision = "0001"

DRAFTS = """
    CREATE TABLE IF NOT EXISTS drafts (
        `user` VARCHAR(240) NOT NULL,
        `conversation` VARCHAR(240) NOT NULL,
        `draft` MEDIUMTEXT NOT NULL DEFAULT ('null'),
        `draft_at` BIGINT NOT NULL DEFAULT 0,
        `cleared` BIGINT,
        PRIMARY KEY (`user`, `conversation`),
        KEY drafts_by_user_draft_at (`user`, `draft_at`)
    )
"""


def upgrade() -> None:
    create(DRAFTS)
    add_columns(
        "dialogs",
        unread="BIGINT NOT NULL DEFAULT 0",
        unread_at="BIGINT NOT NULL DEFAULT 0",
        read_at="BIGINT",
    )
    add_key("dialogs", "dialogs_by_user_unread_at", "user", "unread_at")
