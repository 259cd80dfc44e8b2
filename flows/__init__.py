"""Prefect only here: orchestration, no ML."""
