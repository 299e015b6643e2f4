"""Probabilities that mean what they say: a re-ranker's scores, calibrated on judged queries.

``values`` says what a calibration is; ``curves`` fits it (Platt, isotonic); ``reliability`` measures it;
``thresholds`` turns a wanted precision into a probability; ``fitting`` puts them together; ``pairs`` gathers
judged scores from an index; ``storing`` keeps calibrations beside the index; ``probing`` tells models apart;
``weeding`` leaves out hits below a wanted precision.
"""

from __future__ import annotations

from .fitting import calibrate, fit
from .pairs import Pair, Pairs, judged_pairs
from .storing import FOLDER, Lookup, lookup, save, to_json
from .thresholds import relevant_only
from .values import Bin, Calibration, Curve, HeldOut, Reliability, Step
from .weeding import Bar, least_probability, weeded

__all__ = [
    "FOLDER",
    "Bar",
    "Bin",
    "Calibration",
    "Curve",
    "HeldOut",
    "Lookup",
    "Pair",
    "Pairs",
    "Reliability",
    "Step",
    "calibrate",
    "fit",
    "judged_pairs",
    "least_probability",
    "lookup",
    "relevant_only",
    "save",
    "to_json",
    "weeded",
]
