"""What `planb config` answers, as text: what is wrong, or settings as a file that could be used again."""

from typing import Any

from cli.toml_text import toml_value


def checked(answer: dict[str, Any]) -> list[str]:
    wrong, config = answer["wrong"], answer["config"]
    if not wrong:
        return [f"{config}: nothing is wrong"]
    lines = [f"{config}: {len(wrong)} thing{'s are' if len(wrong) > 1 else ' is'} wrong"]
    for one in wrong:
        variable = f" (${one['source']})" if one["source"] != config else ""
        lines += [f"  ✗ {one['key']}{variable}{': ' if one['key'] else ''}{one['problem']}"]
        lines += [f"      write: {one['write']}"] if one["write"] else []
    return lines


def shown(answer: dict[str, Any]) -> list[str]:
    """TOML; behind each value where it is from. What is not set is a comment."""
    tables: dict[str, list[tuple[str, str]]] = {}
    unset: dict[str, list[str]] = {}
    for one in answer["settings"]:
        table, _, name = one["key"].rpartition(".")
        rows = tables.setdefault(table, [])
        if one["value"] is None:
            unset.setdefault(table, []).append(name)
        else:
            source = f"${one['variable']}" if "variable" in one else one["source"]
            rows.append((f"{name} = {toml_value(one['value'])}", source))
    lines = [f"# the settings in force: {answer['config']} and the environment"]
    for table, rows in tables.items():
        width = max((len(said) for said, _ in rows), default=0)
        lines += ["", f"[{table}]", *(f"{said:<{width}}  # {source}" for said, source in rows)]
        lines += [f"# not set: {', '.join(unset[table])}"] if table in unset else []
    return lines
