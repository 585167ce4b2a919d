"""What the proxy adds to a vLLM server: time to first token, time per chunk, time until an added entry holds."""
