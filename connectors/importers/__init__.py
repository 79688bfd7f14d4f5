"""Foreign recordings into the archive: read, mapped, checked and reported, so that nothing is dropped silently."""
