"""Comparisons of the items service."""
