from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from secondpass import Document, Engine, Index
from secondpass.calibration import (
    Calibration,
    Pair,
    Pairs,
    calibrate,
    fit,
    judged_pairs,
    lookup,
    relevant_only,
    save,
    to_json,
)
from secondpass.calibration.curves import fit_isotonic, fit_platt, isotonic, probabilities
from secondpass.calibration.fitting import FOLDS, _folds
from secondpass.calibration.probing import PROBES, probe, same_model
from secondpass.calibration.reliability import log_loss, reliability
from secondpass.calibration.storing import file_of, from_json
from secondpass.calibration.thresholds import LEAST_PAIRS, steps
from secondpass.calibration.values import Curve
from secondpass.errors import IndexDamagedError, InputError
from secondpass.evaluation.values import Judged
from secondpass.ranking import sigmoid
from secondpass.testing import HashEmbedder
from secondpass.types import Hit, Passage, SearchResult, Timings

SHARED = Path(__file__).parent.parent.parent / "shared" / "data" / "collections"

JUDGED = Judged({"q": "?"}, {"q": {}}, "passage", "made up")
PROBE = (3.0, -1.0, 0.5)

scored = st.lists(
    st.tuples(st.integers(-160, 160).map(lambda eighths: eighths / 8), st.booleans()), min_size=2, max_size=60
).filter(lambda pairs: len({relevant for _, relevant in pairs}) == 2)


def split(pairs: Sequence[tuple[float, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([score for score, _ in pairs]), np.array([float(relevant) for _, relevant in pairs])


def sample(queries: int, each: int = 20, *, slope: float = 1.0, offset: float = 0.0, seed: int = 0) -> Pairs:
    """Pairs whose scores have the true probability ``sigmoid(slope * score + offset)``."""
    chance = random.Random(seed)
    pairs = []
    for query in range(queries):
        for _ in range(each):
            score = chance.gauss(-1, 3)
            pairs.append(Pair(f"q{query}", score, chance.random() < sigmoid(slope * score + offset)))
    return Pairs(tuple(pairs), "not relevant")


def fitted(pairs: Pairs, *, logits: bool = True, seed: int = 0) -> Calibration:
    return fit(pairs, JUDGED, "model", PROBE, logits=logits, seed=seed)


# curves


@settings(deadline=None)
@given(scored)
def test_isotonic_never_falls_and_keeps_the_mean(pairs: list[tuple[float, bool]]) -> None:
    scores, labels = split(pairs)
    knots, values = isotonic(scores, labels)
    assert np.all(np.diff(knots) > 0)
    assert np.all(np.diff(values) >= 0)
    fits = np.interp(scores, knots, values)
    assert fits.mean() == pytest.approx(labels.mean(), abs=1e-9)  # PAVA pools, it loses no mass


@settings(deadline=None)
@given(scored, st.lists(st.floats(-30, 30, allow_nan=False), min_size=2, max_size=20))
def test_no_curve_ever_falls_or_leaves_0_to_1(pairs: list[tuple[float, bool]], asked: list[float]) -> None:
    scores, labels = split(pairs)
    for curve in (fit_isotonic(scores, labels), fit_platt(scores, labels)):
        found = [curve(score) for score in sorted(asked)]
        assert found == sorted(found)
        assert all(0 <= each <= 1 for each in found)


@settings(deadline=None)
@given(scored)
def test_isotonic_is_scikit_learns(pairs: list[tuple[float, bool]]) -> None:
    sklearn = pytest.importorskip("sklearn.isotonic")
    scores, labels = split(pairs)
    knots, values = isotonic(scores, labels)
    theirs = sklearn.IsotonicRegression(out_of_bounds="clip").fit(scores, labels)
    asked = np.linspace(-25, 25, 101)
    assert np.interp(asked, knots, values) == pytest.approx(theirs.predict(asked), abs=1e-6)


def test_a_curve_of_knots_is_straight_between_them_and_flat_outside() -> None:
    curve = Curve("isotonic", scores=(0.0, 2.0), probabilities=(0.2, 0.6))
    assert [curve(score) for score in (-9, 0, 1, 2, 9)] == pytest.approx([0.2, 0.2, 0.4, 0.6, 0.6])


def test_platt_finds_the_parameters_that_made_the_labels() -> None:
    scores, labels = split([(each.score, each.relevant) for each in sample(400, slope=0.7, offset=1.2).pairs])
    curve = fit_platt(scores, labels)
    assert (curve.slope, curve.offset) == pytest.approx((0.7, 1.2), abs=0.1)


def test_platt_stays_finite_where_the_scores_separate_or_do_not_differ() -> None:
    separated = fit_platt(np.array([0.0, 1.0, 2.0, 3.0]), np.array([0.0, 0.0, 1.0, 1.0]))
    assert 0 < separated(0) < 0.5 < separated(3) < 1
    level = fit_platt(np.array([1.0, 1.0, 1.0, 1.0]), np.array([0.0, 0.0, 0.0, 1.0]))
    assert level(-5) == level(5) == pytest.approx(2 / 6)
    turned = fit_platt(np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 1.0, 0.0, 0.0]))
    assert turned(0) == turned(3)  # it may not fall


def test_platt_equals_a_maximum_found_by_scipy() -> None:
    optimize = pytest.importorskip("scipy.optimize")
    scores, labels = split([(each.score, each.relevant) for each in sample(30, offset=-1).pairs])
    positive, negative = labels.sum(), (1 - labels).sum()
    targets = np.where(labels > 0, (positive + 1) / (positive + 2), 1 / (negative + 2))

    def loss(weights: np.ndarray) -> float:
        values = weights[0] * scores + weights[1]
        return float(np.sum(np.logaddexp(0, values) - targets * values))

    best = optimize.minimize(loss, np.zeros(2)).x
    curve = fit_platt(scores, labels)
    assert (curve.slope, curve.offset) == pytest.approx(tuple(best), abs=1e-3)


# reliability


def test_reliability_by_hand() -> None:
    found = reliability(np.array([0.05, 0.15, 0.95, 1.0]), np.array([0.0, 1.0, 1.0, 1.0]))
    assert found.brier == pytest.approx((0.05**2 + 0.85**2 + 0.05**2) / 4)
    assert found.ece == pytest.approx((0.05 + 0.85 + 2 * 0.025) / 4)
    assert found.log_loss == pytest.approx(-(math.log(0.95) + math.log(0.15) + math.log(0.95)) / 4)
    assert [each.pairs for each in found.bins] == [1, 1, 0, 0, 0, 0, 0, 0, 0, 2]
    assert (found.bins[9].predicted, found.bins[9].relevant) == pytest.approx((0.975, 1.0))


def test_log_loss_is_scikit_learns() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    predicted, labels = np.array([0.1, 0.4, 0.8, 0.3]), np.array([0.0, 1.0, 1.0, 0.0])
    assert log_loss(predicted, labels) == pytest.approx(metrics.log_loss(labels, predicted))


# thresholds

certain = st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=LEAST_PAIRS, max_size=80)


