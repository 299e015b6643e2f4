"""Texts to token ids: a model's tokenizer, text fit for it, and how a model frames one text or a pair."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from .arguments import checked_text
from .batching import Row
from .errors import InputError, ModelInvalidError, QueryError
from .models import ModelFolder

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

__all__ = [
    "Frame",
    "checked_query",
    "checked_texts",
    "clean",
    "load_tokenizer",
    "pair_frame",
    "parts",
    "passing_texts",
    "single_frame",
    "slices",
]

MAX_QUERY_TOKENS = 2048
"""Of models that read a query by itself, in parts where it is long."""
MAX_QUERY_CHARACTERS = 20_000

_SLICE_TEXTS = 512
_SLICE_CHARACTERS = 1_000_000
_SURROGATES = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """Replace lone surrogates, which no tokenizer can read, by U+FFFD; every offset stays as it was."""
    return text if text.isascii() else _SURROGATES.sub("\ufffd", text)


def checked_query(query: str) -> str:
    """Return a query fit for a tokenizer.

    Raises:
        QueryError: it is not text, empty, or longer than 20,000 characters.
    """
    check_length(checked_text(query))
    return clean(query)


def check_length(query: str) -> None:
    """Refuse a query so long that tokenising it would be no small thing.

    Raises:
        QueryError: it has more than 20,000 characters.
    """
    if len(query) > MAX_QUERY_CHARACTERS:
        raise QueryError(
            f"the query has {len(query)} characters, at most {MAX_QUERY_CHARACTERS} can be read; "
            "ask a shorter question"
        )


def parts(ids: list[int], room: int) -> list[list[int]]:
    """Return token ids cut into parts of at most ``room``; one empty part for none."""
    return [ids[start : start + room] for start in range(0, len(ids), room)] or [[]]


def checked_texts(texts: Sequence[str], what: str) -> list[str]:
    """Return texts fit for a tokenizer.

    Raises:
        InputError: a bare string instead of a list, or something in it that is not a string.
    """
    _check_strings(texts, what)
    return [clean(text) for text in texts]


def passing_texts(texts: Sequence[str], what: str) -> Iterator[str]:
    """Like ``checked_texts``, but one by one and once: a sequence that makes its texts is never held whole.

    A list or a tuple is checked at once, another sequence as it is read.
    """
    if isinstance(texts, list | tuple):
        _check_strings(texts, what)
    else:
        _check_sequence(texts, what)
    return (clean(_string(text, position, what)) for position, text in enumerate(texts))


def _check_strings(texts: Sequence[str], what: str) -> None:
    _check_sequence(texts, what)
    for position, text in enumerate(texts):
        _string(text, position, what)


def _check_sequence(texts: object, what: str) -> None:
    if isinstance(texts, str | bytes) or not isinstance(texts, Sequence):
        raise InputError(f"{what} must be a list of strings, got {type(texts).__name__}")


def _string(text: object, position: int, what: str) -> str:
    if not isinstance(text, str):
        raise InputError(f"{what}[{position}] must be a string, got {type(text).__name__}")
    return text


def slices(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yield the texts in order, at most 512 and about a million characters at once, to bound memory."""
    part: list[str] = []
    characters = 0
    for text in texts:
        if part and (len(part) >= _SLICE_TEXTS or characters + len(text) > _SLICE_CHARACTERS):
            yield part
            part, characters = [], 0
        part.append(text)
        characters += len(text)
    if part:
        yield part


def load_tokenizer(folder: ModelFolder) -> Tokenizer:
    """Return the tokenizer of a model folder (``tokenizer.json``, else BERT's from ``vocab.txt``), unlimited.

    It is shared between models with the same file: do not change it.

    Raises:
        ModelInvalidError: neither file is there, or it is damaged.
    """
    file = folder.path / "tokenizer.json"
    if not file.is_file():
        file = folder.path / "vocab.txt"
    try:
        status = file.stat()
    except OSError as exc:
        raise ModelInvalidError(
            f"the model folder {folder.path} has neither tokenizer.json nor vocab.txt; fetch the model again"
        ) from exc
    lowercase = bool(folder.json("tokenizer_config.json", required=False).get("do_lower_case", True))
    return _load(file, lowercase, (status.st_size, status.st_mtime_ns))


@lru_cache(maxsize=4)
def _load(file: Path, lowercase: bool, _state: tuple[int, int]) -> Tokenizer:
    import tokenizers

    try:
        if file.suffix == ".json":
            tokenizer = tokenizers.Tokenizer.from_file(str(file))
        else:
            tokenizer = _from_vocabulary(file, lowercase)
    except ModelInvalidError:
        raise
    except Exception as exc:  # the library raises bare Exception
        raise ModelInvalidError(f"{file} is damaged ({exc}); fetch the model again") from exc
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _from_vocabulary(file: Path, lowercase: bool) -> Tokenizer:
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    words = file.read_text(encoding="utf-8").splitlines()
    vocabulary = {word: place for place, word in enumerate(words)}
    absent = [word for word in ("[UNK]", "[CLS]", "[SEP]") if word not in vocabulary]
    if absent:
        raise ModelInvalidError(f"{file} has no {absent[0]}; it is not a BERT vocabulary")
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))  # noqa: S106  a token, no password
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(
        ("[SEP]", vocabulary["[SEP]"]), ("[CLS]", vocabulary["[CLS]"])
    )
    return tokenizer


@dataclass(frozen=True, slots=True)
class Frame:
    """The special tokens a model puts around its texts, read off its own post-processor.

    Attributes:
        parts: the special tokens before, between and after the texts: (ids, type ids) each.
        types: type id of the tokens of each text.
    """

    parts: tuple[Row, ...]
    types: tuple[int, ...]

    @property
    def size(self) -> int:
        """How many special tokens there are."""
        return sum(len(part.ids) for part in self.parts)

    def around(self, *texts: Sequence[int]) -> Row:
        """Return the framed row of one text's, or two texts', token ids."""
        ids, types = list(self.parts[0].ids), list(self.parts[0].types)
        for text, kind, part in zip(texts, self.types, self.parts[1:], strict=True):
            ids += [*text, *part.ids]
            types += [kind] * len(text) + part.types
        return Row(ids, types)


def single_frame(tokenizer: Tokenizer) -> Frame:
    """Return how the tokenizer frames one text."""
    return _frame(tokenizer.encode("a"), 1)


def pair_frame(tokenizer: Tokenizer) -> Frame:
    """Return how the tokenizer frames a pair of texts."""
    return _frame(tokenizer.encode("a", "a"), 2)


def _frame(encoding: Encoding, texts: int) -> Frame:
    parts = [Row([], []) for _ in range(texts + 1)]
    types: dict[int, int] = {}
    for token, kind, text in zip(encoding.ids, encoding.type_ids, encoding.sequence_ids, strict=True):
        if text is not None:
            types[text] = kind
        else:
            parts[len(types)].ids.append(token)
            parts[len(types)].types.append(kind)
    if len(types) != texts:
        raise ModelInvalidError("the tokenizer cannot read the letter 'a'; fetch the model again")
    return Frame(tuple(parts), tuple(types[text] for text in range(texts)))
