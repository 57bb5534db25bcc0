"""Applications under measurement: the same answer with more and more around it."""
