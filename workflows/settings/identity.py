"""The identity of settings: a short hash of what decides a result."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def settings_hash(*parts: Any) -> str:
    """Return a short stable hash of JSON-serialisable settings; the identity of a calculation."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
