"""What an encoder is worth when recorders, electrodes or annotators fail: one file for each stress."""
