"""The plug-in for the rerankers library, through the library's own factory and classes."""

from __future__ import annotations

import asyncio
import copy
import subprocess
import sys

import numpy as np
import pytest

import tiny_models

with tiny_models.quiet():  # the library imports torch and transformers where they are
    from rerankers import Document, Reranker
    from rerankers.models.ranker import BaseRanker
    from rerankers.results import RankedResults

from secondpass import load_reranker
from secondpass.errors import InputError, ModelInvalidError, ModelNotFoundError, QueryError
from secondpass.ext.rerankers import SecondpassRanker

QUERY = "What does the ferry cost?"
TEXTS = ["The hives face south-east.", "A ticket for the ferry costs four.", "The ferry is blue."]


@pytest.fixture(scope="module")
def ranker():
    return Reranker("minilm-l6", model_type="SecondpassRanker", verbose=0)


@pytest.fixture(scope="module")
def scores():
    return load_reranker("minilm-l6").score(QUERY, TEXTS).tolist()


def test_the_librarys_factory_makes_ours(ranker):
    assert isinstance(ranker, SecondpassRanker)
    assert isinstance(ranker, BaseRanker)


def test_texts_are_ranked(ranker, scores, capsys):
    ranked = ranker.rank(QUERY, TEXTS)
    order = sorted(range(3), key=lambda place: -scores[place])
    assert isinstance(ranked, RankedResults)
    assert ranked.has_scores
    assert ranked.query == QUERY
    assert [each.doc_id for each in ranked] == order
    assert [each.rank for each in ranked] == [1, 2, 3]
    assert [each.score for each in ranked] == pytest.approx([scores[place] for place in order], abs=1e-4)
    assert [each.text for each in ranked.top_k(1)] == [TEXTS[1]]
    assert ranked.get_score_by_docid(2) == pytest.approx(scores[2], abs=1e-4)
    assert capsys.readouterr().out == ""


def test_ids_and_metadata_come_along(ranker):
    ranked = ranker.rank(QUERY, TEXTS, doc_ids=["a", "b", "c"], metadata=[{"page": n} for n in (1, 2, 3)])
    assert ranked[0].doc_id == "b"
    assert ranked[0].page == 2
    assert ranker.rank(QUERY, TEXTS[0], doc_ids=["only"]).results_count() == 1


def test_documents_are_ranked_and_not_changed(ranker):
    given = [Document(text, doc_id=f"d{n}", metadata={"n": n}) for n, text in enumerate(TEXTS)]
    before = copy.deepcopy([vars(each) for each in given])
    ranked = ranker.rank(QUERY, given)
    assert ranked[0].doc_id == "d1"
    assert ranked[0].metadata == {"n": 1}
    ranked = ranker.rank(QUERY, given, doc_ids=[7, 8, 9])
    assert ranked[0].doc_id == 8
    assert [vars(each) for each in given] == before
    assert ranker.rank(QUERY, Document(TEXTS[0]))[0].doc_id == 0


def test_one_score_and_an_event_loop(ranker, scores):
    assert ranker.score(QUERY, TEXTS[1]) == pytest.approx(scores[1], abs=1e-4)
    later = asyncio.run(ranker.rank_async(QUERY, TEXTS))
    assert [each.doc_id for each in later] == [each.doc_id for each in ranker.rank(QUERY, TEXTS)]


def test_nothing_to_rank_is_no_error(ranker):
    assert ranker.rank(QUERY, []).results_count() == 0


def test_an_object_with_a_score_is_taken():
    class Longest:
        name = "longest"

        def score(self, query, passages):
            return np.array([len(text) for text in passages], dtype=np.float32)

    assert SecondpassRanker(Longest()).rank(QUERY, TEXTS)[0].text == max(TEXTS, key=len)


def test_wrong_input_is_refused(ranker):
    with pytest.raises(QueryError, match="empty"):
        ranker.rank("", TEXTS)
    with pytest.raises(InputError, match="doc_ids has 2 entries for 3 docs"):
        ranker.rank(QUERY, TEXTS, doc_ids=[1, 2])
    with pytest.raises(InputError, match="metadata has 1 entries for 3 docs"):
        ranker.rank(QUERY, TEXTS, metadata=[{}])
    with pytest.raises(InputError, match="texts or documents"):
        ranker.rank(QUERY, [7])
    with pytest.raises(InputError, match="read text, not images"):
        ranker.rank(QUERY, [Document(document_type="image", base64="aGk=", doc_id="i")])
    with pytest.raises(ModelNotFoundError):
        SecondpassRanker("no-such-model")
    with pytest.raises(InputError, match="a re-ranker is a name"):
        SecondpassRanker(7)


def test_a_broken_reranker_is_named():
    class Broken:
        name = "broken"

        def score(self, query, passages):
            return np.array([np.inf] * len(passages))

    with pytest.raises(ModelInvalidError, match="'broken' gave the score inf"):
        SecondpassRanker(Broken()).rank(QUERY, TEXTS)


def test_without_the_package_the_error_names_the_extra():
    code = (
        "import sys\nsys.modules['rerankers'] = None\n"
        "try: import secondpass.ext.rerankers\n"
        "except ImportError as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("MissingExtraError")
    assert "pip install 'secondpass[rerankers]'" in done.stdout
