"""What migrations do to tables. Each may be repeated: one that died in the middle is done again."""

from alembic import op

# By code points, and trailing spaces count. MySQL and MariaDB have it under different names.
COLLATIONS = {True: "utf8mb4_nopad_bin", False: "utf8mb4_0900_bin"}


def create(*tables: str) -> None:
    """Each a `CREATE TABLE IF NOT EXISTS …` without its options."""
    connection = op.get_bind()
    collation = COLLATIONS["mariadb" in str(connection.exec_driver_sql("SELECT version()").scalar()).lower()]
    for table in tables:
        connection.exec_driver_sql(
            f"{table} ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE={collation}"
        )


def add_columns(table: str, **columns: str) -> None:
    """Those of them that are missing, with their definitions."""
    for name, definition in columns.items():
        if not _is_there("COLUMNS", "COLUMN_NAME", table, name):
            op.get_bind().exec_driver_sql(f"ALTER TABLE `{table}` ADD COLUMN `{name}` {definition}")


def add_key(table: str, name: str, *columns: str) -> None:
    """If it is missing."""
    if not _is_there("STATISTICS", "INDEX_NAME", table, name):
        listed = ", ".join(f"`{column}`" for column in columns)
        op.get_bind().exec_driver_sql(f"ALTER TABLE `{table}` ADD KEY {name} ({listed})")


def _is_there(what: str, column: str, table: str, name: str) -> bool:
    found = op.get_bind().exec_driver_sql(
        f"SELECT COUNT(*) FROM information_schema.{what}"
        f" WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = %s AND {column} = %s",
        (table, name),
    )
    return bool(found.scalar())