@settings(deadline=None)
@given(certain, st.floats(0.01, 1), st.floats(0.01, 1))
def test_a_higher_precision_never_gives_a_lower_threshold(
    pairs: list[tuple[float, bool]], one: float, other: float
) -> None:
    found = steps(*zip(*pairs, strict=True))
    made = replace(CALIBRATION, steps=found)

    def threshold(precision: float) -> float:
        try:
            return made.threshold(precision)
        except InputError:  # never reached: everything is left out
            return math.inf

    low, high = sorted((one, other))
    assert threshold(low) <= threshold(high)


@settings(deadline=None)
@given(certain)
def test_a_step_tells_the_precision_above_it(pairs: list[tuple[float, bool]]) -> None:
    for step in steps(*zip(*pairs, strict=True)):
        above = [(p, relevant) for p, relevant in pairs if p >= step.probability]
        assert len(above) == step.pairs >= LEAST_PAIRS
        share = sum(relevant for _, relevant in above) / len(above)
        mean = sum(p for p, _ in above) / len(above)
        assert step.precision == pytest.approx(min(share, mean))


CALIBRATION = fitted(sample(40))


@pytest.mark.parametrize("precision", [0, -0.1, 1.01, math.nan, True, "0.8"])
def test_a_precision_is_a_share(precision: object) -> None:
    with pytest.raises(InputError, match="a precision is a number above 0 and at most 1"):
        CALIBRATION.threshold(precision)  # type: ignore[arg-type]


def test_a_precision_that_was_never_reached_is_refused_with_the_best_there_was() -> None:
    poor = replace(CALIBRATION, steps=steps([0.1 * n for n in range(1, 10)] * 4, [0.0, 1.0] * 18))
    with pytest.raises(InputError, match=r"99% was never reached with model on the 40 .* best was 50\.0%"):
        poor.threshold(0.99)


