"""Tools for a service's tests: real servers, a database for each test, clients, signed tokens.

The pytest plugin (`plugin`) registers itself; its docstring shows a service's whole conftest.
"""
