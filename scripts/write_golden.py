"""Write what the models that ship with the package say of fixed texts, for `secondpass models verify`.

Run it when such a model changes: it writes weights/golden/*.json and their lines in weights/SHA256SUMS.
"""

from __future__ import annotations

import hashlib
import json

from secondpass import models
from secondpass.supply.golden import replay
from secondpass.supply.records import Record, to_json


def main() -> None:
    """Write them all."""
    folder = models.WEIGHTS / "golden"
    folder.mkdir(exist_ok=True)
    lines = [line for line in models.CHECKSUMS.read_text("utf-8").splitlines() if "  golden/" not in line]
    for known in models.known_models():
        if known.shipped:
            golden = replay(models.resolve(known.name, known.kind), known.kind, "fp32")
            record = Record(known.name, known.kind, None, None, {}, golden)
            file = folder / f"{known.name}.json"
            file.write_text(json.dumps(to_json(record)) + "\n", encoding="utf-8")
            lines.append(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  golden/{file.name}")
    models.CHECKSUMS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
