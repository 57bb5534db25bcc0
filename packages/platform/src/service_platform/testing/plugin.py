"""pytest plugin of the platform."""
