"""What a server logs and traces, and that no text of a document, a query or a key is in it."""

from __future__ import annotations

import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

pytest.importorskip("fastapi")

import httpx
from fastapi import APIRouter, Request
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from secondpass.errors import SettingsError
from secondpass.ext.server import ServerSettings, create_app
from secondpass.ext.server.logs import HumanLines, JsonLines, configure, request_id
from secondpass.ext.server.telemetry import export_spans

pytestmark = pytest.mark.filterwarnings("ignore:.*httpx.*:DeprecationWarning")

SECRET = "the text of a document"
KEY = "a-key-of-more-than-sixteen-characters"


@pytest.fixture(scope="module")
def exporter() -> InMemorySpanExporter:
    """The provider of a process can be set once."""
    kept = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    trace.set_tracer_provider(provider)
    return kept


@pytest.fixture
def spans(exporter: InMemorySpanExporter) -> InMemorySpanExporter:
    exporter.clear()
    return exporter


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    loggers = [logging.getLogger(name) for name in ("secondpass", "uvicorn")]
    before = [(each.handlers[:], each.level, each.propagate) for each in loggers]
    stream = io.StringIO()
    configure(json_lines=True, stream=stream, level=logging.DEBUG)
    yield stream
    for each, (handlers, level, propagate) in zip(loggers, before, strict=True):
        each.handlers[:], each.level, each.propagate = handlers, level, propagate
    logging.getLogger("uvicorn.access").disabled = False


def application(**settings: Any) -> Any:
    app = create_app(ServerSettings(**settings))
    routes = APIRouter()
    work = app.state.secondpass.work

    def measured_work(text: str) -> str:
        logging.getLogger("secondpass.somewhere").info("at work")
        if text == "fail":
            raise RuntimeError(SECRET)
        return request_id.get()

    @routes.post("/probe/{name}")
    async def probe(name: str, request: Request) -> dict[str, str]:
        return {"id_on_the_worker": await work.run(measured_work, (await request.body()).decode())}

    app.include_router(routes)
    return app


async def ask(app: Any, requests: Sequence[tuple[str, str, dict[str, Any]]]) -> list[httpx.Response]:
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8765") as client:
        return [await client.request(method, path, **more) for method, path, more in requests]


def asked(app: Any, *requests: tuple[str, str, dict[str, Any]]) -> list[httpx.Response]:
    import anyio

    return anyio.run(ask, app, requests)


def lines(log: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.getvalue().splitlines()]


def requests_in(log: io.StringIO) -> list[dict[str, Any]]:
    return [each for each in lines(log) if each["logger"] == "secondpass.server.access"]


PROBE = (
    "POST",
    "/probe/private-name?q=private-query",
    {"content": SECRET, "headers": {"X-Request-ID": "abc-1"}},
)


def test_a_request_is_one_line_with_its_id_and_nothing_that_was_sent(log: io.StringIO) -> None:
    answer = asked(
        application(api_key=KEY),
        (*PROBE[:2], {**PROBE[2], "headers": {"X-API-Key": KEY, "X-Request-ID": "abc-1"}}),
    )[0]
    assert answer.status_code == 200
    [line] = requests_in(log)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line.pop("time"))
    assert line.pop("milliseconds") > 0
    assert line.pop("message").startswith("POST /probe/{name} 200 ")
    assert line == {
        "level": "info",
        "logger": "secondpass.server.access",
        "request_id": "abc-1",
        "method": "POST",
        "route": "/probe/{name}",
        "status": 200,
        "bytes_sent": len(answer.content),
    }
    for each in (SECRET, "private", KEY):
        assert each not in log.getvalue()


@pytest.mark.parametrize(
    ("given", "kept"),
    [("abc-1", True), ("a" * 64, True), ("a" * 65, False), ("a b", False), ('"},{"x', False), ("", False)],
)
def test_ids_of_requests_are_taken_only_where_they_are_plain(
    log: io.StringIO, given: str, kept: bool
) -> None:
    answer = asked(application(), ("POST", "/probe/a", {"headers": {"X-Request-ID": given}}))[0]
    own = answer.headers["X-Request-ID"]
    assert (own == given) is kept
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", own)
    assert answer.json() == {"id_on_the_worker": own}
    assert {each["request_id"] for each in lines(log) if "request_id" in each} == {own}
    assert [each["message"] for each in lines(log) if each["logger"] == "secondpass.somewhere"] == ["at work"]


def test_failures_are_logged_by_kind_and_place(log: io.StringIO, spans: InMemorySpanExporter) -> None:
    answer = asked(application(), ("POST", "/probe/a", {"content": "fail"}))[0]
    assert answer.status_code == 500
    [line] = requests_in(log)
    assert (line["status"], line["error"]) == (500, "RuntimeError")
    errors = [each for each in lines(log) if each["level"] == "error"]
    assert any("RuntimeError" in each["message"] and "measured_work" in each["message"] for each in errors)
    assert SECRET not in log.getvalue()
    finished = spans.get_finished_spans()
    assert {each.status.status_code for each in finished} == {StatusCode.ERROR}
    assert {(each.attributes or {})["error.type"] for each in finished} == {"RuntimeError"}
    assert not any(each.events for each in finished)


def test_what_is_refused_is_logged_too(log: io.StringIO) -> None:
    answers = asked(
        application(api_key=KEY),
        ("POST", "/probe/a", {}),
        ("POST", "/probe/a", {"headers": {"X-API-Key": "wrong-" + KEY}}),
        ("GET", "/nothing/here?secret=1", {"headers": {"X-API-Key": KEY}}),
        ("BREW", "/probe/a", {"headers": {"X-API-Key": KEY}}),
    )
    assert [each["status"] for each in requests_in(log)] == [each.status_code for each in answers]
    assert [each.status_code for each in answers] == [401, 401, 404, 405]
    assert [each["method"] for each in requests_in(log)] == ["POST", "POST", "GET", "other"]
    assert "nothing/here" not in log.getvalue()
    assert KEY not in log.getvalue()


