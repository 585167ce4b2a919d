"""Assistants: folders with trained auxiliaries, loaded into the engine, proven, and armed."""
