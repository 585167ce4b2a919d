"""Forget sets, entries and keys: kept in the ledger, enforced from the index."""
