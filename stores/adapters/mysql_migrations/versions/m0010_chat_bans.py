"""Who is kept out of a chat."""

from stores.adapters.mysql_migrations.making import create

revision = "0010"
down_revision = "0009"

CHAT_BANS = """
    CREATE TABLE IF NOT EXISTS chat_bans (
        `chat` VARCHAR(240) NOT NULL,
        `user` VARCHAR(240) NOT NULL,
        `banned` BIGINT NOT NULL DEFAULT 0,
        `banned_at` BIGINT NOT NULL DEFAULT 0,
        PRIMARY KEY (`chat`, `user`),
        KEY chat_bans_by_chat_banned_user (`chat`, `banned`, `user`)
    )
"""


def upgrade() -> None:
    create(CHAT_BANS)
