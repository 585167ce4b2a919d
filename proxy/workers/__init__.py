"""Several processes of one server on the same ports: who they are, who starts them, what they show together."""
