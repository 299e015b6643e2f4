"""Gate and wanted precision over HTTP: what ``secondpass search`` and ``ask`` decide, the server does too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("fastapi")

from secondpass.errors import SettingsError
from secondpass.ext.server import ServerSettings
from secondpass.gating import parse_gate
from serving import command, process, serving
from test_cli_judge import MORE, TOPICS

FERRY = "tell me about the timetable of the harbour ferry"
NOTHING = "quantum chromodynamics on a lattice"
OPEN = "late-interaction unless dense top >= 0.1"
SHUT = "late-interaction unless dense top >= 2"


@pytest.fixture(scope="module")
def village(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with documents, judged questions about them, and an index calibrated with these."""
    folder = tmp_path_factory.mktemp("village")
    (folder / "docs").mkdir()
    for name, (heading, text) in TOPICS.items():
        (folder / "docs" / f"{name}.md").write_text(f"# {heading}\n\n{text} {MORE * 2}\n")
    rows = [
        {"query": f"{ask} {heading.lower()}", "relevant": f"docs/{name}.md"}
        for name, (heading, _) in TOPICS.items()
        for ask in ("tell me about the", "I want to know of the")
    ]
    (folder / "judged.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    assert command(folder, "index", "docs").returncode == 0
    done = command(folder, "calibrate", "judged.jsonl", "--reranker", "late-interaction")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def served(village: Path) -> Iterator[str]:
    """A server that was told nothing of precision, and has a gate that nobody asked to be used."""
    settings = ServerSettings(
        index=village / ".secondpass", reranker="late-interaction", gate=parse_gate(OPEN)
    )
    with serving(settings) as server:
        yield server.url


def untimed(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key not in ("timings_ms", "cached")}


def printed(village: Path, *arguments: str, **variables: str) -> dict[str, Any]:
    done = command(village, *arguments, "--json", "--quiet", **variables)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def told(url: str, path: str = "search", **body: object) -> dict[str, Any]:
    answer = httpx.post(f"{url}/v1/{path}", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def refused(url: str, path: str = "search", **body: object) -> tuple[int, str, str]:
    answer = httpx.post(f"{url}/v1/{path}", json=body, timeout=60)
    error = answer.json()["error"]
    return answer.status_code, error["code"], error["message"]


@pytest.mark.parametrize("query", [FERRY, NOTHING])
def test_a_search_leaves_nothing_out_and_asks_no_gate_of_its_own(
    village: Path, served: str, query: str
) -> None:
    found = told(served, query=query)
    assert untimed(found) == untimed(printed(village, "search", query, "--reranker", "late-interaction"))
    assert (found["min_precision"], found["nothing_relevant"], found["gated"]) == (None, False, False)
    assert (found["calibrated"], len(found["hits"])) == (True, 3)


@pytest.mark.parametrize(("query", "nothing"), [(FERRY, False), (NOTHING, True)])
def test_a_wanted_precision_leaves_out_what_the_command_leaves_out(
    village: Path, served: str, query: str, nothing: bool
) -> None:
    found = told(served, query=query, min_precision=0.8)
    options = ("--reranker", "late-interaction", "--min-precision", "0.8")
    assert untimed(found) == untimed(printed(village, "search", query, *options))
    assert found["nothing_relevant"] is nothing
    assert found["min_precision"]["precision"] == 0.8
    assert (found["hits"] == []) is nothing


@pytest.mark.parametrize(("query", "nothing"), [(FERRY, False), (NOTHING, True)])
def test_an_answer_rests_on_what_reaches_the_precision(
    village: Path, served: str, query: str, nothing: bool
) -> None:
    found = told(served, "answer", query=query, min_precision=0.8)
    options = ("--reranker", "late-interaction", "--min-precision", "0.8")
    assert untimed(found) == untimed(printed(village, "ask", query, *options))
    assert (found["why"] == "threshold") is nothing
    assert 0 < found["threshold"] < 1
    assert told(served, "answer", query=query)["threshold"] is None


def test_the_gate_is_asked_where_a_request_says_so(village: Path, served: str) -> None:
    found = told(served, query=FERRY, reranker="gated")
    command_says = printed(village, "search", FERRY, "--reranker", "gated", SECONDPASS_GATE=OPEN)
    assert untimed(found) == untimed(command_says)
    assert (found["gated"], found["reranker"], found["scored"]) == (True, "none", 0)
    # A precision needs probabilities, and the gate would leave none.
    both = told(served, query=FERRY, reranker="gated", min_precision=0.8)
    options = ("--reranker", "gated", "--min-precision", "0.8")
    assert untimed(both) == untimed(printed(village, "search", FERRY, *options, SECONDPASS_GATE=OPEN))
    assert (both["gated"], both["reranker"]) == (False, "late-interaction")


def test_what_cannot_be_decided_is_refused(served: str) -> None:
    for path in ("search", "answer"):
        status, code, message = refused(served, path, query=FERRY, min_precision=0.8, reranker="none")
        assert (status, code) == (422, "input_invalid")
        assert "stage 2 is off" in message
        status, code, message = refused(served, path, query=FERRY, min_precision=0.8, reranker="minilm-l6")
        assert (status, code) == (422, "input_invalid")
        assert "minilm-l6 is not calibrated for this index" in message
        for wrong in (0, 1.1, -1, "much"):
            assert refused(served, path, query=FERRY, min_precision=wrong)[:2] == (422, "request_invalid")
    status, code, message = refused(served, query=FERRY, reranker="gated", stage1="lexical")
    assert (status, code) == (422, "input_invalid")
    assert "fitted on dense scores" in message


def test_the_settings_of_the_commands_hold_for_the_server(village: Path) -> None:
    """From ``secondpass.toml`` and the environment; a request has the last word."""
    (village / "secondpass.toml").write_text(f'gate = "{OPEN}"\nreranker = "gated"\n')
    try:
        with process(folder=village) as (url, lines):
            found = told(url, query=FERRY)
            assert untimed(found) == untimed(printed(village, "search", FERRY))
            assert found["gated"] is True
            assert told(url, query=FERRY, reranker="late-interaction")["gated"] is False
            assert "let through by the gate" in lines[0]
        with process(folder=village, SECONDPASS_GATE=SHUT, SECONDPASS_MIN_PRECISION="0.8") as (url, _):
            variables = {"SECONDPASS_GATE": SHUT, "SECONDPASS_MIN_PRECISION": "0.8"}
            for query in (FERRY, NOTHING):
                found = told(url, query=query)
                assert untimed(found) == untimed(printed(village, "search", query, **variables))
            assert found["nothing_relevant"] is True
            free = told(url, query=NOTHING, min_precision=None)
            assert (free["min_precision"], len(free["hits"]), free["gated"]) == (None, 3, False)
    finally:
        (village / "secondpass.toml").unlink()


def test_a_calibration_that_is_fitted_or_deleted_meanwhile_is_seen(village: Path, served: str) -> None:
    file = village / ".secondpass" / "calibration" / "late-interaction.json"
    written = file.read_bytes()
    assert told(served, query=FERRY)["calibrated"] is True
    file.unlink()
    try:
        assert told(served, query=FERRY)["calibrated"] is False
        assert refused(served, query=FERRY, min_precision=0.8)[0] == 422
        file.write_bytes(b"{")
        assert refused(served, query=FERRY)[:2] == (503, "index_unusable")
    finally:
        file.write_bytes(written)
    assert told(served, query=FERRY, min_precision=0.8)["calibrated"] is True


def test_a_server_without_a_gate_says_so(village: Path) -> None:
    with serving(ServerSettings(index=village / ".secondpass", reranker="none")) as server:
        assert refused(server.url, query=FERRY, reranker="gated")[:2] == (422, "setting_invalid")
    with pytest.raises(SettingsError, match="no gate is set"):
        ServerSettings(gated=True)
    with pytest.raises(SettingsError, match="fitted on dense scores"):
        ServerSettings(gated=True, gate=parse_gate(OPEN), stage1="lexical")
    with pytest.raises(SettingsError, match="min_precision"):
        ServerSettings(min_precision=1.5)
    for options in (("--reranker", "gated"), ("--reranker", "none", "--reranker", "gated")):
        done = command(village, "serve", *options)
        assert done.returncode == 2
        assert "no gate is set" in done.stderr
