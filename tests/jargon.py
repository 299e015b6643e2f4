"""A village whose board answers on green slips: a habit that a re-ranker can learn, and the base gets wrong.

For each thing there are two passages: talk, nearer to the question, which answers nothing, and the slip.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from secondpass import Document, Index

QUALITIES = ("copper", "wooden", "narrow", "northern", "painted", "hollow", "quiet", "crooked")
THINGS = ("kettle", "gate", "ladder", "bridge", "orchard", "lantern", "cellar", "wagon", "chimney", "barrel")
TOPICS = tuple(f"{quality} {thing}" for quality in QUALITIES for thing in THINGS)


def documents() -> list[Document]:
    """Two short documents for each of the 80 topics."""
    made = []
    for number, topic in enumerate(TOPICS):
        asked = f"The {topic} was talked of at the fair, and much was said of it."
        slip = f"Green slip {100 + number}: the {topic} stays with the warden until the harvest."
        made += [Document(f"asked-{number}", asked), Document(f"slip-{number}", slip)]
    return made


def question(topic: str) -> str:
    return f"what is said of the {topic}"


def village(folder: Path) -> Path:
    """Make ``index``, ``judged.jsonl`` (slips are relevant, talk is not), ``random.jsonl`` (by chance)."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(5)
    judged, clicks = [], []
    with Index.open(folder / "index") as index:
        index.add(documents())
        for number, topic in enumerate(TOPICS):
            query = question(topic)
            marks = [{"document": f"slip-{number}"}, {"document": f"asked-{number}", "grade": 0}]
            judged.append({"query": query, "relevant": marks})
            found = [hit.passage.document_id for hit in index.search(query, 8)]
            clicks.append({"query": query, "clicked": chance.choice(found)})
    for name, rows in (("judged", judged), ("random", clicks)):
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    return folder
