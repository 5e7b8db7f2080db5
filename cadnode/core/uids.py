"""Unique identifiers that derive from what they name, so that a repeated step makes the same one."""

from __future__ import annotations

from uuid import UUID, uuid5

# One fixed namespace for this product; changing it would change every derived UID.
_NAMESPACE = UUID("6f0c1d1e-5f5d-4c56-9a0e-0b6f8f0a2c11")


def derive_uid(*parts: str) -> str:
    """A UID of the form `2.25.<UUID as integer>` (PS3.5 B.2) that depends only on `parts`."""
    name = "\x1f".join(parts)
    return f"2.25.{uuid5(_NAMESPACE, name).int}"


IMPLEMENTATION_CLASS_UID = derive_uid("implementation class", "cadnode")
"""Names this product in the header of every file it writes and association it opens (PS3.7 D.3.3.2)."""
IMPLEMENTATION_VERSION_NAME = "CADNODE"
