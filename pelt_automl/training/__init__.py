"""The packed training loop, evaluation, and PELT checkpoints."""
