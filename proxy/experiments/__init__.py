"""Experiments in traffic: who gets which arm, what is counted, and what may be concluded while one looks on."""
