"""Decisions: signals become verdicts, verdicts become a plan. No network, no clock, no event loop."""
