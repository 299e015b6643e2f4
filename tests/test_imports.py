from __future__ import annotations

import subprocess
import sys

import pytest

import secondpass

EXPORTED = [
    "Candidate",
    "CrossEncoder",
    "Document",
    "Engine",
    "Hit",
    "Index",
    "LateInteraction",
    "MiniLMEmbedder",
    "Passage",
    "RecursiveSplitter",
    "SearchResult",
    "SecondpassError",
    "load",
    "load_reranker",
    "rerank",
]

HEAVY = [
    "numpy",
    "onnxruntime",
    "tokenizers",
    "sqlite3",
    "rich",
    "typer",
    "huggingface_hub",
    "torch",
    "fastapi",
]
OPTIONAL = ["chromadb", "langchain", "langchain_core", "markitdown", "sentence_transformers", "transformers"]


def loaded_after(code: str) -> set[str]:
    """Return the top-level modules of a new process that has run some code."""
    program = f"import sys\n{code}\nprint('\\n'.join({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_exported_names_are_pinned() -> None:
    assert sorted(secondpass.__all__) == EXPORTED
    for name in EXPORTED:
        assert getattr(secondpass, name).__name__ == name
    assert set(EXPORTED) <= set(dir(secondpass))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Chunk'"):
        secondpass.Chunk  # noqa: B018  the access is the test


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_after("import secondpass").isdisjoint([*HEAVY, *OPTIONAL])


def test_the_whole_library_loads_no_optional_package() -> None:
    loaded = loaded_after("import secondpass\nfor name in secondpass.__all__: getattr(secondpass, name)")
    assert "numpy" in loaded
    assert loaded.isdisjoint(["torch", "fastapi", *OPTIONAL])


def test_the_command_line_starts_light() -> None:
    code = "from secondpass.cli import main\nmain(['--version'])"
    loaded = loaded_after(code)
    assert "typer" in loaded
    assert loaded.isdisjoint(["numpy", "onnxruntime", "tokenizers", "huggingface_hub", *OPTIONAL])


def test_the_layers_hold() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command as run; run()",
            "--no-cache",
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=secondpass.__path__[0] + "/../..",
    )
    assert done.returncode == 0, done.stdout + done.stderr
