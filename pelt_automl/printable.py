"""What may be shown and kept of addresses and of texts with addresses in them: no user, no password, no token. Standard library only."""

import re

_PASSWORD = re.compile(r"(?<!/)//[^/?#\s]*@")
"""Up to the last @ before the path: a password may have one in it."""
_BARE = re.compile(r"[^/?#\s:@]+:[^/?#\s]*@")
"""The same where somebody forgot the ``http://``."""
_TOKEN = re.compile(r"\bhf_[A-Za-z0-9]{16,}")


def without_secrets(text: str) -> str:
    """`text` without passwords in addresses and without the Hub's tokens."""
    return _TOKEN.sub("hf_...", _PASSWORD.sub("//", text))


def printable_uri(uri: str) -> str:
    """One address without user, password and token."""
    bare = _BARE.match(uri)
    return without_secrets(uri[bare.end() :] if bare else uri)
