"""Augmentations: whole batches on their device, each window by random numbers of its own."""
