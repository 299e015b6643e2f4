"""Splitting: the same texts as langchain-text-splitters, and offsets, lines and pages that are exact."""

from __future__ import annotations

import gzip
import json
import re
import sysconfig
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_text_splitters import RecursiveCharacterTextSplitter

from secondpass.errors import InputError
from secondpass.splitting import DEFAULT_SEPARATORS, RecursiveSplitter, passage_id
from secondpass.types import Document

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

# Words, blanks and line ends in every mixture, and characters that are easy to get wrong.
PROSE = st.lists(
    st.sampled_from(
        [
            "a",
            "of",
            "passage",
            "x" * 13,
            " ",
            "  ",
            "\n",
            "\n\n",
            "\r\n",
            "\r",
            "\t",
            "\x1c",
            "\u00a0",
            "\u2028",
            "e\u0301",
            "\U0001f600",
            "\x00",
            "日本語",
            "\N{RIGHT-TO-LEFT MARK}",
        ]
    ),
    max_size=120,
).map("".join)
TEXT = st.one_of(PROSE, st.text(max_size=300))
SIZES = st.integers(1, 40).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1)))
SEPARATORS = st.sampled_from(
    [DEFAULT_SEPARATORS, ("\n", " ", ""), ("\n\n", "\n"), ("",), (".*", "|", " ", ""), ("aa", "a"), ("", "a")]
)


def langchain_texts(
    text: str, size: int, overlap: int, separators: tuple[str, ...] = DEFAULT_SEPARATORS
) -> list[str]:
    """What that library gives, without the passages of nothing but whitespace."""
    splitter = RecursiveCharacterTextSplitter(
        chunk_size=size, chunk_overlap=overlap, separators=list(separators)
    )
    return [passage for passage in splitter.split_text(text) if passage.strip()]


def our_texts(
    text: str, size: int, overlap: int, separators: tuple[str, ...] = DEFAULT_SEPARATORS
) -> list[str]:
    return [text[start:end] for start, end in RecursiveSplitter(size, overlap, separators).spans(text)]


def library_sources() -> list[Path]:
    return sorted(Path(sysconfig.get_path("stdlib")).glob("[a-z]*.py")) + sorted(
        Path(sysconfig.get_path("stdlib")).glob("[a-z]*/[a-z]*.py")
    )


def test_same_texts_as_langchain_on_the_standard_library() -> None:
    files = [path for path in library_sources() if "site-packages" not in path.parts][:260]
    assert len(files) >= 200
    passages = 0
    for path in files:
        text = path.read_bytes().decode("utf-8", "replace")
        # No exception is made here: at 500/50 the lists are equal as they are.
        expected = RecursiveCharacterTextSplitter(chunk_size=500, chunk_overlap=50).split_text(text)
        assert our_texts(text, 500, 50) == expected, path
        passages += len(expected)
    assert passages > 5000


@pytest.mark.parametrize(("size", "overlap"), [(1000, 200), (200, 0), (80, 79), (37, 36), (8, 3), (2, 1)])
def test_same_texts_as_langchain_at_other_sizes(size: int, overlap: int) -> None:
    for path in library_sources()[:40]:
        text = path.read_bytes()[:20_000].decode("utf-8", "replace")
        assert our_texts(text, size, overlap) == langchain_texts(text, size, overlap), path


