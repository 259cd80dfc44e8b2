"""Left for what still imports it: see `pelt_automl.log.events`."""

from pelt_automl.log.events import *  # noqa: F403
