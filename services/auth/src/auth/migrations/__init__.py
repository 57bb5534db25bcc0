"""Migrations of auth."""