def test_only_hits_that_reach_the_threshold_stay() -> None:
    hits = tuple(
        Hit(Passage(str(n), "d", "t", 0, 1), -n, n, probability=p) for n, p in enumerate((0.9, 0.5, 0.2), 1)
    )
    result = SearchResult("q", hits, hits, hits, Timings(0, 0, 0, 0), "dense", "model", 3, 3)
    kept = relevant_only(result, 0.5)
    assert [hit.rank for hit in kept.hits] == [1, 2]
    assert kept.ranked == result.ranked
    assert relevant_only(result, 0.95).hits == ()
    late = replace(hits[2], probability=None, unread=True)
    assert len(relevant_only(replace(result, hits=(*hits[:2], late)), 0.1).hits) == 2
    bare = replace(result, hits=(replace(hits[0], probability=None),))
    with pytest.raises(InputError, match="the scores of model are no probabilities"):
        relevant_only(bare, 0.5)


# fitting


def test_scores_that_are_logits_already_are_left_as_they_are() -> None:
    made = fitted(sample(50))
    assert made.losses["sigmoid"] == pytest.approx(made.losses["platt"], abs=0.01)
    assert made.probability(0.3) == pytest.approx(sigmoid(0.3), abs=0.1)


def test_scores_off_by_a_shift_are_put_right_on_held_out_queries() -> None:
    made = fitted(sample(60, offset=3.0))
    assert made.curve.method == "platt"
    assert made.before is not None
    assert made.after.ece < made.before.ece / 3
    assert made.after.log_loss < made.before.log_loss
    assert made.probability(0) == pytest.approx(sigmoid(3), abs=0.05)


def test_isotonic_wins_where_the_curve_is_no_sigmoid() -> None:
    chance = random.Random(5)
    pairs = []
    for number in range(3000):
        score = chance.uniform(0, 3)
        likely = 0.05 if score < 1 else 0.5 if score < 2 else 0.55  # steps
        pairs.append(Pair(f"q{number % 100}", score, chance.random() < likely))
    made = fitted(Pairs(tuple(pairs), "left out"), logits=False)
    assert made.curve.method == "isotonic"
    assert made.losses["isotonic"] < made.losses["platt"]
    assert made.before is None
    assert made.probability(0.5) == pytest.approx(0.05, abs=0.04)


def test_few_pairs_never_make_an_isotonic_curve() -> None:
    assert "isotonic" not in fitted(sample(40)).losses
    assert "isotonic" in fitted(sample(60)).losses


def test_the_held_out_precision_is_about_what_was_asked_for() -> None:
    made = fitted(sample(300, offset=-1.0))
    for each in made.held_out:
        if each.pairs >= 200:
            assert each.precision == pytest.approx(max(each.wanted, made.relevant / made.pairs), abs=0.05)
    assert [each.kept for each in made.held_out] == sorted(
        (each.kept for each in made.held_out), reverse=True
    )


def test_the_same_seed_fits_the_same() -> None:
    pairs = sample(20)
    assert fitted(pairs, seed=1) == fitted(pairs, seed=1)
    assert fitted(pairs, seed=1).losses != fitted(pairs, seed=2).losses


def test_queries_are_dealt_whole_and_evenly() -> None:
    pairs = sample(23).pairs
    folds = _folds(pairs, 0)
    assert set(folds) == {pair.query_id for pair in pairs}
    sizes = [list(folds.values()).count(fold) for fold in range(FOLDS)]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        (sample(3), r"too few judgments to calibrate model: among the candidates of 3 queries are \d+ relev"),
        (
            Pairs(tuple(Pair(f"q{n}", n, False) for n in range(50)), ""),
            r"are 0 relevant ones \(in 0 queries\)",
        ),
        (Pairs(tuple(Pair(f"q{n}", n, n < 48) for n in range(50)), ""), "48 relevant ones .* and 2 others"),
        (
            Pairs(tuple(Pair(f"q{n // 20}", n, n < 20) for n in range(400)), ""),
            r"20 relevant ones \(in 1 queries\)",
        ),
        (Pairs((), ""), "among the candidates of 0 queries"),
    ],
)
def test_too_few_judgments_are_refused_with_the_numbers(pairs: Pairs, says: str) -> None:
    with pytest.raises(InputError, match=says):
        fitted(pairs)


