"""Kills selections, and proves afterwards that nothing came of it."""
