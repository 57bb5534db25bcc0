"""Faster equivalents of code of FastAPI, uvicorn and SQLAlchemy.

Everything here gives the same results as the code it replaces, uses functions of those libraries
that are not public, and is off with `ACCELERATION=false`. The rest of the platform works without
this package.
"""
