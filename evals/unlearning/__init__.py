"""Whether offsets unlearn, at strength alone, gate and filters off: `python -m evals.unlearning --help`."""
