"""A selection's log: typed events, the fold of them, and the files that they refer to."""
