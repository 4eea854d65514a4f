"""Self-supervised objectives: the pure loss on top of each file, its LightningModule below."""
