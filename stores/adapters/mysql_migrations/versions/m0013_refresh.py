"""Which refresh token of a session was used last."""

from stores.adapters.mysql_migrations.making import add_columns

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    add_columns("sessions", used="BIGINT")
