"""Items that belong to accounts: the domain to replace by your own."""
