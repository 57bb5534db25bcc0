"""Shares the memory, descriptors and processor time of several workers.

`prometheus_client` reads them of the process that answers `/metrics`. Where that one answers for
all workers, each has to write its own numbers where the others can read them.
"""

from functools import cache
from typing import Final

from prometheus_client import Counter, Gauge
from prometheus_client.process_collector import ProcessCollector

GAUGES: Final = {
    "process_resident_memory_bytes": ("Resident memory of all workers in bytes.", "livesum"),
    "process_virtual_memory_bytes": ("Virtual memory of all workers in bytes.", "livesum"),
    "process_open_fds": ("Open file descriptors of all workers.", "livesum"),
    "process_max_fds": ("Most open file descriptors that all workers may have.", "livesum"),
    "process_start_time_seconds": ("Start of the oldest worker, in Unix time.", "livemin"),
}
CPU_TIME: Final = "process_cpu_seconds"


class SharedProcessMetrics:
    """Writes the numbers of this process where those of all workers are added up.

    The metrics have the names of `prometheus_client`'s own, and are in no registry: one of them
    would refuse a second metric of a name. Linux only, like the library's.

    Args:
        proc: the process file system.
    """

    def __init__(self, *, proc: str = "/proc") -> None:
        self._read = ProcessCollector(proc=proc, registry=None).collect
        self._gauges = {
            name: Gauge(name, text, registry=None, multiprocess_mode=mode)  # type: ignore[arg-type]
            for name, (text, mode) in GAUGES.items()
        }
        self._cpu = Counter(
            f"{CPU_TIME}_total", "Processor time of all workers in seconds.", registry=None
        )
        self._cpu_before = 0.0

    def update(self) -> None:
        """Write the numbers of this moment."""
        for family in self._read():
            value = family.samples[0].value
            if family.name == CPU_TIME:
                self._cpu.inc(max(0.0, value - self._cpu_before))
                self._cpu_before = value
            elif family.name in self._gauges:
                self._gauges[family.name].set(value)


@cache
def shared_process_metrics() -> SharedProcessMetrics:
    """Return those of this process; a second one would count its processor time again."""
    return SharedProcessMetrics()
