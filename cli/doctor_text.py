"""What `planb doctor` found, and what `planb rebuild` did, as text."""

from typing import Any

SIGNS = {"ok": "✓", "warning": "!", "problem": "✗"}


def examined(answer: dict[str, Any]) -> list[str]:
    """A line for each finding, its fix below it."""
    counts = [
        f"{count} {word}{'s' if count > 1 else ''}"
        for word, count in (("problem", answer["problems"]), ("warning", answer["warnings"]))
        if count
    ]
    checks = answer["checks"]
    width = max(len(one["check"]) for one in checks)
    lines = [f"{answer['dc']}: {', '.join(counts) or 'all is well'} ({answer['took_ms'] / 1000:.1f} s)"]
    last = ""
    for one in checks:
        name = one["check"] if one["check"] != last else ""
        lines.append(f"  {SIGNS[one['state']]} {name:<{width}}  {one['fact']}")
        lines += [f"    {'':<{width}}  → {one['fix']}"] if one["fix"] else []
        last = one["check"]
    return lines


def rebuilt(answer: dict[str, Any]) -> list[str]:
    took_s, before = answer["took_ms"] / 1000, answer["epoch_before"]
    return [f"hot state of {answer['dc']} is rebuilt, in {took_s:.1f} s: epoch {answer['epoch']} follows {before}"]
