"""The engine's bench at sizes that need a GPU, with weights that need no download: `python -m bench.gpu --help`."""
