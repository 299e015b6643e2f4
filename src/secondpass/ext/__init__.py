"""Integrations: one module each, behind its own extra; the core never imports them."""
