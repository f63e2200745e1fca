"""A trace that a supplier's system began (W3C Trace Context) goes on through every node that works on its request: OpenTelemetry's SDK
is the client, its protocol's schema reads what the nodes send to the collector. A site of its own, for it has a collector. Promise P10."""

import base64
import http.server
import json
import re
import threading

import own_site
import pytest
import requests
from google.protobuf import json_format
from mesh import ONE, THREE, TWO, wait_for
from opentelemetry import propagate, trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

ASKED, ASKS = 2, 3


class Collector:
    """Takes OTLP over HTTP in JSON, as a collector does on port 4318."""

    def __init__(self):
        self.steps, self.status, collector = [], 200, self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                assert (self.path, self.headers["content-type"]) == ("/v1/traces", "application/json")
                collector.take(json.loads(body))
                self.send_response(collector.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.at = f"http://127.0.0.1:{self.server.server_address[1]}/v1/traces"

    def take(self, told):
        for resource in told["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for step in scope["spans"]:
                    # OTLP's JSON writes ids in hexadecimal where the mapping of protobuf has base64.
                    for key in ("traceId", "spanId", "parentSpanId"):
                        step[key] = base64.b64encode(bytes.fromhex(step[key])).decode()
        request = json_format.ParseDict(told, ExportTraceServiceRequest())
        for resource in request.resource_spans:
            about = {a.key: a.value.string_value for a in resource.resource.attributes}
            assert about["service.name"] == "spine"
            for scope in resource.scope_spans:
                self.steps += [(about["service.instance.id"], step) for step in scope.spans]

    def of(self, trace_id):
        return [(node, step) for node, step in list(self.steps) if int.from_bytes(step.trace_id, "big") == trace_id]


@pytest.fixture(scope="module")
def collector():
    collector = Collector()
    yield collector
    collector.server.shutdown()
    collector.server.server_close()


@pytest.fixture(scope="module")
def own(site, collector, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("traced") / "site")
    settings = [("otlp.endpoint", collector.at), ("mesh.test_endpoints", "true")]
    with own_site.running(site.binary, folder, "--partitions", "3", "--people", "0", settings=settings) as own:
        yield own


@pytest.fixture(autouse=True)
def empty():
    """Instead of the other tests': the shared site is not asked for anything here."""


def traced(call, **provider):
    """What `call` gives when it is made with the headers of a span of OpenTelemetry's, and that span."""
    tracer = TracerProvider(**provider).get_tracer("supplier")
    with tracer.start_as_current_span("supplier's work") as span:
        headers = {}
        propagate.inject(headers)
        assert "traceparent" in headers
        return call(headers), span.get_span_context()


def parent_of(step):
    return int.from_bytes(step.parent_span_id, "big")


def told(step, key):
    values = [a.value for a in step.attributes if a.key == key]
    return (values[0].string_value or values[0].int_value) if values else None


def failed(own):
    text = requests.get(own.demo["nodes"][0]["metrics"], timeout=30).text
    return float(re.search(r'^spine_spans_total\{outcome="failed"\} (\S+)$', text, re.M).group(1))


def named(steps, name):
    return [(node, step) for node, step in steps if step.name == name]


def test_a_message_is_followed_through_edge_leader_and_delivery(own, collector):
    sent, decided_on = [], set()
    for node in range(3):
        with own.raw(node) as raw:
            answer, span = traced(lambda headers, raw=raw: raw.send(ONE, TWO, headers=headers))
        assert answer.status_code == 202, answer.text
        sent.append((node, span))
    for node, span in sent:
        wait_for("the steps", lambda span=span: len(collector.of(span.trace_id)) >= 3)
        steps = collector.of(span.trace_id)
        ((at, request),) = named(steps, "request")
        # The supplier's span is above ours, and ours above what the engine did.
        assert parent_of(request) == span.span_id and request.kind == ASKED
        assert at == own.demo["nodes"][node].get("name", f"node-{node + 1}")
        assert told(request, "http.response.status_code") == 202 and told(request, "spine.interaction")
        submitted = [step for _, step in named(steps, "engine.submit")]
        assert all(parent_of(step) == int.from_bytes(request.span_id, "big") for step in submitted)
        decided = named(steps, "engine.decide")
        assert {parent_of(step) for _, step in decided} <= {int.from_bytes(s.span_id, "big") for s in submitted}
        assert all(step.kind == ASKED and told(step, "spine.log_index") > 0 for _, step in decided)
        assert request.start_time_unix_nano <= decided[0][1].start_time_unix_nano < decided[0][1].end_time_unix_nano
        decided_on |= {leader for leader, _ in decided}
        assert decided_on, steps
    # What must follow in another partition is carried by the leader of the first.
    with own.raw() as raw:
        spans = [traced(lambda headers, to=to: raw.send(ONE, to, headers=headers))[1] for to in (ONE, TWO, THREE)]
    wait_for("a delivery", lambda: any(named(collector.of(span.trace_id), "engine.deliver") for span in spans))
    # One node leads the sender's partition: two of three requests went to another node, and their trace with them.
    assert len({at for span in sent for at, _ in named(collector.of(span[1].trace_id), "request")}) == 3
    assert any({at for at, _ in collector.of(span.trace_id)} - {f"node-{node + 1}"} for node, span in sent)


def test_nobody_is_told_of_a_request_that_its_sender_does_not_trace(own, collector):
    with own.raw() as raw:
        answer, quiet = traced(lambda headers: raw.send(ONE, TWO, headers=headers), sampler=ALWAYS_OFF)
        assert answer.status_code == 202
        for bad in ("00-1-2-3", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "x" * 5000):
            assert raw.send(ONE, TWO, headers={"traceparent": bad}).status_code == 202, "it is no reason to refuse"
        assert raw.send(ONE, TWO).status_code == 202
        before = {step.trace_id for _, step in collector.steps}
        answer, span = traced(lambda headers: raw.send(ONE, TWO, headers=headers))
    # Steps come in order: when those of the last are there, none of the others is on its way.
    wait_for("the steps", lambda: named(collector.of(span.trace_id), "request"))
    assert not collector.of(quiet.trace_id)
    assert {step.trace_id for _, step in collector.steps} - before == {span.trace_id.to_bytes(16, "big")}


def test_a_refusal_is_a_step_and_names_nobody(own, collector):
    with own.raw() as raw:
        answer, span = traced(lambda headers: raw.send(ONE, TWO, headers=headers, auth="NHSMESH X26ABC1:wrong"))
    assert answer.status_code in (401, 403)
    wait_for("the step", lambda: named(collector.of(span.trace_id), "request"))
    ((_, request),) = named(collector.of(span.trace_id), "request")
    assert told(request, "http.response.status_code") == answer.status_code
    assert {a.key for a in request.attributes} == {"spine.interaction", "http.response.status_code"}
    assert not any(word in str(step) for _, step in collector.steps for word in (ONE, TWO))


def test_a_collector_that_takes_nothing_costs_nobody_an_answer(own, collector):
    collector.status = 503
    try:
        with own.raw() as raw:
            for _ in range(20):
                answer, _ = traced(lambda headers: raw.send(ONE, TWO, headers=headers))
                assert answer.status_code == 202
        wait_for("the failure to be counted", lambda: failed(own) > 0)
    finally:
        collector.status = 200
