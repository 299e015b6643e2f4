"""Text made fit for a tokenizer, and slices that bound memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondpass import models
from secondpass.errors import ModelInvalidError
from secondpass.tokenizing import clean, load_tokenizer, parts, single_frame, slices

ANY_TEXT = st.text(st.characters(), max_size=60)  # surrogates included


@given(text=ANY_TEXT)
def test_clean_text_can_be_encoded_and_keeps_every_offset(text):
    fit = clean(text)
    fit.encode("utf-8")
    assert len(fit) == len(text)
    kept = [new for new, old in zip(fit, text, strict=True) if not "\ud800" <= old <= "\udfff"]
    assert kept == [old for old in text if not "\ud800" <= old <= "\udfff"]


@settings(deadline=None)
@given(
    lengths=st.lists(st.sampled_from([0, 1, 300_000, 999_999, 1_000_000, 1_500_000]), max_size=8),
    many=st.booleans(),
)
def test_slices_keep_all_texts_in_order_within_bounds(lengths, many):
    texts = ["x" * length for length in lengths] + ["y"] * (1200 if many else 0)
    cut = list(slices(texts))
    assert [text for part in cut for text in part] == texts
    for part in cut:
        assert len(part) <= 512
        assert len(part) == 1 or sum(map(len, part)) <= 1_000_000


@given(ids=st.lists(st.integers(0, 9)), room=st.integers(1, 20))
def test_parts_lose_nothing(ids, room):
    cut = parts(ids, room)
    assert [each for part in cut for each in part] == ids
    assert all(len(part) <= room for part in cut)
    assert len(cut) == max(1, -(-len(ids) // room))


def test_the_shipped_tokenizer_frames_as_bert_does():
    tokenizer = load_tokenizer(models.resolve("late-interaction"))
    frame = single_frame(tokenizer)
    assert frame.size == 2
    assert frame.around([7, 8]).ids == [101, 7, 8, 102]
    assert tokenizer.encode("Hello, World").ids == [101, 7592, 1010, 2088, 102]


def test_a_vocabulary_that_is_not_berts_is_refused(tmp_path):
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    with pytest.raises(ModelInvalidError, match=r"vocab\.txt has no \[UNK\]"):
        load_tokenizer(models.ModelFolder("v", tmp_path, "folder"))
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelInvalidError, match=r"vocab\.txt is damaged"):
        load_tokenizer(models.ModelFolder("v", tmp_path, "folder"))
    (tmp_path / "vocab.txt").unlink()
    with pytest.raises(ModelInvalidError, match=r"neither tokenizer\.json nor vocab\.txt"):
        load_tokenizer(models.ModelFolder("v", tmp_path, "folder"))
