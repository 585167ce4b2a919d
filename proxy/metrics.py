"""Metrics in one registry per server. Labels are bounded: arms, rungs, outcomes, guards, sets; no texts, no entries."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0)


class Metrics:
    """All metrics of one server."""

    def __init__(self) -> None:
        self.registry = r = CollectorRegistry()
        self.requests = Counter(
            "lethe_requests_total",
            "Requests by dialect, arm, rung of the ladder at the end, and outcome",
            ("dialect", "arm", "rung", "outcome"),
            registry=r,
        )
        self.request_seconds = Histogram(
            "lethe_request_seconds", "Whole request", ("arm",), buckets=_SECONDS, registry=r
        )
        self.gate_seconds = Histogram(
            "lethe_gate_seconds", "Embedding, search and decision", buckets=_SECONDS, registry=r
        )
        self.guard_faults = Counter("lethe_guard_faults_total", "Guards that failed", ("guard", "allowed"), registry=r)
        self.background_faults = Counter(
            "lethe_background_faults_total",
            "Unforeseen failures of work beside the requests (expiry, audit, the look at the engine), begun again",
            ("work",),
            registry=r,
        )
        self.escalations = Counter(
            "lethe_escalations_total", "Plans moved up a rung by the output filter", ("to",), registry=r
        )
        self.offsets_lacked = Counter(
            "lethe_offsets_lacked_total",
            "Ladders that went without their offset because it could not be armed: not loaded when the request was "
            "decided, or lost before it was sent",
            ("when",),
            registry=r,
        )
        self.canary_failures = Counter(
            "lethe_canary_failures_total", "Proofs of the engine's offsets that failed", registry=r
        )
        self.assistants = Gauge("lethe_assistants", "Assistants that the engine was seen to subtract", registry=r)
        self.cuts = Counter("lethe_cuts_total", "Choices cut after something was shown", registry=r)
        self.upstream_errors = Counter("lethe_upstream_errors_total", "Failures of the engine", ("kind",), registry=r)
        self.limited = Counter(
            "lethe_limited_total",
            "Requests turned away because a key had used its allowance of requests, tokens or answers at once",
            ("limit",),
            registry=r,
        )
        self.in_flight = Gauge("lethe_requests_in_flight", "Requests being answered", registry=r)
        self.ready_seconds = Gauge(
            "lethe_ready_seconds", "Start of the process to the first request that could be served", registry=r
        )
        self.workers = Gauge("lethe_workers", "Processes of this server that answered this page", registry=r)
        self.workers.set(1)
        self.generation = Gauge("lethe_generation", "Generation of the forget index in force", registry=r)
        self.entries = Gauge("lethe_entries", "Forget entries that are matched", registry=r)
        self.shadow = Counter(
            "lethe_shadow_total", "Requests that the raw arm was asked too, by outcome", ("outcome",), registry=r
        )
        self.watch_probes = Counter("lethe_watch_probes_total", "Probes of forget entries by a watch", registry=r)
        self.watch_leaks = Counter("lethe_watch_leaks_total", "Probes whose answer gave an entry away", registry=r)
        self.watch_raised = Counter(
            "lethe_watch_raised_total", "Entries whose ladder begins a rung higher because they leaked", registry=r
        )
        self.watch_leaking = Gauge("lethe_watch_leaking", "Entries that leaked in the last round", ("set",), registry=r)
        self.watch_at = Gauge("lethe_watch_last_timestamp_seconds", "When the last round ended", ("set",), registry=r)
        self.embedder_changing = Gauge(
            "lethe_embedder_changing", "1 while another embedder was chosen than all processes use", registry=r
        )
        self.embedder_failures = Counter(
            "lethe_embedder_change_failures_total",
            "Changes of embedder that failed, to be tried again",
            registry=r,
        )
        self.hot_add_seconds = Histogram(
            "lethe_hot_add_seconds", "Ledger commit and index update of a change", buckets=_SECONDS, registry=r
        )
