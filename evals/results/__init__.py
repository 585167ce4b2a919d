"""The evidence in docs/results.md, remade by one command: `make results`."""
