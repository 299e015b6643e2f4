"""Write docs/cli.md from the commands' own help: ``python scripts/write_cli_docs.py``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from secondpass.cli.app import app
from secondpass.cli.settings import FILE_NAME, KEYS

TARGET = Path(__file__).parent.parent / "docs" / "cli.md"

HEAD = f"""# The command line

<!-- Written by scripts/write_cli_docs.py from the commands' own help: change that, then run `make docs`. -->

Every command takes `--help` and `--json` (shapes: [json.md](json.md)). Output is plain when it does not
go to a terminal, `NO_COLOR` is honoured, and progress and errors go to stderr.

| exit code | meaning |
| --- | --- |
| 0 | all good |
| 1 | files with errors, a failure (no index, no such model), a worse `eval --baseline`, no help by `train` |
| 2 | wrong options, settings or query |
| 130 | interrupted (Ctrl-C) |

An error is one line on stderr. `SECONDPASS_DEBUG=1` shows where it came from.

## Settings

A value comes from the flag, else from the environment variable, else from the nearest `{FILE_NAME}` (in the
working directory or one above it), else it is the default. A relative `index` in the file is meant from the
file's folder, and so is a `reranker` or `llm` that starts with `./` or `../`.

| key in `{FILE_NAME}` | variable | default | meaning |
| --- | --- | --- | --- |
"""

FURTHER = """
Further variables: `SECONDPASS_MODELS` (your folder of models), `SECONDPASS_DEMO` (the demo's folder),
`SECONDPASS_LLM_KEY` (the key of `llm-url`), `SECONDPASS_DEBUG`.
"""


def page() -> str:
    """Return the text of docs/cli.md."""
    rows = [
        f"| `{each.key}` | `{each.variable}` | {_default(each.default)} | {each.meaning} |" for each in KEYS
    ]
    parts = [HEAD + "\n".join(rows) + "\n" + FURTHER]
    parts += [_section(name, command) for name, command in commands()]
    return "\n".join(parts)


def commands() -> Iterator[tuple[str, Any]]:
    """Yield each command that does something, by its full name, in the order of the help."""
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        for below, inner in getattr(command, "commands", {}).items():
            yield f"{name} {below}", inner
        if not hasattr(command, "commands"):
            yield name, command


def _section(name: str, command: Any) -> str:
    text = "\n\n".join(" ".join(part.split()) for part in command.help.split("\n\n"))
    lines = [
        f"## secondpass {name}",
        "",
        text,
        "",
        "```",
        command.epilog.removeprefix("Example: "),
        "```",
        "",
    ]
    lines += ["| argument or option | meaning |", "| --- | --- |"]
    lines += [
        f"| {_names(each)} | {_escaped(each.help or '')} |" for each in command.params if each.name != "help"
    ]
    return "\n".join([*lines, ""])


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        dots = "..." if parameter.nargs == -1 else ""
        return f"`{parameter.metavar}{dots}`" + ("" if parameter.required else " (optional)")
    names = [*reversed(parameter.opts), *parameter.secondary_opts]
    value = f" {parameter.metavar}" if parameter.metavar else ""
    return ", ".join(f"`{name}{value if name == parameter.opts[0] else ''}`" for name in names)


def _default(value: object) -> str:
    return {None: "", True: "yes", False: "no"}.get(value, f"`{value}`")  # type: ignore[call-overload,no-any-return]


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    TARGET.write_text(page(), encoding="utf-8")
    sys.exit(0)
