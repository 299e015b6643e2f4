"""Whether stage 2 is worth its time on one's own documents: sweep, decision, gate."""
