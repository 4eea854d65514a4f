"""Many jobs of one command: what they are, how long they take, how far they are."""
