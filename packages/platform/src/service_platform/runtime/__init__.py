"""Measures the process: lag of the event loop, garbage collection, memory and descriptors."""

from service_platform.runtime.measuring import measure_runtime

__all__ = ["measure_runtime"]
