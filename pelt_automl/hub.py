"""Whether the model and data Hub can be reached: asked once and quickly, where its own libraries try for half a minute. No torch."""

import os
import threading
import urllib.error
import urllib.request

PATIENCE = 4.0
"""Seconds that the Hub may take to answer."""


def endpoint() -> str:
    """Where the Hub is, without a slash at the end."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def is_offline() -> bool:
    """Whether the user has said that the Hub isn't to be asked."""
    return os.environ.get("HF_HUB_OFFLINE", os.environ.get("HF_DATASETS_OFFLINE", "0")).upper() in ("1", "TRUE", "YES", "ON")


def is_reachable() -> bool:
    """Whether the Hub answers within `PATIENCE` seconds; proxies of the environment are used, offline mode is respected."""
    if is_offline():
        return False
    answers: list[bool] = []
    # In a thread, since no time limit holds for the look-up of a host's name.
    asking = threading.Thread(target=lambda: answers.append(_answers(endpoint())), daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return bool(answers and answers[0])


def _answers(address: str) -> bool:
    if not address.startswith(("https://", "http://")):
        return False
    try:
        with urllib.request.urlopen(urllib.request.Request(address, method="HEAD"), timeout=PATIENCE):  # noqa: S310  # checked above
            return True
    except urllib.error.HTTPError:
        return True
    except (OSError, ValueError):
        return False
