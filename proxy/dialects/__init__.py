"""The shapes of the OpenAI API: each dialect reads requests, and writes answers, cuts and events natively."""
