"""What the work takes: one cost model, updated by every event."""
