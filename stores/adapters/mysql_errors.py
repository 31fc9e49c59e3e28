"""What MySQL, MariaDB and their driver raise -> what has to be done about it."""

from collections.abc import Iterator
from contextlib import contextmanager

from asyncmy import errors

from core.cause import cause_of
from core.errors import ConfigError, Corrupt, PlanBError, StoreUnavailable, Undecodable

DEADLOCK = 1213
LOCK_WAIT = 1205
MET_ANOTHER = {DEADLOCK, LOCK_WAIT}
"""The transaction is undone, or can be: the whole of it is done again."""
NO_SUCH_TABLE = 1146
REFUSED = {1044, 1045, 1049, 1130, 1142, 1251, 1524, 1698}
"""Who we are, or which database: no waiting helps."""
UNFIT = {1153, 1264, 1300, 1366, 1406}
"""A value that no column takes, or a statement that is too long: packet, range, encoding, length."""
DAMAGED = {1034, 1035, 1194, 1195, 1712, 1877}
OURS = (errors.ProgrammingError, errors.IntegrityError, errors.NotSupportedError)
"""A mistake in our own SQL: no retry would help."""
GONE = {0, 1053, 1152, 1153, 1158, 1159, 1160, 1161, 1184, 1927, 2002, 2003, 2006, 2013, 2014, 2026, 2027, 2055}
"""The connection, whatever it was used for."""


class MetAnother(Exception):
    """Another transaction was in the way; nothing of this one has happened."""


class Gone(Exception):
    """The connection is of no use any more."""


def number(error: BaseException) -> int:
    """The server's, or the driver's; 0 for none."""
    found = error.args[0] if error.args else 0
    return found if isinstance(found, int) else 0


@contextmanager
def driver_errors() -> Iterator[None]:
    """Tells apart what is done again (MetAnother, Gone) and leaves the rest."""
    try:
        yield
    except errors.Error as error:
        if number(error) in MET_ANOTHER:
            raise MetAnother(str(error)) from error
        if not isinstance(error, OURS) and number(error) in GONE - UNFIT:
            raise Gone(str(error)) from error
        raise
    except (OSError, EOFError, TimeoutError) as error:
        raise Gone(str(error) or type(error).__name__) from error


@contextmanager
def store_errors(where: str) -> Iterator[None]:
    """What is left -> the error tree. `private` holds the cause."""
    try:
        yield
    except (MetAnother, Gone) as error:
        raise StoreUnavailable(private=f"{where}: {error}", retry_after_s=1) from error
    except OURS as error:
        if number(error) in REFUSED:
            raise refused(where, error) from error
        raise
    except errors.Error as error:
        raise _of_the_server(where, error) from error
    except (OSError, EOFError, TimeoutError) as error:
        raise StoreUnavailable(private=f"{where}: {cause_of(error)}", retry_after_s=1) from error
    except (OverflowError, UnicodeEncodeError) as error:
        raise Undecodable(f"{where} can not hold this value", private=str(error)) from error


def refused(where: str, error: BaseException) -> ConfigError:
    return ConfigError(f"{where} lets us not in: {error.args[-1] if error.args else error}")


def _of_the_server(where: str, error: errors.Error) -> PlanBError:
    private = f"{where}: {error}"
    if number(error) in REFUSED:
        return refused(where, error)
    if number(error) in UNFIT:
        return Undecodable(f"{where} can not hold this value", private=private)
    if number(error) in DAMAGED:
        return Corrupt(f"{where} is damaged", private=private)
    return StoreUnavailable(private=private, retry_after_s=1)
