"""Top floor: everything that knows the whole; the only room that imports all the others."""