def test_probes_of_machines_are_not_worth_a_line_by_default(log: io.StringIO) -> None:
    asked(application(), ("GET", "/metrics", {}))
    assert [each["level"] for each in requests_in(log)] == ["debug"]


def record(message: str, **more: Any) -> logging.LogRecord:
    return logging.LogRecord("secondpass", logging.WARNING, "f.py", 1, message, (), more.get("exc_info"))


def test_a_line_is_one_line_whatever_is_logged() -> None:
    for formatter in (JsonLines(), HumanLines()):
        line = formatter.format(record("two\nlines \x1b[31m and \u202e"))
        assert line.isprintable()
    try:
        raise ValueError(SECRET)
    except ValueError:
        broken = record("it broke", exc_info=sys.exc_info())
    shape = json.loads(JsonLines().format(broken))
    assert (shape["error"], shape["level"]) == ("ValueError", "warning")
    assert "test_a_line_is_one_line" in shape["places"][0]
    human = HumanLines().format(broken)
    assert re.match(r"\d\d:\d\d:\d\d warning: it broke \(ValueError at ", human)
    assert SECRET not in human + json.dumps(shape)


def test_people_get_a_short_line() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(HumanLines())
    token = request_id.set("0123456789abcdef")
    try:
        handler.emit(logging.LogRecord("secondpass", logging.INFO, "f.py", 1, "GET / 200 1.2 ms", (), None))
    finally:
        request_id.reset(token)
    assert re.fullmatch(r"\d\d:\d\d:\d\d GET / 200 1\.2 ms \[01234567\]\n", stream.getvalue())


def by_name(spans: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {each.name: each for each in spans.get_finished_spans()}


def test_a_request_is_a_span_and_so_is_its_work(spans: InMemorySpanExporter) -> None:
    asked(application(), PROBE)
    found = by_name(spans)
    assert set(found) == {"POST /probe/{name}", "work measured_work"}
    request, work = found["POST /probe/{name}"], found["work measured_work"]
    assert request.kind is SpanKind.SERVER
    assert dict(request.attributes or {}) == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "network.protocol.version": "1.1",
        "http.route": "/probe/{name}",
        "http.response.status_code": 200,
        "secondpass.request_id": "abc-1",
    }
    assert work.parent is not None
    assert request.context is not None
    assert work.parent.span_id == request.context.span_id
    assert "private" not in request.to_json() + work.to_json()
    assert SECRET not in request.to_json() + work.to_json()


def test_a_span_belongs_to_the_trace_of_whoever_asks(spans: InMemorySpanExporter) -> None:
    trace_id, parent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    asked(application(), ("POST", "/probe/a", {"headers": {"traceparent": f"00-{trace_id}-{parent}-01"}}))
    request = by_name(spans)["POST /probe/{name}"]
    assert request.context is not None
    assert request.parent is not None
    assert f"{request.context.trace_id:032x}" == trace_id
    assert f"{request.parent.span_id:016x}" == parent
    spans.clear()
    asked(application(), ("POST", "/probe/a", {"headers": {"traceparent": "nonsense"}}))
    assert by_name(spans)["POST /probe/{name}"].parent is None


def test_a_refused_request_is_no_error_of_the_server(spans: InMemorySpanExporter) -> None:
    asked(application(), ("GET", "/nothing", {}))
    [only] = spans.get_finished_spans()
    assert only.name == "GET"
    assert (only.attributes or {})["http.response.status_code"] == 404
    assert only.status.status_code is StatusCode.UNSET


def in_a_process(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_spans_go_where_the_variables_say() -> None:
    code = (
        "from secondpass.ext.server.telemetry import export_spans, span\n"
        "end = export_spans()\n"
        "with span('a step', passages=3):\n"
        "    pass\n"
        "end()\n"
    )
    told = in_a_process(code, OTEL_TRACES_EXPORTER="console", OTEL_SERVICE_NAME="mine")
    assert (told.returncode, told.stdout) == (0, "")
    shape = json.loads(told.stderr)
    assert (shape["name"], shape["attributes"]) == ("a step", {"passages": 3})
    assert shape["resource"]["attributes"]["service.name"] == "mine"
    silent = in_a_process(code)
    assert (silent.returncode, silent.stdout, silent.stderr) == (0, "", "")


def test_without_the_package_nothing_is_traced_and_all_works() -> None:
    code = """
import sys, types

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] == 'opentelemetry':
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import secondpass.ext
package = types.ModuleType('secondpass.ext.server')  # FastAPI itself may want the package
package.__path__ = [secondpass.ext.__path__[0] + '/server']
sys.modules['secondpass.ext.server'] = package
from secondpass.ext.server.telemetry import INSTALLED, Traced, export_spans, span, traced
import anyio, httpx
from starlette.responses import PlainTextResponse

async def ask():
    transport = httpx.ASGITransport(Traced(PlainTextResponse('fine')))
    async with httpx.AsyncClient(transport=transport, base_url='http://127.0.0.1') as client:
        return (await client.get('/')).text

export_spans()()
with span('nothing'):
    print(INSTALLED, anyio.run(ask), traced('work', lambda: 7)(), 'opentelemetry' in sys.modules)
"""
    told = in_a_process(code)
    assert told.stdout == "False fine 7 False\n", told.stderr


def test_a_wrong_exporter_is_said_at_the_start() -> None:
    with pytest.raises(SettingsError, match="must be otlp, console or none, got 'zipkin'"):
        export_spans({"OTEL_TRACES_EXPORTER": "zipkin"})
