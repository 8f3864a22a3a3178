"""The sizes of the two pools, set by load: what is seen, what follows from it, and who asks for it."""
