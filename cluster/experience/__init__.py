"""From problems to annotated experience: the stream that the learner pulls from."""
