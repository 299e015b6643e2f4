"""Remote re-rankers against our own server over a real socket: what one says, the other understands."""

from __future__ import annotations

import socket
import threading
import time

import numpy as np
import pytest
import uvicorn

from secondpass import load_reranker
from secondpass.errors import RemoteError
from secondpass.ext.server import ServerSettings, create_app
from secondpass.reranking import RemoteReranker

KEY = "a-key-of-this-test-only"
QUERY = "What is the kettle made of?"
PASSAGES = [
    "Rates rose again.",
    "The kettle is made of steel.",
    "A kettle is sold in the shop.",
    "Die Brücke wurde 1931 gebaut; 漢字.",
]


@pytest.fixture(scope="module")
def url():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        app = create_app(ServerSettings(index=None, reranker="minilm-l6", api_key=KEY, aliases=False))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        until = time.monotonic() + 60
        while not server.started and time.monotonic() < until:
            time.sleep(0.02)
        assert server.started
        yield address
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def logits():
    return load_reranker("minilm-l6").score(QUERY, PASSAGES)


@pytest.mark.parametrize("service", ["cohere", "jina", "voyage", "tei", "infinity"])
def test_our_server_speaks_every_dialect_we_understand(url, logits, service):
    with RemoteReranker(f"{service}:minilm-l6", base_url=url, api_key=KEY) as reranker:
        scores = reranker.score(QUERY, PASSAGES)
    raw = service in ("tei", "infinity")
    assert np.allclose(scores, logits if raw else 1 / (1 + np.exp(-logits)), atol=1e-3)


def test_many_passages_come_back_in_order(url):
    texts = [f"kettle number {place}" for place in range(70)]
    with RemoteReranker("tei:any", base_url=url, api_key=KEY) as reranker:
        assert np.allclose(
            reranker.score(QUERY, texts), load_reranker("minilm-l6").score(QUERY, texts), atol=1e-3
        )


def test_a_wrong_key_and_an_unknown_model_are_told(url):
    with (
        RemoteReranker("jina:minilm-l6", base_url=url, api_key="another-key-than-that") as reranker,
        pytest.raises(RemoteError, match=r"refused the key \(401\)"),
    ):
        reranker.score(QUERY, PASSAGES)
    with (
        RemoteReranker("cohere:no-such-model", base_url=url, api_key=KEY) as reranker,
        pytest.raises(RemoteError) as caught,
    ):
        reranker.score(QUERY, PASSAGES)
    assert caught.value.status in (400, 404)
    assert "no-such-model" in str(caught.value)
