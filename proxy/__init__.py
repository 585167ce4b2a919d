"""All I/O: HTTP dialects in, vLLM out, the admin side, the embedded engine, the command line."""
