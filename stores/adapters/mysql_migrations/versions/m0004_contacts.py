"""Contacts."""

from stores.adapters.mysql_migrations.making import create

revision = "0004"
down_revision = "0003"

CONTACTS = """
    CREATE TABLE IF NOT EXISTS contacts (
        `user` VARCHAR(240) NOT NULL,
        `peer` VARCHAR(240) NOT NULL,
        `lane` BIGINT NOT NULL,
        `asked` BIGINT,
        `ended` BIGINT,
        PRIMARY KEY (`user`, `peer`, `lane`),
        KEY contacts_by_peer (`peer`)
    )
"""


def upgrade() -> None:
    create(CONTACTS)
