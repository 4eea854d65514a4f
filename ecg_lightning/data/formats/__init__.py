"""Readers of a user's own recordings: one file a format, each a `RecordFile`."""

from ecg_lightning.data.formats.opening import SUFFIXES, open_recording

__all__ = ["SUFFIXES", "open_recording"]
