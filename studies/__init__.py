"""Studies of the program itself. They import `pelt_automl`, which never imports them, and need the training core's libraries only."""
