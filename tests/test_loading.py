"""Reading files: every format from real files, encodings, and a clear reason where a file gives nothing."""

# ruff: noqa: RUF001  letters of many scripts are what is tested here

from __future__ import annotations

import csv
import io
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privileges import without_privileges
from secondpass.errors import InputError, LoadError
from secondpass.loading import LoadOptions, Skipped, load, read
from secondpass.types import Document

PARAGRAPHS = {
    "fr": "Le café est très bon. Où êtes-vous allés cet été ? Ça dépend du temps qu’il fait à Besançon.",
    "pl": "Zażółć gęślą jaźń, proszę państwa: źdźbło, łódź i ćma.",
    "tr": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. Akıl ve vicdana sahiptirler ve "
    "birbirlerine karşı kardeşlik zihniyeti ile hareket etmelidirler.",
    "ru": "Привет, как дела? Это русский текст, по которому узнают кодировку.",
    "el": "Αυτό είναι ένα ελληνικό κείμενο για δοκιμή.",
    "ja": "これは日本語のテキストです。文字コードの判定を試します。",
    "zh": "这是一个中文文本，用来测试编码检测。",
    "ko": "이것은 한국어 텍스트입니다. 인코딩 감지를 시험합니다.",
    "en": "It’s a “smart” quote — with a dash, and then plain words.",
}


def one(path: Path, options: LoadOptions | None = None) -> Document:
    (document,) = read(path, options)
    return document


def reason(path: Path, options: LoadOptions | None = None) -> str:
    """Why a file cannot be read; ``load`` must report the same."""
    with pytest.raises(LoadError) as caught:
        read(path, options)
    (skipped,) = load(path, options)
    assert skipped == Skipped(caught.value.path, caught.value.reason, error=True)
    return caught.value.reason


