"""Merging the small and late files of an hour that is over."""

from __future__ import annotations

import msgspec

from connectors.lake.layout import chain_folder
from connectors.lake.links import Compaction
from connectors.store import Store


def moved(store: Store, topic: str, partition: int) -> dict[str, str]:
    """Say of each file that was merged with others where its rows are now."""
    found: dict[str, str] = {}
    folder = f"{chain_folder(topic, partition)}compactions/"
    for listed in store.list(folder):
        if listed.key.endswith(".json") and (data := store.get(listed.key)) is not None:
            done = msgspec.json.decode(data, type=Compaction)
            gone = {file.name for file in done.replaced}
            found = {name: done.into.name if place in gone else place for name, place in found.items()}
            found |= dict.fromkeys(gone, done.into.name)
    return found