def test_scores_that_say_nothing_are_refused() -> None:
    chance = random.Random(0)
    pairs = tuple(Pair(f"q{n // 10}", chance.gauss(0, 3), chance.random() < 0.3) for n in range(400))
    backwards = tuple(replace(pair, score=-1.0 if pair.relevant else 1.0) for pair in pairs)
    for each in (pairs, backwards):
        with pytest.raises(InputError, match="say nothing about relevance here: on held-out queries"):
            fitted(Pairs(each, ""), logits=False)


# an index, a model, a file

TOPICS = ["ferry", "bees", "bakery", "library", "garden", "harbour", "school", "market", "mill", "church"]


class Overlap:
    """Scores a passage by the words it shares with the query; no logit."""

    def __init__(self, name: str = "overlap", factor: float = 1.0) -> None:
        self.name = name
        self.factor = factor

    def score(self, query: str, passages: Sequence[str]) -> np.ndarray:
        asked = set(query.lower().split())
        shares = [len(asked & set(text.lower().strip(".").split())) / len(asked) for text in passages]
        return np.array([self.factor * share for share in shares], dtype=np.float32)


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    made = Index.open(tmp_path_factory.mktemp("calibration") / "i", embedder=HashEmbedder())
    made.add(
        [
            Document(f"{topic}-{part}", f"The {topic} of village number {n} has part {part}.")
            for n, topic in enumerate(TOPICS)
            for part in ("one", "two", "three")
        ]
    )
    return made


@pytest.fixture(scope="module")
def judged() -> Judged:
    queries = {f"q{n}": f"the {topic} of village number {n}" for n, topic in enumerate(TOPICS)}
    qrels = {
        f"q{n}": {f"{topic}-{part}": 1 for part in ("one", "two", "three")} for n, topic in enumerate(TOPICS)
    }
    return Judged(queries, qrels, "document", "by hand")


def test_pairs_of_documents_and_of_passages(index: Index, judged: Judged) -> None:
    by_document = judged_pairs(index, judged, Overlap(), candidates=30)
    assert by_document.unjudged == "not relevant"
    assert len(by_document.pairs) == 300
    assert sum(pair.relevant for pair in by_document.pairs) == 30
    passages = {each.id: index.passages(each.id)[0].id for each in index.documents()}
    qrels = {
        query: {passages[key]: grade for key, grade in grades.items()}
        for query, grades in judged.qrels.items()
    }
    by_passage = judged_pairs(index, Judged(judged.queries, qrels, "passage"), Overlap(), candidates=30)
    assert sorted(map(repr, by_passage.pairs)) == sorted(map(repr, by_document.pairs))


def test_where_something_is_judged_not_relevant_the_unjudged_are_left_out(
    index: Index, judged: Judged
) -> None:
    qrels = {query: {**grades, "mill-one": 0} for query, grades in judged.qrels.items()}
    qrels["q8"] = {"mill-one": 1, "mill-two": 0}
    found = judged_pairs(index, replace(judged, qrels=qrels), Overlap(), candidates=30)
    assert found.unjudged == "left out"
    assert len(found.pairs) == 9 * 4 + 2
    assert sum(pair.relevant for pair in found.pairs) == 9 * 3 + 1


def test_a_document_scores_as_its_best_passage(tmp_path: Path) -> None:
    with Index.open(tmp_path / "i", embedder=HashEmbedder()) as index:
        index.add(
            [Document("long", "Bees fly.\n\n" + "Nothing else is said of it. " * 30 + "\n\nThe bees sleep.")]
        )
        assert len(index) > 1
        judged = Judged({"q": "the bees"}, {"q": {"long": 1}}, "document")
        (pair,) = judged_pairs(index, judged, Overlap(), candidates=10).pairs
        best = max(Overlap().score("the bees", [each.text for each in index.passages("long")]).tolist())
    assert (pair.relevant, pair.score) == (True, pytest.approx(best))


def test_a_score_that_is_no_logit_gets_a_probability(index: Index, judged: Judged) -> None:
    steps_done: list[int] = []
    made = calibrate(index, judged, Overlap(), candidates=30, progress=lambda: steps_done.append(1))
    assert len(steps_done) == 10
    save(made, index.path)
    found = lookup(index.path, Overlap())
    assert found.calibration == made
    engine = Engine(index, Overlap(), 30, calibrations={"overlap": made.probability})
    right = engine.search("the ferry of village number 0", 3)
    assert right.calibrated
    assert all(hit.probability is not None and hit.probability > 0.5 for hit in right.hits)
    threshold = made.threshold(0.8)
    assert len(relevant_only(right, threshold).hits) == 3
    assert relevant_only(engine.search("quantum chromodynamics of village", 3), threshold).hits == ()


