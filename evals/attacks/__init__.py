"""Attacks: other ways to what must be forgotten, made from any forget set, run against a server and judged here."""
