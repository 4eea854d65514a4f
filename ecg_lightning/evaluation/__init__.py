"""What an encoder is worth: features, probes, fine-tuning, baselines, metrics with intervals."""
