"""How reliable probabilities are: log-loss, Brier score, and the calibration error over ten bins."""

from __future__ import annotations

import numpy as np

from .curves import Doubles
from .values import Bin, Reliability

__all__ = ["log_loss", "reliability"]

BINS = 10
_LEAST = 1e-15


def log_loss(predicted: Doubles, labels: Doubles) -> float:
    """Return the mean negative log-likelihood of labels 0 or 1, in nats."""
    sure = np.clip(predicted, _LEAST, 1 - _LEAST)
    return float(-np.mean(labels * np.log(sure) + (1 - labels) * np.log1p(-sure)))


def reliability(predicted: Doubles, labels: Doubles) -> Reliability:
    """Return the figures for probabilities ``(n,)`` and labels ``(n,)``, n at least 1.

    The calibration error is the mean over pairs of the difference between a bin's mean probability and its
    share of relevant ones (Naeini, Cooper and Hauskrecht, AAAI 2015).
    """
    places = np.minimum((predicted * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(places, minlength=BINS)
    filled = np.maximum(counts, 1)
    means = np.bincount(places, weights=predicted, minlength=BINS) / filled
    shares = np.bincount(places, weights=labels, minlength=BINS) / filled
    bins = tuple(
        Bin(
            number / BINS,
            (number + 1) / BINS,
            int(counts[number]),
            float(means[number]),
            float(shares[number]),
        )
        for number in range(BINS)
    )
    return Reliability(
        log_loss=log_loss(predicted, labels),
        brier=float(np.mean((predicted - labels) ** 2)),
        ece=float(np.sum(counts * np.abs(means - shares)) / len(labels)),
        bins=bins,
    )
