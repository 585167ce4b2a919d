"""The admin port: one module for each kind of thing it manages, and what they share."""
