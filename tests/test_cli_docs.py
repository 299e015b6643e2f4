from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_cli_docs", ROOT / "scripts" / "write_cli_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WRITER = script()
COMMANDS = dict(WRITER.commands())


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == WRITER.page(), "run: make docs"


def test_the_commands_are_these() -> None:
    assert list(COMMANDS) == [
        "index",
        "search",
        "ask",
        "compare",
        "rerank",
        "status",
        "eval",
        "worth-it",
        "queries",
        "judge",
        "calibrate",
        "train",
        "demo",
        "bench",
        "mcp",
        "serve",
        "models list",
        "models pull",
        "models verify",
        "models export",
        "models import",
        "models optimize",
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_explained_and_shows_an_example(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    assert len(command.help.strip().splitlines()[0]) <= 60
    assert command.epilog.startswith(f"Example: secondpass {name}")
    for parameter in command.params:
        if parameter.name != "help":
            assert parameter.help, f"{name}: {parameter.name} has no help"
            assert parameter.help.endswith((".", "]")), f"{name}: {parameter.name}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_is_one_its_command_can_read(name: str) -> None:
    words = shlex.split(COMMANDS[name].epilog.removeprefix(f"Example: secondpass {name}"))
    COMMANDS[name].make_context(name, words)  # raises for an option or an argument that there is not


OWN_FORMAT = {"mcp", "rerank", "serve"}
"""Servers answer in their protocols, and ``rerank`` in JSON lines whatever is said."""


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - OWN_FORMAT))
def test_every_command_takes_json(name: str) -> None:
    options = {option for parameter in COMMANDS[name].params for option in parameter.opts}
    assert "--json" in options


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_is_there_and_fits_a_narrow_terminal(name: str) -> None:
    environment = {**os.environ, "COLUMNS": "50"}
    done = subprocess.run(
        [sys.executable, "-m", "secondpass", *name.split(), "--help"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: secondpass" in done.stdout
    assert "secondpass " in done.stdout.split("Options:")[1]  # the example stands at the end
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_every_command_has_its_shape_in_the_json_page() -> None:
    headings = re.findall(r"^## .*$", (ROOT / "docs" / "json.md").read_text(encoding="utf-8"), re.MULTILINE)
    for name in COMMANDS.keys() - OWN_FORMAT:
        assert any(f"`{name} --json`" in heading for heading in headings), name
