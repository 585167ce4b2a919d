"""Leakage, utility and detection, measured."""
