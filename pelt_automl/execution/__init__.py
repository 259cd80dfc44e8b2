"""Executors: they turn a scheduler's actions into events."""
