"""Measured comparisons: each module is one question, `./dev bench` runs them.

Every number is a ratio against a baseline of the same run: the machine's own speed drops out.
"""
