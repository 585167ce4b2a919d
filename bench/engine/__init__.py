"""What the offsets cost inside vLLM, and whether they are exact: `python -m bench.engine --help`."""
