"""What Prometheus reads at ``/metrics``. Nothing of what is asked or answered is in it."""

from collections.abc import Iterable
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from imagebind_llm.serving.backend import TokenBackend

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class _Inside(Protocol):
    inside: int


class Metrics(Collector):
    """Counters, times and loads of one server.

    Args:
        backend: says how busy it is.
        service: says how many requests are inside.
    """

    def __init__(self, backend: TokenBackend, service: _Inside) -> None:
        self.registry = CollectorRegistry()
        self._backend, self._service = backend, service
        self._requests = Counter(
            "imagebind_llm_requests", "Requests answered.", ("route", "status"), registry=self.registry
        )
        self._seconds = Histogram(
            "imagebind_llm_request_seconds", "From a request to its last byte.", ("route",),
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._first = Histogram(
            "imagebind_llm_first_token_seconds", "From a request to its first token.",
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._tokens = Counter("imagebind_llm_tokens", "Tokens written.", registry=self.registry)
        self.registry.register(self)

    def request(self, route: str, status: int, seconds: float) -> None:
        """A request has been answered."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def first_token(self, seconds: float) -> None:
        """The first token of an answer has come."""
        self._first.observe(seconds)

    def tokens(self, count: int, finish_reason: str | None) -> None:
        """An answer has ``count`` tokens now."""
        if finish_reason is not None:
            self._tokens.inc(count)

    def collect(self) -> Iterable[Any]:
        """Loads of this moment."""
        load = self._backend.load()
        for name, what, value in (
            ("imagebind_llm_requests_inside", "Requests running or waiting.", self._service.inside),
            ("imagebind_llm_sequences_running", "Answers that are being written.", load.running),
            ("imagebind_llm_sequences_waiting", "Answers that wait for a place.", load.waiting),
        ):
            yield GaugeMetricFamily(name, what, value=value)

    def text(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self.registry)
