"""What a user who is not root meets."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def without_privileges() -> Iterator[Path]:
    """A folder that anyone may enter, as a user who is not root."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        user = os.geteuid()
        yield_as = 65534 if user == 0 else user
        folder = Path(name, "work")
        folder.mkdir()
        os.chown(folder, yield_as, -1)
        if user == 0:
            os.seteuid(yield_as)
        try:
            yield folder
        finally:
            os.seteuid(user)
