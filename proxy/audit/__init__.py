"""The audit log: a chain of hashes over everything that changed, and receipts made from it."""