def test_the_precision_stays_when_the_model_changes(index: Index, judged: Judged) -> None:
    """Another model scores on another scale: the threshold of the score moves, the precision does not."""
    for factor in (1.0, 40.0):
        model = Overlap(f"times {factor}", factor)
        save(calibrate(index, judged, model, candidates=30), index.path)
        made = lookup(index.path, model).calibration
        assert made is not None
        engine = Engine(index, model, 30, calibrations={model.name: made.probability})
        kept = relevant_only(engine.search("the mill of village number 8", 5), made.threshold(0.9))
        assert [hit.passage.document_id.split("-")[0] for hit in kept.hits] == ["mill"] * 3


def test_another_models_scores_are_never_read_with_it(index: Index, judged: Judged) -> None:
    save(calibrate(index, judged, Overlap("same name"), candidates=30), index.path)
    other = lookup(index.path, Overlap("same name", 1.1))
    assert other.calibration is None
    assert other.why_not == "same name was calibrated with other weights than these"
    assert lookup(index.path, Overlap("never seen")).why_not == "never seen is not calibrated for this index"


def test_models_are_known_by_what_they_do() -> None:
    found = probe(Overlap())
    assert len(found) == sum(map(len, PROBES.values()))
    assert same_model(found, found)
    assert not same_model(found, found[:-1])
    spread = max(found) - min(found)
    assert same_model(found, [each + 0.04 * spread for each in found])
    assert not same_model(found, [found[0] + 0.06 * spread, *found[1:]])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_what_is_saved_is_what_is_read(seed: int, logits: bool) -> None:
    made = fitted(sample(60, offset=0.5, seed=seed), logits=logits)
    assert from_json(json.loads(json.dumps(to_json(made)))) == made


@pytest.mark.parametrize("name", ["cross-encoder/ms-marco", "../../escape", "a b", "...", "Überranker"])
def test_the_file_lies_in_its_folder_whatever_the_name(tmp_path: Path, name: str) -> None:
    made = replace(CALIBRATION, reranker=name)
    file = save(made, tmp_path)
    assert file.parent == tmp_path / "calibration"
    assert [each.name for each in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(
    "change",
    [
        lambda shape: "not json at all",
        lambda shape: json.dumps([]),
        lambda shape: json.dumps({**shape, "format": 99}),
        lambda shape: json.dumps({key: value for key, value in shape.items() if key != "curve"}),
        lambda shape: json.dumps({**shape, "curve": {**shape["curve"], "slope": -1}}),
        lambda shape: json.dumps({**shape, "curve": {**shape["curve"], "method": "magic"}}),
        lambda shape: json.dumps({**shape, "curve": {**shape["curve"], "method": "isotonic"}}),
        lambda shape: json.dumps({**shape, "steps": [1]}),
        lambda shape: json.dumps(shape)[:200],
    ],
)
def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path, change) -> None:
    model = Overlap("model")
    save(CALIBRATION, tmp_path)
    file = file_of(tmp_path, "model")
    file.write_text(change(json.loads(file.read_text())))
    with pytest.raises(IndexDamagedError, match=r"calibration/model\.json .* fit it again"):
        lookup(tmp_path, model)


def test_probabilities_are_those_of_the_curve() -> None:
    curve = Curve("platt", 2.0, -1.0)
    assert probabilities(curve, np.array([0.5, 1.0])) == pytest.approx([0.5, sigmoid(1.0)])


# real models on a real collection


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared/data/collections")
@pytest.mark.parametrize("name", ["minilm-l6", "late-interaction"])
def test_real_scores_are_calibrated_on_adi(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    from secondpass import load_reranker

    folder = SHARED / "adi"
    rows = [json.loads(line) for line in (folder / "corpus.jsonl").read_text().splitlines()]
    asked = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
    qrels: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels" / "test.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        qrels.setdefault(query, {})[document] = int(grade)
    queries = {each["_id"]: each["text"] for each in asked if each["_id"] in qrels}
    place = tmp_path_factory.getbasetemp() / "adi"
    with Index.open(place) as index:
        index.add([Document(row["_id"], f"{row['title']} {row['text']}") for row in rows])
        made = calibrate(index, Judged(queries, qrels, "document", "adi"), load_reranker(name), candidates=10)
    assert made.queries == 35
    assert made.after.ece < 0.1
    if made.before is not None:
        assert made.after.ece < made.before.ece
        assert made.after.log_loss < made.before.log_loss
