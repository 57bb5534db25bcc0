"""Profiles of the people who have an account."""
