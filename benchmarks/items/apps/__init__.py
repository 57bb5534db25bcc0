"""What the items service is compared with."""
