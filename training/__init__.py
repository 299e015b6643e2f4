"""The recipe behind the shipped re-ranker: prepare, train, evaluate, export. See training/README.md."""

import os

# Threads that spin while they wait are ten times slower as soon as another process wants the same cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "0")
