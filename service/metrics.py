"""Prometheus metrics, in a registry of their own for each application."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """What an operator watches."""

    def __init__(self, queue_length: Callable[[], float]) -> None:
        self._registry = CollectorRegistry()
        labels = ("method", "route")
        self.requests = Counter(
            "jingdi_http_requests", "Requests answered.", (*labels, "status"), registry=self._registry
        )
        self.durations = Histogram(
            "jingdi_http_request_duration_seconds", "Time to answer.", labels, registry=self._registry
        )
        self.pairs = Counter("jingdi_pairs", "Comparisons ended, by outcome.", ("verdict",), registry=self._registry)
        self.comparisons = Histogram(
            "jingdi_comparison_duration_seconds",
            "Time of a comparison.",
            buckets=(0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300),
            registry=self._registry,
        )
        queue = Gauge("jingdi_queue_length", "Pairs waiting or being compared.", registry=self._registry)
        queue.set_function(queue_length)

    def render(self) -> bytes:
        """In the text format that Prometheus reads."""
        return generate_latest(self._registry)
