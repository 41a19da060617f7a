"""Where things are in a repository of updates, for the side that signs and the side that reads."""

from __future__ import annotations

ROOT_NAME = "root.json"
SIGNED_AT = "x-edgekit-signed-at"  # in timestamp.json: by it a device without a network learns that time has passed


def channel_path(region: str, device_class: str) -> str:
    """Target path of the channel of a region's class of devices."""
    return f"channels/{region}/{device_class}.json"


def blob_path(sha256: str) -> str:
    """Target path of a file's contents."""
    return f"blobs/{sha256}"


def target_file(path: str, sha256: str) -> str:
    """The file that holds a target: its hash goes before the last part, so that old and new lie side by side."""
    parent, _, name = path.rpartition("/")
    return f"targets/{parent}/{sha256}.{name}"
