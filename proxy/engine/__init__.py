"""The embedded engine: vLLM as a child process that is started, watched, restarted and never left behind."""
