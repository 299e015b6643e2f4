"""Finding files: order, each once, what folders leave out, and git's own word on what it ignores."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from secondpass.errors import LoadError
from secondpass.loading import LoadOptions, Skipped, discover, load, read
from secondpass.types import Document

GIT = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"text of {name}")


def git(folder: Path, *arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=folder, env=GIT, check=True, stdout=subprocess.PIPE).stdout


def names(folder: Path, *paths: Path, **options: bool) -> list[str]:
    """What is found below the folder, as relative paths."""
    found = discover(paths or folder, LoadOptions(**options))  # type: ignore[arg-type]
    return [path.relative_to(folder).as_posix() for path in found]


def test_order_is_fixed_and_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "b.txt", "a/z.txt", "a/B.txt", "a/b/c.txt", "a.txt", "c/x.txt")
    expected = ["a/B.txt", "a/b/c.txt", "a/z.txt", "a.txt", "b.txt", "c/x.txt"]
    assert names(tmp_path) == expected
    monkeypatch.chdir(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in discover(".")] == expected
    assert names(tmp_path, Path("c"), Path("./b.txt"), Path("a/../a.txt")) == ["c/x.txt", "b.txt", "a.txt"]
    assert read("a/../b.txt")[0].id == f"{tmp_path}/b.txt"


def test_one_path_may_be_given_alone(tmp_path: Path) -> None:
    write(tmp_path, "a.txt")
    for paths in (str(tmp_path), tmp_path, [tmp_path], (str(tmp_path / "a.txt"),)):
        assert [document.metadata["name"] for document in load(paths) if isinstance(document, Document)] == [
            "a.txt"
        ]


def test_folders_leave_out_what_is_not_the_users_own(tmp_path: Path) -> None:
    write(tmp_path, "kept.txt", ".hidden.txt", ".github/b.md", "node_modules/m.js", "x/__pycache__/c.py")
    write(tmp_path, ".venv/lib.py", "env/pyvenv.cfg", "env/lib.py", ".git/config", ".secondpass/notes.txt")
    write(tmp_path, "my_index/index.db", "my_index/cache/matrix.txt", "my_index/readme.txt")
    write(tmp_path, "data/index.db.txt", "data/cache/kept.txt")
    assert names(tmp_path) == ["data/cache/kept.txt", "data/index.db.txt", "kept.txt"]
    assert [name for name in names(tmp_path, include_hidden=True) if name.startswith(".")] == [
        *(".github/b.md", ".hidden.txt"),
    ]
    # What is named is read.
    asked = [
        tmp_path / ".hidden.txt",
        tmp_path / ".github",
        tmp_path / "node_modules",
        tmp_path / ".venv" / "lib.py",
    ]
    assert names(tmp_path, *asked) == [".hidden.txt", ".github/b.md", "node_modules/m.js", ".venv/lib.py"]


def test_a_real_file_comes_once_under_the_first_path(tmp_path: Path) -> None:
    write(tmp_path, "outside/far.txt", "docs/b.txt", "docs/sub/c.txt")
    (tmp_path / "docs" / "a-link.txt").symlink_to("b.txt")
    (tmp_path / "docs" / "z-link.txt").symlink_to("../outside/far.txt")
    (tmp_path / "docs" / "y-sub").symlink_to("sub")
    (tmp_path / "docs" / "w-outside").symlink_to("../outside")
    docs = tmp_path / "docs"
    assert names(tmp_path, docs) == ["docs/a-link.txt", "docs/sub/c.txt", "docs/w-outside/far.txt"]
    assert names(tmp_path, docs / "b.txt", docs, docs, tmp_path / "outside" / "far.txt") == [
        *("docs/b.txt", "docs/sub/c.txt", "docs/w-outside/far.txt"),
    ]


def test_two_hard_links_are_two_files(tmp_path: Path) -> None:
    write(tmp_path, "a.txt")
    os.link(tmp_path / "a.txt", tmp_path / "b.txt")
    assert names(tmp_path) == ["a.txt", "b.txt"]


def test_loops_of_symbolic_links_end(tmp_path: Path) -> None:
    write(tmp_path, "a/b/c.txt")
    (tmp_path / "a" / "b" / "up").symlink_to("../..")
    (tmp_path / "a" / "self").symlink_to(".")
    (tmp_path / "a" / "absolute").symlink_to(tmp_path)
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    found = list(load(tmp_path))
    assert [e.metadata["name"] for e in found if isinstance(e, Document)] == ["c.txt"]
    broken = [e for e in found if isinstance(e, Skipped)]
    assert {Path(entry.path).name for entry in broken} <= {"one", "two"}
    assert broken
    assert all("symbolic links" in entry.reason for entry in broken)


def test_very_deep_folders_end(tmp_path: Path) -> None:
    descent = os.open(tmp_path, os.O_RDONLY)
    for _ in range(1500):  # deeper than calls nest, and than one path can say
        os.mkdir("deep", dir_fd=descent)
        descent, above = os.open("deep", os.O_RDONLY, dir_fd=descent), descent
        os.close(above)
    os.close(descent)
    write(tmp_path, "a.txt", "z.txt")
    found = list(load(tmp_path))
    # Not left for others to clear away: Python's own rmtree does not get through it.
    subprocess.run(["rm", "-rf", tmp_path / "deep"], check=True)
    assert [e.metadata["name"] for e in found if isinstance(e, Document)] == ["a.txt", "z.txt"]
    assert [e.reason for e in found if isinstance(e, Skipped)] == ["cannot be read: File name too long"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_utf8_is_reported(tmp_path: Path) -> None:
    broken = os.fsencode(tmp_path) + b"/caf\xe9.txt"
    with open(broken, "w") as file:  # noqa: PTH123  Path takes no bytes
        file.write("text")
    os.mkdir(os.fsencode(tmp_path) + b"/d\xff")  # noqa: PTH102  Path takes no bytes
    write(Path(os.fsdecode(os.fsencode(tmp_path) + b"/d\xff")), "inner.txt")
    write(tmp_path, "ok.txt")
    found = list(load(tmp_path))
    assert [e.metadata["name"] for e in found if isinstance(e, Document)] == ["ok.txt"]
    assert sorted(e.path for e in found if isinstance(e, Skipped)) == [
        f"{tmp_path}/caf\\udce9.txt",
        f"{tmp_path}/d\\udcff/inner.txt",
    ]
    assert {e.reason for e in found if isinstance(e, Skipped)} == {"its name is not valid UTF-8; rename it"}
    with pytest.raises(LoadError, match="rename it"):
        read(os.fsdecode(broken))


def test_special_files_in_folders_are_reported_not_opened(tmp_path: Path) -> None:
    write(tmp_path, "a.txt")
    os.mkfifo(tmp_path / "b.fifo")
    (tmp_path / "c.txt").symlink_to("nowhere")
    found = list(load(tmp_path))
    assert [type(entry) for entry in found] == [Document, Skipped, Skipped]


# ------------------------------------------------------------------------------------ .gitignore


def ignored_repository(tmp_path: Path) -> Path:
    """A repository with rules at every level that git reads them from."""
    top = tmp_path / "repo"
    write(top, "a.txt", "a.log", "keep.log", "build/out.txt", "build/keep.txt", "docs/a.md", "docs/b.log")
    write(top, "docs/keep/x.tmp", "docs/deep/x.tmp", "docs/deep/y.md", "src/gen/a.py", "src/gen/keep.py")
    write(top, "src/other/build/a.txt", "local.txt", "docs/build", "vendor/lib.py")
    (top / ".gitignore").write_text("# rules\n*.log\n!keep.log\n/build/\nsrc/gen/*\n!src/gen/keep.py\n")
    (top / "docs" / ".gitignore").write_text("*.tmp\n!keep/*.tmp\n!b.log\n")
    (top / "docs" / "deep" / ".gitignore").write_text("!x.tmp\ny.md\n")
    git(top.parent, "init", "-q", "repo")
    (top / ".git" / "info" / "exclude").write_text("local.txt\nvendor\n")
    return top


def unignored_by_git(top: Path) -> list[str]:
    listed = git(top, "ls-files", "-z", "--others", "--exclude-standard")
    return sorted(os.fsdecode(name) for name in listed.split(b"\0") if name)


def test_gitignore_agrees_with_git(tmp_path: Path) -> None:
    top = ignored_repository(tmp_path)
    found = names(top, include_hidden=True)
    assert sorted(found) == unignored_by_git(top)
    assert "docs/b.log" in found
    assert not {"a.log", "build/out.txt", "local.txt", "vendor/lib.py", "docs/deep/y.md"} & set(found)
    # git check-ignore says the same of every file, one by one.
    files = [path for path in top.rglob("*") if path.is_file() and ".git" not in path.parts]
    for path in files:
        asked = subprocess.run(["git", "check-ignore", "-q", path], cwd=top, env=GIT, check=False)
        assert (asked.returncode == 0) == (path.relative_to(top).as_posix() not in found), path
    assert len(names(top, gitignore=False, include_hidden=True)) == len(files)


def test_rules_hold_when_a_subfolder_is_named(tmp_path: Path) -> None:
    top = ignored_repository(tmp_path)
    assert names(top, top / "docs") == [
        "docs/a.md",
        "docs/b.log",
        "docs/build",
        "docs/deep/x.tmp",
        "docs/keep/x.tmp",
    ]
    assert names(top, top / "src" / "gen") == ["src/gen/keep.py"]
    (tmp_path / "link").symlink_to(top / "docs" / "deep")
    assert [path.name for path in discover(tmp_path / "link")] == ["x.tmp"]


def test_what_is_named_is_read_though_git_ignores_it(tmp_path: Path) -> None:
    top = ignored_repository(tmp_path)
    assert names(top, top / "a.log", top / "build", top / "vendor") == [
        *("a.log", "build/keep.txt", "build/out.txt", "vendor/lib.py"),
    ]


def test_without_a_repository_gitignore_means_nothing(tmp_path: Path) -> None:
    write(tmp_path, "a.log", "b.txt")
    (tmp_path / ".gitignore").write_text("*.log\n")
    assert names(tmp_path) == ["a.log", "b.txt"]


def test_a_repository_inside_another_has_its_own_rules(tmp_path: Path) -> None:
    write(tmp_path, "a.log", "inner/a.log", "inner/b.txt", "gone/a.txt")
    (tmp_path / ".gitignore").write_text("*.log\ngone\n")
    (tmp_path / "inner" / ".gitignore").write_text("b.txt\n")
    git(tmp_path, "init", "-q")
    git(tmp_path / "inner", "init", "-q")
    git(tmp_path / "gone", "init", "-q")
    assert names(tmp_path) == ["inner/a.log"]


def test_a_linked_work_tree_follows_the_excludes_of_its_repository(tmp_path: Path) -> None:
    top = ignored_repository(tmp_path)
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    git(top, *identity, "commit", "-q", "--allow-empty", "-m", "start")
    git(top, "worktree", "add", "-q", "../linked")
    linked = tmp_path / "linked"
    write(linked, "local.txt", "other.txt")
    assert names(linked) == ["other.txt"] == unignored_by_git(linked)


def test_rule_files_that_cannot_be_read_do_no_harm(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", "sub/b.txt")
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_bytes(b"\xff\xfe[\n\\\n[z-\n!\n/\nsub/\xe9\n")
    os.mkfifo(tmp_path / "sub" / ".gitignore")  # opening it would wait for ever
    assert names(tmp_path) == ["a.txt", "sub/b.txt"]


# fmt: off
PATTERNS = [
    "*", "!*/", "!*.txt", "*.txt", "/a", "a/", "a/*", "!a/b", "**/b", "a/**", "a/**/c", "b?",
    "[ab]", "[!ab]", "[^a]x", "[a-c]c", "\\#x", "#x", "!", "!c", "/", "//", "a//b", "**", "***",
    "a**", "**a", "*/", "/*", "/*/", "!/a", "a\\", "[", "[]a]", "[[:alpha:]]", "[[:digit:]b]",
    "[z-a]", "\\!c", "foo*bar", "a/b/", "!a/b/", "**/", "!**/", "b/**/", "é", "??", "caf?", "[a-",
    "[a\\]b]", "a/*/c", "*/c", "[[:foo:]]", "**\\/c", "[b-]", "[--c]", "[\\a-c]", "x.txt\r",
    "c\\ ", "c ", " a", "a\t", "", "c  ",
]
# fmt: on
NAMES = ["a", "b", "c", "bb", "ab", "x.txt", "#x", "!c", "c ", "é", "cc", "a]", "-", " a"]


def grow(folder: Path, depth: int, dice: random.Random) -> None:
    for name in dice.sample(NAMES, dice.randrange(2, 6)):
        path = folder / name
        if depth < 3 and dice.random() < 0.55:
            path.mkdir()
            grow(path, depth + 1, dice)
        else:
            path.write_text("text")
    if depth == 0 or dice.random() < 0.3:
        rules = "\n".join(dice.choice(PATTERNS) for _ in range(dice.randrange(1, 6)))
        (folder / ".gitignore").write_bytes((rules + dice.choice(["", "\n", "\r\n"])).encode())


@pytest.mark.parametrize("seed", range(40))
def test_random_rules_in_random_trees_agree_with_git(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    git(tmp_path, "init", "-q")
    (tmp_path / ".git" / "info" / "exclude").write_text("\n".join(dice.choices(PATTERNS, k=seed % 3)))
    grow(tmp_path, 0, dice)
    assert sorted(names(tmp_path, include_hidden=True)) == unignored_by_git(tmp_path)
