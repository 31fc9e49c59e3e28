"""What reading bytes by msgspec raises when they are not of the expected type."""

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Text that is not UTF-8 and nesting without end, also in members that are ignored, have classes of their own."""
