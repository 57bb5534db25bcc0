"""Tools of tests and of `./dev`: local PostgreSQL and Valkey, processes, clients, signed tokens.

The pytest plugin (`plugin`) registers itself; its docstring shows a service's whole conftest.
"""
