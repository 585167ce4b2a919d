"""Speed, memory and recall of the forget index."""
