"""In-context unlearning: what the model is told, and what is said in its place."""
