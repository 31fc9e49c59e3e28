"""Numbers as people read them."""

_UNITS = ("B", "kB", "MB", "GB", "TB")
_THOUSAND = 1_000


def size(count: int) -> str:
    """Of bytes."""
    amount = float(count)
    for unit in _UNITS[:-1]:
        if amount < _THOUSAND:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= _THOUSAND
    return f"{amount:.1f} {_UNITS[-1]}"
