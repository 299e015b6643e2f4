"""Judged queries, measures, paired tests: how good a ranking is on a person's own documents."""
