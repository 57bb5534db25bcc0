"""Migrations of items."""
