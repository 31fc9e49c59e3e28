"""Who has put which files."""

from stores.adapters.mysql_migrations.making import create

revision = "0012"
down_revision = "0011"

FILES = """
    CREATE TABLE IF NOT EXISTS files (
        `sha256` VARCHAR(240) NOT NULL,
        `user` VARCHAR(240) NOT NULL,
        `bytes` BIGINT,
        `type` MEDIUMTEXT,
        `name` MEDIUMTEXT,
        `made` BIGINT,
        PRIMARY KEY (`sha256`, `user`)
    )
"""


def upgrade() -> None:
    create(FILES)
