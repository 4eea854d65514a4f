"""Readers, the store of prepared recordings, splits, label budgets: one module per data set."""
