"""What runs inside or beside vLLM. Imports nothing else of Lethe, so that a vLLM process loads only this."""
