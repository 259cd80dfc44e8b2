"""Left for what still imports it: see `pelt_automl.log.events` and `pelt_automl.log.codec`."""

from pelt_automl.log.codec import from_json as from_json
from pelt_automl.log.codec import read as read
from pelt_automl.log.codec import to_json as to_json
from pelt_automl.log.events import *  # noqa: F403
