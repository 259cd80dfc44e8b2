"""Time: how long trainings are, what things take, and what a time limit allows. Pure: no torch, no files."""