def shared_texts() -> Iterator[str]:
    for path in sorted((SHARED / "train").glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in islice(lines, 20):
                yield "\n\n".join(_strings(json.loads(line)))
    for path in sorted((SHARED / "corpora").glob("*/**/*.[rm][sd]*")):
        yield path.read_bytes().decode("utf-8", "replace")


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the collections of the development checkout")
def test_same_texts_as_langchain_on_the_shared_texts() -> None:
    texts = list(shared_texts())
    assert len(texts) >= 1000
    for text in texts:
        expected = RecursiveCharacterTextSplitter(chunk_size=500, chunk_overlap=50).split_text(text)
        assert our_texts(text, 500, 50) == expected
        assert our_texts(text, 120, 30) == langchain_texts(text, 120, 30)


@settings(max_examples=400, deadline=None)
@given(TEXT, SIZES, SEPARATORS)
def test_same_texts_as_langchain_on_any_text(
    text: str, sizes: tuple[int, int], separators: tuple[str, ...]
) -> None:
    assert our_texts(text, *sizes, separators) == langchain_texts(text, *sizes, separators)


@settings(max_examples=300, deadline=None)
@given(TEXT, SIZES)
def test_offsets_lines_and_ids_are_exact(text: str, sizes: tuple[int, int]) -> None:
    size, overlap = sizes
    document = Document("d", text, {"kind": "any"}, source="s")
    passages = RecursiveSplitter(size, overlap).split(document)
    line_ends = [found.end() for found in re.finditer(r"\r\n|\r|\n", text)]
    for passage in passages:
        assert document.text[passage.start : passage.end] == passage.text
        assert 0 < len(passage.text) <= size
        assert passage.text == passage.text.strip()
        assert passage.line_start == 1 + sum(end <= passage.start for end in line_ends)
        assert passage.line_end == 1 + sum(end <= passage.end - 1 for end in line_ends)
        assert (passage.document_id, passage.source, passage.metadata) == ("d", "s", {"kind": "any"})
    starts = [(passage.start, passage.end) for passage in passages]
    assert starts == sorted(starts)
    assert len({passage.id for passage in passages}) == len(passages)


@settings(max_examples=200, deadline=None)
@given(TEXT, SIZES)
def test_every_visible_character_is_in_some_passage(text: str, sizes: tuple[int, int]) -> None:
    covered = set()
    for start, end in RecursiveSplitter(*sizes).spans(text):
        covered.update(range(start, end))
    assert all(text[position].isspace() for position in set(range(len(text))) - covered)


def test_a_stretch_is_given_once_though_two_windows_hold_nothing_else() -> None:
    text = " " * 460 + "word" + " " * 600
    assert our_texts(text, 500, 50) == langchain_texts(text, 500, 50) == ["word", "word"]
    assert [(p.text, p.start) for p in RecursiveSplitter().split(Document("d", text))] == [("word", 460)]


def test_lone_surrogates_and_empty_texts_do_no_harm() -> None:
    splitter = RecursiveSplitter(4, 1)
    assert [passage.text for passage in splitter.split(Document("d", "ab\ud800cd ef"))] == [
        "ab\ud800c",
        "cd",
        "ef",
    ]
    for blank in ("", " ", "\n\n\n", "\x1c \t", " " * 20):
        assert splitter.split(Document("d", blank)) == []


def test_pages_are_those_where_a_passage_starts() -> None:
    document = Document("d", "first page\n\nsecond page\n\nfourth", page_starts=(0, 12, 25, 25))
    passages = RecursiveSplitter(12, 0).split(document)
    assert [(passage.text, passage.page) for passage in passages] == [
        ("first page", 1),
        ("second page", 2),
        ("fourth", 4),
    ]
    assert [passage.page for passage in RecursiveSplitter().split(Document("d", "no pages"))] == [None]


def test_windows_and_mac_line_ends_count_once() -> None:
    document = Document("d", "one\r\ntwo\rthree\n\nfive")
    lines = [(p.text, p.line_start, p.line_end) for p in RecursiveSplitter(6, 0).split(document)]
    assert lines == [("one", 1, 1), ("two\rt", 2, 3), ("hree", 3, 3), ("five", 5, 5)]


def test_one_line_of_ten_million_characters_takes_no_list_of_characters() -> None:
    text = "x" * 10_000_000
    spans = RecursiveSplitter(500, 50).spans(text)
    assert list(islice(spans, 3)) == [(0, 500), (450, 950), (900, 1400)]
    *_, last = spans
    assert last[1] == len(text)
    assert list(RecursiveSplitter(500, 50).spans("\n" * 1_000_000)) == []


def test_passage_ids_depend_on_document_start_and_text() -> None:
    identity = passage_id("d", 3, "text")
    assert re.fullmatch("[0-9a-f]{16}", identity)
    assert identity == passage_id("d", 3, "text")
    others = [("e", 3, "text"), ("d", 4, "text"), ("d", 3, "texts"), ("d3", 3, "text"), ("d", 33, "text")]
    assert len({identity, *(passage_id(*other) for other in others)}) == 6


def test_settings_are_json_and_tell_how_to_split_again() -> None:
    splitter = RecursiveSplitter(200, 20, separators=("\n", ""))
    recorded = json.loads(json.dumps(splitter.settings))
    assert recorded == {"name": "recursive", "size": 200, "overlap": 20, "separators": ["\n", ""]}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"size": 0}, "at least 1"),
        ({"size": -5}, "at least 1"),
        ({"overlap": -1}, "overlap"),
        ({"size": 10, "overlap": 10}, "less than the size 10"),
        ({"size": 1.5}, "whole number"),
        ({"size": True}, "whole number"),
        ({"overlap": "5"}, "whole number"),
        ({"separators": ()}, "separators"),
        ({"separators": "\n"}, "separators"),
        ({"separators": ("\n", 3)}, "must be a string"),
    ],
)
def test_wrong_settings_are_refused(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        RecursiveSplitter(**arguments)  # type: ignore[arg-type]
