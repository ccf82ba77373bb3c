"""What is counted of a service, for Prometheus: numbers, names of routes and kinds, and nothing that anybody chose.

It has a registry of its own, never the process's: what an embedder counts stays apart.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """The counters of a service. It observes its stores. Threads may share it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, told: str, *labels: str) -> Counter:
            return Counter(f"lastresort_{name}", told, labels, registry=self.registry)

        self._requests = counter("requests", "Requests answered.", "route", "status")
        self._seconds = Histogram(
            "lastresort_request_seconds", "From a request to the end of its answer.", ("route",), buckets=_SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self._open = Gauge("lastresort_requests_open", "Requests being answered.", registry=self.registry)
        self._committed = counter("committed", "Commands recorded.", "command")
        self._events = counter("events", "Events recorded.", "kind")
        self._refused = counter("refused", "Rules by which commands were refused.", "command", "rule")
        self._contended = counter("contended", "Times that others wrote first.", "command")
        self._tokens = counter("tokens", "Tokens that models took and gave.")
        self._upstream = counter("upstream", "Requests to the model's API, by status; 0 if nobody answered.", "status")

    def begun(self) -> None:
        """Count a request."""
        self._open.inc()

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answer: the route as the table has it, never as it was asked for."""
        self._open.dec()
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def tokens(self, used: int) -> None:
        """Count tokens."""
        self._tokens.inc(max(0, used))

    def upstream(self, status: int) -> None:
        """Count an answer of the model's API, or that there was none."""
        self._upstream.labels(str(status)).inc()

    def committed(self, command: str, events: tuple[str, ...], seconds: float) -> None:
        """See `Observer`."""
        self._committed.labels(command).inc()
        for kind in events:
            self._events.labels(kind).inc()

    def refused(self, command: str, rules: tuple[str, ...], seconds: float) -> None:
        """See `Observer`."""
        for rule in rules:
            self._refused.labels(command, rule).inc()

    def contended(self, command: str, conflicts: int, seconds: float) -> None:
        """See `Observer`."""
        self._contended.labels(command).inc()


class MetricsPort:
    """Serves the counters on a port of their own, which is for the operator alone. Close it."""

    def __init__(self, metrics: Metrics, host: str, port: int) -> None:
        self._server, self._thread = start_http_server(port, host, metrics.registry)
        self.url = f"http://{host}:{self._server.server_port}/metrics"

    def close(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
