"""Accounts, tokens, sessions and signing keys."""
