"""Training of assistants: `python -m guards.engine.training --help`. PEFT and transformers, no vLLM."""
