"""Baselines without deep learning: hand-made ECG features under a forest, given the same labels as every encoder."""
