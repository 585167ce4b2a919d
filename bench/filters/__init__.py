"""What the output filters cost per chunk of a stream, at different sizes of the forget index."""
