"""The ledger: the durable truth about forget sets, entries, keys and changes. The index is derived from it."""
