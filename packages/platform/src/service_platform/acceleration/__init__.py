"""Replaces code of FastAPI, uvicorn and SQLAlchemy by faster equivalents.

Everything here gives the same results as the code it replaces, uses functions of those libraries
that are not public, and is off with `ACCELERATION=false`. The rest of the platform works without
this package.
"""
