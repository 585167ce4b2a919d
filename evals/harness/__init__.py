"""A foreign tool against the proxy: EleutherAI's lm-evaluation-harness, as it would ask any OpenAI-compatible server."""
