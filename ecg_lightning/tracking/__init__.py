"""What W&B and TensorBoard are told of a run: its name, its charts and pictures, where its encoder comes from."""
