"""What a finished run or study shows: one page, its charts, and tables."""
