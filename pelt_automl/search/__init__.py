"""Optuna only here: spaces, studies, promotion from rungs, budgets, finalists."""
