"""The data stage: sources of programs, what is made of them, what is screened out, and the splits on disk."""