def pdf(*pages: str, trailer: str = "", objects: str = "") -> bytes:
    """Write a small PDF by hand, one line of text a page."""
    out = io.BytesIO(b"")
    bodies = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    kids = []
    for text in pages:
        content = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
        kids.append(f"{len(bodies) + 1} 0 R")
        bodies.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {len(bodies) + 2} 0 R "
            "/Resources << /Font << /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >> >> >>"
        )
        bodies.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    bodies[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    out.write(b"%PDF-1.7\n")
    offsets = []
    for number, body in enumerate(bodies, 1):
        offsets.append(out.tell())
        out.write(f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1"))
    start = out.tell()
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    out.write(f"xref\n0 {len(bodies) + 1}\n0000000000 65535 f \n{table}".encode())
    out.write(
        f"trailer\n<< /Size {len(bodies) + 1} /Root 1 0 R {trailer} >>\nstartxref\n{start}\n%%EOF\n".encode()
    )
    return out.getvalue()


# ---------------------------------------------------------------------------------------- text


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.rst", "a.py", "a.rs", "README", "a.unknown"])
def test_text_is_kept_as_it_is(tmp_path: Path, name: str) -> None:
    text = "# Head\r\nline\rold mac\n\n\tend é \U0001f600 e\u0301\u2028"
    path = tmp_path / name
    path.write_bytes(text.encode())
    document = one(path)
    assert document == Document(
        id=path.as_posix(),
        text=text,
        metadata={"name": name, "extension": path.suffix, "folder": tmp_path.as_posix()},
        source=path.as_posix(),
    )


@pytest.mark.parametrize(
    ("language", "encoding"),
    [
        *[("fr", "cp1252"), ("en", "cp1252"), ("pl", "cp1250"), ("tr", "cp1254"), ("ru", "cp1251")],
        *[("ru", "koi8-r"), ("el", "iso8859-7"), ("ja", "shift-jis"), ("ja", "euc-jp"), ("zh", "gbk")],
        *[("ko", "euc-kr"), ("fr", "utf-8"), ("ja", "utf-8-sig"), ("fr", "utf-16"), ("ru", "utf-32")],
        *[("fr", "utf-16-le"), ("en", "utf-16-be")],
    ],
)
def test_encodings_are_detected(tmp_path: Path, language: str, encoding: str) -> None:
    path = tmp_path / "text.txt"
    text = f"{PARAGRAPHS[language]}\r\n{PARAGRAPHS[language]}\n"
    path.write_bytes(text.encode(encoding))
    assert one(path).text == text


@pytest.mark.parametrize("word", ["café", "Müller", "señor Muñoz"])
def test_a_single_latin_word_is_enough(tmp_path: Path, word: str) -> None:
    path = tmp_path / "word.txt"
    path.write_bytes(word.encode("latin-1"))
    assert one(path).text == word


def test_the_telling_bytes_may_come_late_in_a_large_file(tmp_path: Path) -> None:
    path = tmp_path / "late.txt"
    text = "plain ascii line\n" * 20_000 + PARAGRAPHS["ja"] + "\n"
    path.write_bytes(text.encode("shift-jis"))
    assert one(path).text == text
    one_line = "ascii words " * 20_000 + PARAGRAPHS["fr"] + " and more " * 10_000
    path.write_bytes(one_line.encode("cp1252"))
    assert one(path).text == one_line


def test_a_declared_encoding_is_believed_where_the_bytes_allow_it(tmp_path: Path) -> None:
    source = tmp_path / "a.py"
    source.write_bytes("# -*- coding: cp437 -*-\nname = 'Ünal'\n".encode("cp437"))
    assert "Ünal" in one(source).text
    page = tmp_path / "a.html"
    page.write_bytes("<meta charset='iso-8859-5'><p>Привет</p>".encode("iso-8859-5"))
    assert one(page).text == "Привет"
    source.write_bytes(b"# coding: no-such-codec\nname = 'caf\xe9'\n")
    assert "café" in one(source).text


def test_a_named_encoding_is_taken_and_must_fit(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("naïve".encode("cp437"))
    assert one(path, LoadOptions(encoding="cp437")).text == "naïve"
    assert "not valid utf-8 at byte 2" in reason(path, LoadOptions(encoding="utf-8"))
    path.write_bytes("naïve".encode("utf-16"))
    assert one(path, LoadOptions(encoding="utf-16")).text == "naïve"


def test_a_broken_utf16_file_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("text".encode("utf-16") + b"\x00")
    assert "not valid utf-16" in reason(path)
    path.write_bytes(b"\xff\xfe" + b"\x00\xd8a\x00")  # a lone surrogate
    assert "not valid utf-16" in reason(path)


def test_no_document_holds_a_nul_or_a_lone_surrogate(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("before\0after".encode("utf-16"))
    assert one(path).text == "before\ufffdafter"
    rows = tmp_path / "a.jsonl"
    rows.write_text('{"text": "a \\ud800 b \\u0000 c", "key\\udfff": "v\\ud800"}\n')
    document = one(rows)
    assert document.text == "a \ufffd b \ufffd c"
    assert document.metadata["key\ufffd"] == "v\ufffd"
    # A pair of surrogates is one good character.
    rows.write_text('{"text": "\\ud83d\\ude00"}\n')
    assert one(rows).text == "\U0001f600"


# ------------------------------------------------------------------------------- what is refused


def test_binary_is_told_by_content(tmp_path: Path) -> None:
    noise = random.Random(0).randbytes(2**20)
    for name, data in {
        "noise.txt": noise,
        "noise.md": bytes(byte for byte in noise if byte),  # no NUL gives it away
        "picture.csv": b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + noise[:200],
        "program": Path(sys.executable).resolve().read_bytes()[:100_000],
        "archive.json": b"PK\x03\x04\x14\x00\x00\x00\x08\x00" + noise[:50],
    }.items():
        path = tmp_path / name
        path.write_bytes(data)
        assert reason(path) == "binary file"


@pytest.mark.parametrize("content", [b"", b"  \r\n\t\n", b"\xef\xbb\xbf", b"\xff\xfe"])
@pytest.mark.parametrize("name", ["a.txt", "a.json", "a.jsonl", "a.csv", "a.html"])
def test_a_file_without_text_is_skipped_without_error(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert read(path) == []
    assert list(load(path)) == [Skipped(path.as_posix(), "empty: no text in it", error=False)]


@pytest.mark.parametrize("name", ["a.pdf", "a.docx", "a.epub"])
def test_an_empty_file_of_a_rich_format_is_empty_too(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.touch()
    assert list(load(path)) == [Skipped(path.as_posix(), "empty: no text in it", error=False)]


def test_a_large_file_is_refused_with_sizes_and_the_option(tmp_path: Path) -> None:
    path = tmp_path / "large.txt"
    path.write_bytes(b"x" * 3_000_000)
    assert reason(path, LoadOptions(max_bytes=2**20)) == (
        "too large: 3,000,000 bytes (2.9 MiB), the limit is 1,048,576 (1.0 MiB); "
        "raise it with --max-file-size"
    )
    assert len(one(path, LoadOptions(max_bytes=3_000_000)).text) == 3_000_000


def test_a_hundred_megabytes_of_one_line(tmp_path: Path) -> None:
    path = tmp_path / "line.txt"
    with path.open("wb") as file:
        file.truncate(100_000_000)  # sparse: refused by its size, before it is read
    assert "100,000,000 bytes" in reason(path)
    path.write_bytes(b"word " * 20_000_000)
    assert len(one(path, LoadOptions(max_bytes=2**27)).text) == 100_000_000


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs the /proc of Linux")
def test_a_file_that_grows_after_its_size_was_taken_is_cut_off(tmp_path: Path) -> None:
    # Files of /proc say that they are 0 bytes long and give more.
    path = Path("/proc/self/maps")
    assert path.stat().st_size == 0
    assert "python" in one(path).text
    assert "the limit is 10" in reason(path, LoadOptions(max_bytes=10))


def test_a_fifo_a_socket_and_a_device_are_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.txt")  # reading it would wait for ever
    assert "a FIFO" in reason(tmp_path / "fifo.txt")
    with tempfile.TemporaryDirectory(dir="/tmp") as short, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{short}/s.txt")
        assert "a socket" in reason(Path(short, "s.txt"))
    assert "a device" in reason(Path("/dev/zero"))
    (tmp_path / "link.txt").symlink_to(tmp_path / "fifo.txt")
    assert "a FIFO" in reason(tmp_path / "link.txt")


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    assert reason(tmp_path / "gone.txt") == "no such file or folder"
    (tmp_path / "dangling.txt").symlink_to("gone.txt")
    assert reason(tmp_path / "dangling.txt") == "a symbolic link to gone.txt, which does not exist"
    (tmp_path / "self.txt").symlink_to("self.txt")
    assert "symbolic links" in reason(tmp_path / "self.txt")
    (tmp_path / "plain.txt").write_text("x")
    assert "cannot be read" in reason(tmp_path / "plain.txt" / "inner.txt")
    assert "cannot be read" in reason(tmp_path / ("long" * 100))
    assert "not a usable path" in reason(Path(f"{tmp_path}/nul\0.txt"))
    with pytest.raises(LoadError, match="a folder, not a file"):
        read(tmp_path)


def test_files_and_folders_without_permission_are_reported() -> None:
    with without_privileges() as folder:
        (folder / "ok.txt").write_text("fine")
        (folder / "secret.txt").write_text("hidden")
        (folder / "secret.txt").chmod(0)
        (folder / "locked").mkdir()
        (folder / "locked").chmod(0)
        found = list(load(folder))
        (folder / "locked").chmod(0o755)
    assert [type(entry).__name__ for entry in found] == ["Skipped", "Document", "Skipped"]
    locked, _, secret = found
    assert isinstance(locked, Skipped)
    assert isinstance(secret, Skipped)
    assert locked.path.endswith("/locked")
    assert secret.path.endswith("/secret.txt")
    assert locked.error
    assert secret.error
    assert locked.reason.startswith("permission denied")
    assert secret.reason.startswith("permission denied")


def test_what_vanishes_during_the_run_is_reported(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "d.txt").write_text("d")
    run = load(tmp_path)
    assert isinstance(next(run), Document)
    (tmp_path / "b.txt").unlink()
    (tmp_path / "c" / "d.txt").unlink()
    (tmp_path / "c").rmdir()
    assert [(Path(e.path).name, e.reason) for e in run if isinstance(e, Skipped)] == [
        ("b.txt", "no such file or folder"),
        ("c", "no such file or folder"),
    ]


def test_one_bad_file_never_stops_the_others(tmp_path: Path) -> None:
    (tmp_path / "1.txt").write_text("first")
    (tmp_path / "2.pdf").write_bytes(b"%PDF-1.4 and then nothing")
    (tmp_path / "3.bin").write_bytes(bytes(100))
    (tmp_path / "4.jsonl").write_text('{"text": "good"}\n{"text": \n')
    (tmp_path / "5.docx").write_bytes(b"no archive")
    (tmp_path / "6.txt").write_text("last")
    found = list(load([tmp_path, tmp_path / "7.txt"]))
    assert [entry.text for entry in found if isinstance(entry, Document)] == ["first", "last"]
    assert [Path(e.path).name for e in found if isinstance(e, Skipped) and e.error] == [
        *("2.pdf", "3.bin", "4.jsonl", "5.docx", "7.txt"),
    ]


EXTENSIONS = [".txt", ".html", ".csv", ".tsv", ".json", ".jsonl", ".pdf", ".docx", ".xlsx", ".epub", ""]


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=400), st.text(max_size=200).map(lambda t: t.encode("utf-8", "replace"))))
def test_any_bytes_give_documents_or_a_reason(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for extension in EXTENSIONS:
            path = Path(folder, f"file{extension}")
            path.write_bytes(data)
            for entry in load(path):
                if isinstance(entry, Document):
                    entry.text.encode("utf-8")
                    assert "\0" not in entry.text
                    assert entry.text.strip()
                    json.dumps(dict(entry.metadata), allow_nan=False).encode("utf-8")
                else:
                    assert entry.reason


# ---------------------------------------------------------------------------------------- HTML


def test_html_gives_its_visible_text_and_title(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(
        """<!DOCTYPE html><html><head><title> A &amp;
        title</title><style>p{color:red}</style></head><body><nav><a>Home</a></nav><h1>Head</h1>
        <p>One <b>bold</b>
        word.<br>Next</p><ul><li>a<li>b</ul><table><tr><th>Name</th><th>Age</th></tr>
        <tr><td>Bob</td><td>3</td></tr></table><pre>x = 1
  y</pre><pre><b>p</b>
<i>q</i></pre><div>t1</div> <div>t&eacute;<i>x</i>t <u>u</u> <u>v</u></div>
        <script>alert(1)</script><p hidden>no</p>tail<!-- c -->"""
    )
    document = one(path)
    assert document.text == (
        "Head\n\nOne bold word.\nNext\n\na\nb\n\nName | Age\nBob | 3\n\n"
        "x = 1\n  y\n\np\nq\n\nt1\ntéxt u v\ntail"
    )
    assert document.metadata["title"] == "A & title"


def test_html_without_an_extension_is_known_by_its_start(tmp_path: Path) -> None:
    path = tmp_path / "index"
    path.write_text("<!-- saved --><HTML><body><p>text</p></body></HTML>")
    assert one(path).text == "text"
    path.write_text("about <html> tags")
    assert one(path).text == "about <html> tags"


@pytest.mark.parametrize(
    "markup", ["<div>", "<b>x ", "<ul><li>", "<![foo", "<?xml version='1.0'?><html>", "</p>"]
)
def test_wild_html_ends(tmp_path: Path, markup: str) -> None:
    path = tmp_path / "wild.html"
    path.write_text(markup * 3000 + "end")
    for entry in load(path):
        assert entry.text.endswith("end") if isinstance(entry, Document) else entry.reason


# ---------------------------------------------------------------------------------------- rows


def test_csv_rows_are_documents(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["id", "Text", "city"], ["7", "two\nlines, quoted", "Bonn"], [], ["8", "", "Köln"]])
        writer.writerow(["9", "third", "Ulm", "extra"])
    first, third = read(path)
    assert (first.id, first.text) == (f"{path}#1", "two\nlines, quoted")
    assert (third.id, third.text, third.source) == (f"{path}#3", "third", str(path))
    assert first.metadata == {
        "name": "people.csv",
        "extension": ".csv",
        "folder": str(tmp_path),
        "id": "7",
        "city": "Bonn",
    }
    assert third.metadata["column 4"] == "extra"


def test_csv_without_a_text_column_shows_all_fields(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("question;answer;;answer\nWhy?;Because;x;y\nHow?;" + "z" * 200_000 + "\n")
    first, second = read(path)
    assert first.text == "question: Why?\nanswer: Because\ncolumn 3: x\nanswer 4: y"
    assert first.metadata["answer"] == "Because"
    assert second.text == "question: How?\nanswer: " + "z" * 200_000
    assert "answer" not in second.metadata
    assert [d.text for d in read(path, LoadOptions(text_field="answer"))] == ["Because", "z" * 200_000]


def test_tsv_is_separated_by_tabs(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text("text\tn,m\nhello, world\t1\n")
    document = one(path)
    assert (document.text, document.metadata["n,m"]) == ("hello, world", "1")


def test_broken_csv_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,n\nfine,1\n"never closed,2\n')
    assert "line 3" in reason(path)


def test_a_text_field_that_is_nowhere_names_those_there_are(tmp_path: Path) -> None:
    options = LoadOptions(text_field="abstract")
    for name, content in {
        "a.csv": "title,body\nx,y\n",
        "a.jsonl": '{"title": "x", "body": "y"}\n',
        "a.json": '[{"title": "x", "body": "y"}]',
    }.items():
        path = tmp_path / name
        path.write_text(content)
        said = reason(path, options)
        assert "no field 'abstract'" in said
        assert "body, title" in said
        assert "--text-field" in said
    (tmp_path / "b.json").write_text('{"title": "x"}')
    assert "no field 'abstract'" in reason(tmp_path / "b.json", options)


def test_jsonl_rows_are_documents(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [
        {"text": "one\u2028still one", "n": 3, "ok": True, "ratio": 0.5, "none": None, "deep": {"x": 1}},
        {"title": "no text", "score": 1e400, "tags": ["a"]},
        "just a string",
    ]
    path.write_bytes("\r\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode())
    first, second, third = read(path)
    assert (first.id, second.id, third.id) == (f"{path}#1", f"{path}#3", f"{path}#5")  # its line
    assert first.text == "one\u2028still one"
    assert [first.metadata[key] for key in ("n", "ok", "ratio", "none")] == [3, True, 0.5, None]
    assert "deep" not in first.metadata
    assert second.text == "title: no text"
    assert second.metadata["score"] == "inf"
    assert third.text == "just a string"


def test_a_broken_row_of_jsonl_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "fine"}\n\n{"text": "cut o')
    assert reason(path).startswith("line 3: not valid JSON")
    path.write_text("[" * 100_000)
    assert reason(path).startswith("line 1: ")
    path.write_text('{"n": ' + "9" * 5000 + "}")
    assert reason(path).startswith("line 1: ")


def test_json_lists_are_rows_and_other_json_is_text(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"body": "first", "year": 1999}, {"body": ["a", 1]}, {"body": null}]')
    assert [(d.id, d.text) for d in read(path)] == [(f"{path}#1", "first")]
    assert read(path)[0].metadata["year"] == 1999
    assert [d.text for d in read(path, LoadOptions(text_field="body"))] == ["first", '["a", 1]']
    path.write_text('{"content": "whole", "lang": "en"}')
    assert (one(path).id, one(path).text, one(path).metadata["lang"]) == (str(path), "whole", "en")
    for other in ('{"name": "pkg", "deps": {"a": "1"}}', "[1, 2, 3]", '"text"', '[{"n": 1}]'):
        path.write_text(other)
        assert (one(path).id, one(path).text) == (str(path), other)
    path.write_text('{"a": }')
    assert "not valid JSON" in reason(path)


# ---------------------------------------------------------------------------------------- PDF


def test_pdf_pages_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "paper.pdf"
    path.write_bytes(pdf("First page", "", "Third page"))
    document = one(path)
    assert document.text == "First page\n\n\n\nThird page"
    assert document.page_starts == (0, 12, 14)
    assert document.text[document.page_starts[2] :] == "Third page"
    misnamed = tmp_path / "paper.txt"
    misnamed.write_bytes(path.read_bytes())
    assert one(misnamed).text == document.text


def test_pdf_title_and_passwords(tmp_path: Path) -> None:
    from pypdf import PdfReader, PdfWriter

    path = tmp_path / "a.pdf"
    for user_password, readable in (("", True), ("secret", False)):
        writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf("Some text"))))
        writer.add_metadata({"/Title": "The title"})
        writer.encrypt(user_password, "owner", algorithm="RC4-128")
        writer.write(path)
        if readable:
            assert one(path).text == "Some text"
            assert one(path).metadata["title"] == "The title"
        else:
            assert "needs a password" in reason(path)


def test_pdf_that_is_damaged_or_has_no_text(tmp_path: Path) -> None:
    from pypdf import PdfWriter

    path = tmp_path / "a.pdf"
    whole = pdf("First page", "Second page")
    path.write_bytes(b"%PDF-1.7\n" + random.Random(1).randbytes(5000))
    assert "damaged PDF" in reason(path)
    path.write_text("not a PDF at all")
    assert "damaged PDF" in reason(path)
    for cut in range(0, len(whole), 50):  # whatever is left of it: text, or a reason
        path.write_bytes(whole[:cut])
        for entry in load(path):
            assert isinstance(entry, Document) or entry.reason
    writer = PdfWriter()
    writer.add_blank_page(100, 100)
    writer.write(path)
    assert "OCR" in reason(path)


def test_reading_a_repaired_pdf_prints_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(pdf("Some text").replace(b"startxref\n", b"startxref\n1"))
    code = f"from secondpass.loading import read; print(read({str(path)!r})[0].text)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("Some text\n", "")


# ---------------------------------------------------------------------------------------- Office


def test_excel_powerpoint_word_and_epub(tmp_path: Path) -> None:
    import openpyxl
    import pptx

    book = openpyxl.Workbook()
    book.active.append(["Name", "Städte"])
    book.active.append(["Bob", "Bonn"])
    book.save(tmp_path / "a.xlsx")
    slides = pptx.Presentation()
    slide = slides.slides.add_slide(slides.slide_layouts[0])
    slide.shapes.title.text = "A slide title"
    slides.save(tmp_path / "b.pptx")
    write_docx(tmp_path / "c.docx", "A paragraph of Word.")
    write_epub(tmp_path / "d.epub", "A paragraph of a book.")
    texts = {Path(d.source).suffix: d.text for d in load(tmp_path) if isinstance(d, Document)}
    assert sorted(texts) == [".docx", ".epub", ".pptx", ".xlsx"]
    assert "| Bob | Bonn |" in texts[".xlsx"]
    assert "A slide title" in texts[".pptx"]
    assert "A paragraph of Word." in texts[".docx"]
    assert "A paragraph of a book." in texts[".epub"]


def write_docx(path: Path, text: str) -> None:
    types = "http://schemas.openxmlformats.org/package/2006/content-types"
    relations = "http://schemas.openxmlformats.org/package/2006/relationships"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument"
    words = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    kind = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(
            "[Content_Types].xml",
            f'<Types xmlns="{types}"><Default Extension="rels" '
            'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
            f'<Override PartName="/word/document.xml" ContentType="{kind}"/></Types>',
        )
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{relations}">'
            f'<Relationship Id="r1" Type="{office}" Target="word/document.xml"/></Relationships>',
        )
        archive.writestr(
            "word/document.xml",
            f'<w:document xmlns:w="{words}"><w:body><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:body>'
            "</w:document>",
        )


def write_epub(path: Path, text: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/epub+zip")
        archive.writestr(
            "META-INF/container.xml",
            '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container" version="1.0"><rootfiles>'
            '<rootfile full-path="book.opf" media-type="application/oebps-package+xml"/></rootfiles>'
            "</container>",
        )
        archive.writestr(
            "book.opf",
            '<package xmlns="http://www.idpf.org/2007/opf" version="3.0">'
            '<metadata xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>Book</dc:title></metadata>'
            '<manifest><item id="one" href="one.xhtml" media-type="application/xhtml+xml"/></manifest>'
            '<spine><itemref idref="one"/></spine></package>',
        )
        archive.writestr("one.xhtml", f"<html><body><p>{text}</p></body></html>")


def test_damaged_office_files_and_bombs(tmp_path: Path) -> None:
    for extension in (".docx", ".pptx", ".xlsx", ".epub"):
        path = tmp_path / f"a{extension}"
        path.write_bytes(random.Random(2).randbytes(3000))
        assert reason(path) == f"not a {extension} file: damaged, encrypted, or of another kind"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("other.txt", "not what it says")
        assert f"damaged {extension} file" in reason(path)
    with zipfile.ZipFile(tmp_path / "bomb.docx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", " " * 3_000_000)
    assert "unpacks to 3,000,000 bytes" in reason(tmp_path / "bomb.docx", LoadOptions(max_bytes=100_000))


def test_without_the_extra_the_pip_line_is_the_reason(tmp_path: Path) -> None:
    write_docx(tmp_path / "c.docx", "A paragraph of Word.")
    # An interpreter that really does not find the package: its finder refuses that one name.
    code = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "markitdown":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
from secondpass.loading import load
for entry in load({str(tmp_path)!r}):
    print(entry.error, entry.reason)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("True reading .docx files needs the package 'markitdown'")
    assert "pip install 'secondpass[office]'" in done.stdout


# ---------------------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_bytes": 0}, "file size"),
        ({"max_bytes": 1.5}, "file size"),
        ({"max_bytes": True}, "file size"),
        ({"text_field": ""}, "text field"),
        ({"encoding": "no-such"}, "'no-such' is not the name of a text encoding"),
        ({"encoding": "base64"}, "text encoding"),
        ({"encoding": ""}, "text encoding"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        LoadOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("paths", [3, [b"bytes"], [None], "", [""], ["a", 1.5]])
def test_what_is_no_path_is_refused_at_the_call(paths: object) -> None:
    with pytest.raises(InputError):
        load(paths)  # type: ignore[arg-type]


def test_importing_loading_loads_no_parser() -> None:
    code = (
        "import sys, secondpass.loading\n"
        "heavy = {'numpy', 'pypdf', 'bs4', 'charset_normalizer', 'markitdown', 'onnxruntime'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
