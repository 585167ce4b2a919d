"""A foreign tool against the proxy: EleutherAI's lm-evaluation-harness, as any OpenAI-compatible server is asked."""
