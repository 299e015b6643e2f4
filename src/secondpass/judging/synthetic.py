"""Queries from an index itself: its telling headings, titles and first sentences, and where they stand."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import log
from typing import Literal, Protocol

from ..arguments import checked_count
from ..errors import InputError
from ..index import DocumentSummary
from ..types import Document, Passage
from .headings import Section, first_sentences, sections, title

__all__ = ["DocumentSource", "Kind", "SyntheticQuery", "Unit", "make_queries"]

Kind = Literal["heading", "title", "sentence"]
Unit = Literal["document", "passage"]

MOST_DOCUMENTS = 2000
"""Documents that are read for queries; of a larger index a random part."""
FEW_DOCUMENTS = 20
"""Below this many documents it is passages that are judged: with few documents any hit would be right."""
LEAST_BODY = 150
"""Characters below a heading, without which there is nothing to find."""
MOST_BODY = 3000
"""Characters below a heading, above which its passages are too many to be judged as one place."""
WORDS = {"heading": (2, 14), "title": (2, 16), "sentence": (5, 25)}
"""Fewest words that tell, and most words at all, of each kind."""
RARE = 0.1
"""At least one word must stand in no more than this share of the sections, but for very few of them."""

_WORD = re.compile(r"[^\W_]{2,}")
_UNTELLING = frozenset(
    """
    a about abstract acknowledgements acknowledgments all also an and any appendix are as at author
    authors background backward backwards be been before by can case cases changelog changes comments
    compatibility conclusion conclusions considerations contents copyright could description details
    discussion do does during each example examples faq few final for from further future general goals
    had has have history how if implementation in into introduction is issues it its known licence
    license links list main may more most motivation new no non none not note notes of on open options
    or original other our out overview parameters possible preface problem problems procedure proposal
    proposed questions rationale reading reference references related remarks requirements resolution
    resolutions resolved returns review revision rules schedule scope section see should solution
    solutions some specification status still summary table than that the their them then there these
    they this those to toc todo two usage use using was we were what when where which who why will with
    work would you your
    """.split()  # noqa: SIM905  words read best as words
)


class DocumentSource(Protocol):
    """What is needed of an index."""

    def documents(self) -> list[DocumentSummary]:
        """Return all documents without their texts."""
        ...

    def document(self, document_id: str) -> Document:
        """Return a document."""
        ...

    def passages(self, document_id: str) -> list[Passage]:
        """Return its passages in order of start."""
        ...


@dataclass(frozen=True, slots=True)
class SyntheticQuery:
    """A query that nobody asked.

    Attributes:
        id: ``s001``, ``s002``, ...
        query: the text.
        relevant: the id of its document, or those of the passages of its section.
        kind: ``heading``, ``title`` or ``sentence``.
        document_id: where it came from.
        source: the same for people.
        verbatim: it stands word for word in what is relevant, as far as a search can see.
    """

    id: str
    query: str
    relevant: tuple[str, ...]
    kind: Kind
    document_id: str
    source: str
    verbatim: bool


@dataclass(frozen=True, slots=True)
class _Draft:
    """A possible query.

    Attributes:
        document: its number among those taken.
        span: the stretch of the document's text that is relevant.
        weight: how much its words tell: the sum of their inverse document frequencies over the sections.
    """

    query: str
    kind: Kind
    document: int
    span: tuple[int, int]
    weight: float = 0.0

    @property
    def key(self) -> str:
        return " ".join(_words(self.query))


def make_queries(
    index: DocumentSource,
    n: int = 50,
    *,
    unit: Unit | None = None,
    seed: int = 0,
    progress: Callable[[], None] | None = None,
) -> tuple[Unit, list[SyntheticQuery]]:
    """Make queries from the documents of an index.

    Headings that say little ("Introduction"), are too short or too long, stand in several places or consist
    of words found everywhere are left out. First sentences fill up where headings and titles are too few.
    The queries are spread over the documents.

    Args:
        index: an ``Index``.
        n: the most queries to make.
        unit: what is judged: ``document``, or ``passage`` (those that hold the section below the heading); by
            default passages where there are fewer than 20 documents.
        seed: the same index and seed give the same queries.
        progress: called after each document read.

    Returns:
        What was judged, and at most ``n`` queries.

    Raises:
        InputError: ``n`` is out of range, or nothing in the index makes a query.
    """
    checked_count("n", n)
    listed = index.documents()
    if not listed:
        raise InputError("the index is empty; add documents first: secondpass index YOUR_FILES")
    chance = random.Random(seed)  # noqa: S311  a sample, not a secret
    taken = chance.sample(listed, min(len(listed), MOST_DOCUMENTS))
    if unit is None:
        unit = "passage" if len(listed) < FEW_DOCUMENTS else "document"
    drafts, stretches = _read(index, taken, progress)
    telling = [draft for draft in _telling(drafts, stretches) if unit == "document" or draft.kind != "title"]
    chosen = _spread(telling, n, chance)
    if not chosen:
        raise InputError(
            f"none of the {len(taken)} documents has a heading, a title or a sentence that makes a query; "
            "write some queries yourself, one a line: secondpass judge --queries FILE"
        )
    found = (_resolved(index, taken[draft.document], draft, unit) for draft in chosen)
    made = [each for each in found if each is not None]
    return unit, [replace(each, id=f"s{number:03d}") for number, each in enumerate(made, start=1)]


def _read(
    index: DocumentSource, taken: Sequence[DocumentSummary], progress: Callable[[], None] | None
) -> tuple[list[_Draft], list[set[str]]]:
    """Return what could be asked, and the words of each section (of each document without any)."""
    drafts: list[_Draft] = []
    stretches: list[set[str]] = []
    for place, summary in enumerate(taken):
        document = index.document(summary.id)
        found = list(_leaves(sections(document)))
        spans = [(each.start, each.end) for each in found] or [(0, len(document.text))]
        stretches += (set(_words(document.text[start:end])) for start, end in spans)
        drafts += (
            _Draft(each.heading, "heading", place, (each.body, each.end))
            for each in found
            if len(document.text[each.body : each.end].strip()) >= LEAST_BODY
        )
        if name := title(document):
            drafts.append(_Draft(name, "title", place, (0, len(document.text))))
        drafts += (
            _Draft(each.heading, "sentence", place, (each.start, each.end))
            for each in first_sentences(document)
        )
        if progress is not None:
            progress()
    return drafts, stretches


def _leaves(found: Sequence[Section]) -> Iterator[Section]:
    """Yield the sections with the text that is theirs alone, down to the next heading of any level."""
    for place, each in enumerate(found):
        following = found[place + 1].start if place + 1 < len(found) else each.end
        yield replace(each, end=min(each.end, following))


def _telling(drafts: Sequence[_Draft], stretches: Sequence[set[str]]) -> list[_Draft]:
    """Return the drafts that ask for something, and for one place."""
    frequency = Counter(word for words in stretches for word in words)
    common = max(RARE * len(stretches), 3)
    places: dict[str, set[int]] = {}
    for draft in drafts:
        places.setdefault(draft.key, set()).add(draft.document)
    seen: set[str] = set()
    kept = []
    for draft in drafts:
        words = _words(draft.query)
        telling = [word for word in words if word not in _UNTELLING and not word.isdigit()]
        fewest, most = WORDS[draft.kind]
        rare = any(frequency[word] <= common for word in telling)
        if (
            len(telling) >= fewest
            and len(draft.query.split()) <= most
            and rare
            and len(places[draft.key]) == 1
        ):
            if draft.key not in seen:
                weight = sum(log(len(stretches) / max(frequency[word], 1)) for word in set(telling))
                kept.append(replace(draft, weight=weight))
            seen.add(draft.key)
    return kept


def _spread(drafts: Sequence[_Draft], n: int, chance: random.Random) -> list[_Draft]:
    """Return at most ``n`` drafts: one of each document in turn, the more telling half of each first.

    Sentences come only when all else is used.
    """
    of_document: dict[int, list[_Draft]] = {}
    for draft in drafts:
        of_document.setdefault(draft.document, []).append(draft)
    chosen: list[_Draft] = []
    for sentences in (False, True):
        queues = []
        for found in of_document.values():
            queue = [draft for draft in found if (draft.kind == "sentence") == sentences]
            queue.sort(key=lambda draft: draft.weight)
            middle = len(queue) // 2
            duller, better = queue[:middle], queue[middle:]
            chance.shuffle(duller)
            chance.shuffle(better)
            queues.append([*duller, *better])  # taken from the end
        chance.shuffle(queues)
        while len(chosen) < n and any(queues):
            chosen += [queue.pop() for queue in queues if queue][: n - len(chosen)]
    return chosen


def _resolved(
    index: DocumentSource, summary: DocumentSummary, draft: _Draft, unit: Unit
) -> SyntheticQuery | None:
    """Return a draft with what is relevant to it, or None where no passage holds its section."""
    if unit == "document":
        relevant: tuple[str, ...] = (summary.id,)
        texts = [index.document(summary.id).text]
    else:
        held = [each for each in index.passages(summary.id) if _holds(each, draft.span)]
        relevant, texts = tuple(each.id for each in held), [each.text for each in held]
    if not relevant:
        return None
    phrase = draft.key
    verbatim = any(phrase in " ".join(_words(text)) for text in texts)
    return SyntheticQuery("", draft.query, relevant, draft.kind, summary.id, summary.source, verbatim)


def _holds(passage: Passage, span: tuple[int, int]) -> bool:
    """Whether a passage is half of the section, or half of the passage is of the section."""
    shared = min(passage.end, span[1]) - max(passage.start, span[0])
    return shared > 0 and 2 * shared >= min(passage.end - passage.start, span[1] - span[0])


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(text)]
