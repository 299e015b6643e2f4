"""Models that were fetched: a record of each, replayed to verify it, and moved in one file."""

from .archives import export_model, import_model
from .golden import Golden, Speed, compare, measure, replay
from .pulling import Pulled, pull
from .records import Record, read_record, speeds
from .verifying import Verified, on_this_machine, verifiable, verify

__all__ = [
    "Golden",
    "Pulled",
    "Record",
    "Speed",
    "Verified",
    "compare",
    "export_model",
    "import_model",
    "measure",
    "on_this_machine",
    "pull",
    "read_record",
    "replay",
    "speeds",
    "verifiable",
    "verify",
]
