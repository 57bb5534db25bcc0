"""A small service of the platform's tests, laid out like a real one."""
