"""Readers of a user's own recordings: one file a format, each a `RecordFile`; `opening` chooses by the suffix."""
