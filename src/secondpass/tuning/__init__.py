"""Training a re-ranker further on one's own documents; ``tune`` does it all. Needs the extra ``train``."""
