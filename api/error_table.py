"""The table of docs/errors.md, made from the error tree. `python -m api.error_table` writes it."""

from pathlib import Path

from api import problems

_HEAD = """# Errors

Every error has one stable `code`. Over HTTP it is `application/problem+json` (RFC 9457) with
`type: urn:planb:problem:<code>`; on the command line it is the exit code. Codes are never renamed.

*Again* marks those after which the same request, under the same key, may succeed: wait for `Retry-After` seconds.
What is refused before there is a request has no code: bytes that are no HTTP/1.1 (400) and an `Expect` that nobody
knows (417) are answered in plain text.
An error with status 500 says no more than its title; the `request` of its document names it in the server's log.
Of requests that are refused (503) for one reason the log has a line a second, whose `more_like_it` says how many there
were since the one before.

| code | HTTP | exit | again | means |
|---|---|---|---|---|
"""


def table() -> str:
    """The whole page."""
    rows = {
        error.code: (error.status, error.exit_code, problems.retry_after_s(error()), error.title)
        for error in problems.all_errors()
    }
    lines = [
        f"| `{code}` | {status} | {exit} | {'yes' if again else ''} | {title} |"
        for code, (status, exit, again, title) in sorted(rows.items(), key=lambda item: (item[1][0], item[0]))
    ]
    return _HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    (Path(__file__).parent.parent / "docs" / "errors.md").write_text(table())
