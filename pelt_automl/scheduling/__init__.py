"""What to do next, decided from the history alone: no clock, no files, no torch."""
