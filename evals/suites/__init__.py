"""Suites: question sets of the benchmarks, read from local files in the layouts in which they are published."""
