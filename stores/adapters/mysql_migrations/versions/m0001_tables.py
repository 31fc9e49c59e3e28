"""The tables of the first version."""

from stores.adapters.mysql_migrations.making import create

revision = "0001"
down_revision = None

TABLES = (
    """
    CREATE TABLE IF NOT EXISTS chats (
        `chat` VARCHAR(240) NOT NULL,
        `kind` MEDIUMTEXT,
        `creator` MEDIUMTEXT,
        `title` MEDIUMTEXT NOT NULL DEFAULT (''),
        `title_at` BIGINT NOT NULL DEFAULT 0,
        `about` MEDIUMTEXT NOT NULL DEFAULT (''),
        `about_at` BIGINT NOT NULL DEFAULT 0,
        `avatar` MEDIUMTEXT NOT NULL DEFAULT (''),
        `avatar_at` BIGINT NOT NULL DEFAULT 0,
        `owner` MEDIUMTEXT NOT NULL DEFAULT (''),
        `owner_at` BIGINT NOT NULL DEFAULT 0,
        `dissolved` BIGINT,
        PRIMARY KEY (`chat`)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS clear_marks (
        `user` VARCHAR(240) NOT NULL,
        `conversation` VARCHAR(240) NOT NULL,
        `lane` BIGINT NOT NULL,
        `mark` BIGINT,
        PRIMARY KEY (`user`, `conversation`, `lane`)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS dialogs (
        `user` VARCHAR(240) NOT NULL,
        `conversation` VARCHAR(240) NOT NULL,
        `pin` VARCHAR(240) NOT NULL DEFAULT (''),
        `pin_at` BIGINT NOT NULL DEFAULT 0,
        `muted_until_ms` BIGINT NOT NULL DEFAULT 0,
        `muted_until_ms_at` BIGINT NOT NULL DEFAULT 0,
        PRIMARY KEY (`user`, `conversation`),
        KEY dialogs_by_user_muted_until_ms (`user`, `muted_until_ms`),
        KEY dialogs_by_user_pin (`user`, `pin`)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS directs (
        `conversation` VARCHAR(240) NOT NULL,
        `low` VARCHAR(240),
        `high` VARCHAR(240),
        PRIMARY KEY (`conversation`),
        KEY directs_by_high (`high`),
        KEY directs_by_low (`low`)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS drops (
        `lane` BIGINT NOT NULL,
        `seq` BIGINT NOT NULL,
        `dc` BIGINT NOT NULL,
        `dcs` MEDIUMTEXT,
        `agreed` BIGINT,
        `applied` BIGINT,
        PRIMARY KEY (`lane`, `seq`, `dc`)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS frontier (
        `lane` BIGINT NOT NULL,
        `seq` BIGINT NOT NULL,
        `id` BIGINT NOT NULL,
        PRIMARY KEY (`lane`)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS hidden (
        `user` VARCHAR(240) NOT NULL,
        `message` BIGINT NOT NULL,
        `conversation` MEDIUMTEXT,
        `hidden` BIGINT,
        PRIMARY KEY (`user`, `message`)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS member_adds (
        `chat` VARCHAR(240) NOT NULL,
        `user` VARCHAR(240) NOT NULL,
        `lane` BIGINT NOT NULL,
        `knew` MEDIUMTEXT NOT NULL DEFAULT ('null'),
        `knew_at` BIGINT NOT NULL DEFAULT 0,
        PRIMARY KEY (`chat`, `user`, `lane`),
        KEY member_adds_by_chat_knew_at (`chat`, `knew_at`),
        KEY member_adds_by_user (`user`)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS member_kicked (
        `chat` VARCHAR(240) NOT NULL,
        `user` VARCHAR(240) NOT NULL,
        `lane` BIGINT NOT NULL,
        `kicked` BIGINT,
        PRIMARY KEY (`chat`, `user`, `lane`),
        KEY member_kicked_by_user (`user`)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS member_left (
        `chat` VARCHAR(240) NOT NULL,
        `user` VARCHAR(240) NOT NULL,
        `lane` BIGINT NOT NULL,
        `left` BIGINT,
        PRIMARY KEY (`chat`, `user`, `lane`),
        KEY member_left_by_user (`user`)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS member_seen (
        `chat` VARCHAR(240) NOT NULL,
        `user` VARCHAR(240) NOT NULL,
        `lane` BIGINT NOT NULL,
        `seen` BIGINT,
        PRIMARY KEY (`chat`, `user`, `lane`),
        KEY member_seen_by_user (`user`)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS members (
        `chat` VARCHAR(240) NOT NULL,
        `user` VARCHAR(240) NOT NULL,
        `role` VARCHAR(240) NOT NULL DEFAULT (''),
        `role_at` BIGINT NOT NULL DEFAULT 0,
        `left_at` BIGINT,
        PRIMARY KEY (`chat`, `user`),
        KEY members_by_chat_role_user (`chat`, `role`, `user`),
        KEY members_by_user (`user`)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS meta (
        `name` VARCHAR(240) NOT NULL,
        `value` MEDIUMTEXT NOT NULL,
        PRIMARY KEY (`name`)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS overwrites (
        `table` VARCHAR(240) NOT NULL,
        `key` VARCHAR(240) NOT NULL,
        `column` VARCHAR(240) NOT NULL,
        `stamp` BIGINT NOT NULL,
        `basis` BIGINT,
        `value` MEDIUMTEXT,
        PRIMARY KEY (`table`, `key`, `column`, `stamp`),
        KEY overwrites_by_stamp (`stamp`)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS parked (
        `lane` BIGINT NOT NULL,
        `seq` BIGINT NOT NULL,
        `id` BIGINT NOT NULL,
        `reason` MEDIUMTEXT NOT NULL,
        PRIMARY KEY (`lane`, `seq`)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS read_marks (
        `user` VARCHAR(240) NOT NULL,
        `conversation` VARCHAR(240) NOT NULL,
        `lane` BIGINT NOT NULL,
        `mark` BIGINT,
        PRIMARY KEY (`user`, `conversation`, `lane`)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS results (
        `event` BIGINT NOT NULL,
        `actor` VARCHAR(240) NOT NULL,
        `key` VARCHAR(240) NOT NULL,
        `action` MEDIUMTEXT NOT NULL,
        `fingerprint` BLOB NOT NULL,
        `answer` MEDIUMTEXT NOT NULL,
        PRIMARY KEY (`event`),
        KEY results_by_key (`actor`, `key`)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS sessions (
        `session` VARCHAR(240) NOT NULL,
        `user` VARCHAR(240),
        `device` MEDIUMTEXT,
        `expires_ms` BIGINT,
        `revoked` BIGINT,
        PRIMARY KEY (`session`),
        KEY sessions_by_user_revoked_expires_ms (`user`, `revoked`, `expires_ms`)
    )
    """,
    """
    CREATE TABLE IF NOT EXISTS users (
        `user` VARCHAR(240) NOT NULL,
        `name` MEDIUMTEXT NOT NULL DEFAULT (''),
        `name_at` BIGINT NOT NULL DEFAULT 0,
        `avatar` MEDIUMTEXT NOT NULL DEFAULT (''),
        `avatar_at` BIGINT NOT NULL DEFAULT 0,
        `about` MEDIUMTEXT NOT NULL DEFAULT (''),
        `about_at` BIGINT NOT NULL DEFAULT 0,
        `password` MEDIUMTEXT NOT NULL DEFAULT (''),
        `password_at` BIGINT NOT NULL DEFAULT 0,
        PRIMARY KEY (`user`)
    )
    """,
)


def upgrade() -> None:
    create(*TABLES)
