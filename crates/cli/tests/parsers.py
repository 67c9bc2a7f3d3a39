"""What parsers that nobody here wrote say of an export: `parsers.py FORMAT FILE` prints figures as JSON for export.rs.

Ends with 77 if a package is missing. The packages are those of `parsers.txt`. An export that its parser does not take, or
that breaks a rule of its viewer, is an exception.
"""

import base64
import collections
import json
import re
import sys


def perfetto(path):
    from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as pb

    trace = pb.Trace()
    trace.ParseFromString(open(path, "rb").read())
    tracks, processes = {}, []
    begun, ended = collections.Counter(), set()
    depth = collections.defaultdict(list)
    slices, instants = collections.Counter(), collections.Counter()
    names = []
    for packet in trace.packet:
        assert packet.trusted_packet_sequence_id > 0
        if packet.HasField("track_descriptor"):
            track = packet.track_descriptor
            assert track.uuid and track.uuid not in tracks
            assert not track.HasField("parent_uuid") or track.parent_uuid in tracks
            tracks[track.uuid] = track
            if track.HasField("process"):
                assert track.process.pid > 0
                processes.append(track.process.process_name)
    for packet in trace.packet:
        if not packet.HasField("track_event"):
            continue
        event = packet.track_event
        track = tracks[event.track_uuid]
        kind = pb.TrackEvent.Type.Name(event.type)
        if kind == "TYPE_SLICE_BEGIN":
            slices[re.sub(r"#\d+$", "", track.name)] += 1
            depth[event.track_uuid].append((packet.timestamp, 1))
            names.append(event.name)
        elif kind == "TYPE_SLICE_END":
            depth[event.track_uuid].append((packet.timestamp, -1))
        else:
            assert kind == "TYPE_INSTANT"
            instants[event.name.split(":")[0].split()[0]] += 1
        for flow in event.flow_ids:
            begun[flow] += 1
        for flow in event.terminating_flow_ids:
            assert flow not in ended, "an arrow ends twice"
            ended.add(flow)
    # In the order of time, as a viewer reads them: no end without its beginning, and none open.
    for events in depth.values():
        open_now = 0
        for _, step in sorted(events, key=lambda event: event[0]):
            open_now += step
            assert open_now >= 0
        assert open_now == 0
    assert all(count == 1 for count in begun.values()), "an arrow begins twice"
    assert ended <= set(begun), "an arrow ends that has not begun"
    sends = sum(name.startswith("send ") for name in names)
    arrivals = sum(name.startswith("take in ") for name in names)
    return {
        "processes": processes,
        "sends": sends,
        "arrivals": arrivals,
        "requests": slices["requests"],
        "lanes": sorted(slices),
        "instants": dict(instants),
        "arrows": len(ended),
    }


def chrome(path):
    document = json.load(open(path, encoding="utf-8"))
    events = document["traceEvents"]
    processes, begins, ends = {}, collections.Counter(), collections.Counter()
    open_now, slices, sends, arrivals = collections.Counter(), {}, 0, 0
    for event in events:
        where = (event["pid"], event["tid"])
        if event["ph"] == "M":
            if event["name"] == "process_name":
                processes[event["pid"]] = event["args"]["name"]
            continue
        assert event["pid"] in processes and event["ts"] >= 0
        if event["ph"] == "X":
            assert event["dur"] > 0
            slices[where] = event
            assert where + (event["ts"],) not in open_now, "two slices begin at once"
            open_now[where + (event["ts"],)] += 1
            sends += event["name"].startswith("send ")
            arrivals += event["name"].startswith("take in ")
        elif event["ph"] in "sf":
            # Its slice comes before it, and is around it.
            around = slices[where]
            assert around["ts"] <= event["ts"] <= around["ts"] + around["dur"]
            key = (event["id"], event["cat"], event["name"])
            (begins if event["ph"] == "s" else ends)[key] += 1
            assert event["ph"] == "s" or event["bp"] == "e"
        elif event["ph"] in "be":
            lane = (event["pid"], event["cat"], event["id"])
            open_now[lane] += 1 if event["ph"] == "b" else -1
            assert open_now[lane] >= 0
        else:
            assert event["ph"] == "i" and event["s"] in "gpt"
    lanes = [lane for lane, count in open_now.items() if isinstance(lane[2], str) and count]
    assert not lanes
    assert set(ends) <= set(begins) and set(begins.values()) == {1} and set(ends.values()) == {1}
    requests = sum(event["ph"] == "b" and event["cat"] == "requests" for event in events)
    return {
        "processes": list(processes.values()),
        "sends": sends,
        "arrivals": arrivals,
        "requests": requests,
        "about": document["otherData"],
    }


def otlp(path):
    from google.protobuf import json_format
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
    from opentelemetry.proto.trace.v1 import trace_pb2

    def bytes_of(value):
        """OTLP writes numbers of traces and spans in hexadecimal, where the JSON of protobuf has base 64."""
        if isinstance(value, list):
            return [bytes_of(item) for item in value]
        if not isinstance(value, dict):
            return value
        ids = {"traceId": 32, "spanId": 16, "parentSpanId": 16}
        out = {}
        for key, item in value.items():
            if key in ids:
                assert re.fullmatch(r"[0-9a-f]{%d}" % ids[key], item) and int(item, 16)
                item = base64.b64encode(bytes.fromhex(item)).decode()
            out[key] = bytes_of(item)
        return out

    spans, longest = [], 0
    for line in open(path, encoding="utf-8"):
        longest = max(longest, len(line.encode()))
        request = json_format.ParseDict(bytes_of(json.loads(line)), pb.ExportTraceServiceRequest())
        for resource in request.resource_spans:
            of = {it.key: it.value.string_value for it in resource.resource.attributes}
            for scope in resource.scope_spans:
                assert scope.scope.name == "meshsim"
                spans += [(of["service.name"], of["host.name"], span) for span in scope.spans]
    kinds, services, hosts = collections.Counter(), collections.Counter(), set()
    traces = collections.defaultdict(dict)
    for service, host, span in spans:
        kind = trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_")
        kinds[kind] += 1
        services[service] += kind == "SERVER"
        hosts.add(host)
        assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano
        assert span.span_id not in traces[span.trace_id], "a number is used twice"
        traces[span.trace_id][span.span_id] = (kind, service, span)
    pairs, roots, acks, links = collections.Counter(), collections.Counter(), 0, 0
    for trace in traces.values():
        assert len(trace) <= 2000
        tops = [span for _, _, span in trace.values() if not span.parent_span_id]
        assert len(tops) == 1, "a trace has one beginning"
        for kind, service, span in trace.values():
            if not span.parent_span_id:
                roots[kind] += 1
                acks += len(span.links) if kind == "INTERNAL" and span.name.startswith("step") else 0
                continue
            above_kind, above, parent = trace[span.parent_span_id]
            if kind == "SERVER":
                assert above_kind == "CLIENT" and parent.start_time_unix_nano <= span.start_time_unix_nano
                pairs[f"{above}>{service}"] += 1
            elif kind == "CLIENT":
                assert above_kind in ("SERVER", "INTERNAL") and above == service
            elif kind == "CONSUMER":
                assert above_kind == "PRODUCER"
            for link in span.links:
                links += 1
                assert link.span_id in traces[link.trace_id]
    requests = [span for _, _, span in spans if any(a.key == "meshsim.request" for a in span.attributes)]
    requests = [span for span in requests if not span.parent_span_id]
    return {
        "spans": len(spans),
        "kinds": dict(kinds),
        "requests": len(requests),
        "failed": sum(span.status.code == 2 for span in requests),
        "latency_ns": sum(span.end_time_unix_nano - span.start_time_unix_nano for span in requests),
        "lost": sum(span.status.message.startswith("lost: ") for _, _, span in spans),
        "server_spans": dict(services),
        "hosts": sorted(hosts),
        "pairs": dict(pairs),
        "linked_acks": acks,
        "longest_line": longest,
    }


def jaeger(path):
    document = json.load(open(path, encoding="utf-8"))
    kinds, services, numbers = collections.Counter(), set(), set()
    for trace in document["data"]:
        assert re.fullmatch(r"[0-9a-f]{32}", trace["traceID"]) and trace["traceID"] not in numbers
        numbers.add(trace["traceID"])
        known = {span["spanID"] for span in trace["spans"]}
        assert len(known) == len(trace["spans"])
        for span in trace["spans"]:
            assert span["traceID"] == trace["traceID"] and span["startTime"] > 0 and span["duration"] >= 0
            parents = [it for it in span["references"] if it["refType"] == "CHILD_OF"]
            assert all(parent["spanID"] in known for parent in parents) and len(parents) <= 1
            services.add(trace["processes"][span["processID"]]["serviceName"])
            tags = {tag["key"]: tag["value"] for tag in span["tags"]}
            kinds[tags["span.kind"]] += 1
    return {"kinds": dict(kinds), "services": sorted(services), "about": document["meshsim"]}


# The spans of Zipkin's API: https://github.com/openzipkin/zipkin-api/blob/master/zipkin2-api.yaml.
ENDPOINT = {
    "type": "object",
    "properties": {
        "serviceName": {"type": "string"},
        "ipv4": {"type": "string"},
        "ipv6": {"type": "string"},
        "port": {"type": "integer"},
    },
    "additionalProperties": False,
}
ZIPKIN = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["traceId", "id"],
        "additionalProperties": False,
        "properties": {
            "traceId": {"type": "string", "minLength": 16, "maxLength": 32, "pattern": "^[a-f0-9]{16,32}$"},
            "name": {"type": "string"},
            "parentId": {"type": "string", "pattern": "^[a-f0-9]{16}$", "minLength": 16, "maxLength": 16},
            "id": {"type": "string", "pattern": "^[a-f0-9]{16}$", "minLength": 16, "maxLength": 16},
            "kind": {"type": "string", "enum": ["CLIENT", "SERVER", "PRODUCER", "CONSUMER"]},
            "timestamp": {"type": "integer", "minimum": 1},
            "duration": {"type": "integer", "minimum": 1},
            "debug": {"type": "boolean"},
            "shared": {"type": "boolean"},
            "localEndpoint": ENDPOINT,
            "remoteEndpoint": ENDPOINT,
            "annotations": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"timestamp": {"type": "integer"}, "value": {"type": "string"}},
                    "additionalProperties": False,
                },
            },
            "tags": {"type": "object", "additionalProperties": {"type": "string"}},
        },
    },
}


def zipkin(path):
    import jsonschema

    spans = json.load(open(path, encoding="utf-8"))
    jsonschema.Draft202012Validator(ZIPKIN).validate(spans)
    kinds = collections.Counter(span.get("kind", "none") for span in spans)
    requests = [span for span in spans if "kind" not in span and "meshsim.request" in span["tags"]]
    return {
        "kinds": dict(kinds),
        "requests": len(requests),
        "failed": sum("error" in span["tags"] for span in requests),
        "services": sorted({span["localEndpoint"]["serviceName"] for span in spans}),
    }


def shiviz(path):
    text = open(path, encoding="utf-8", newline="\n").read()
    event_line, run_line, log = text.split("\n", 2)
    assert event_line == r"(?<host>\S*) (?<clock>{.*})\n(?<t>\d+) (?<kind>\w+) (?<event>.*)"
    assert run_line == "^=== (?<trace>.*) ===$"
    python = lambda expression: expression.replace("(?<", "(?P<")
    runs = list(re.finditer(python(run_line), log, re.MULTILINE))
    assert len(runs) == 1
    log = log[runs[0].end() :]
    clocks, arrows, kinds, text_left = {}, 0, collections.Counter(), log
    events = list(re.finditer(python(event_line), log))
    for event in events:
        host, clock = event["host"], json.loads(event["clock"])
        before = clocks.get(host, {})
        assert clock[host] == before.get(host, 0) + 1, "a host's own clock rises by one"
        for other, time in clock.items():
            assert time >= before.get(other, 0) and time >= 1
            if other != host:
                assert time <= clocks[other][other], "it knows of what has not happened"
                arrows += time > before.get(other, 0)
        assert set(before) <= set(clock)
        clocks[host] = clock
        kinds[event["kind"]] += 1
    # Every line belongs to an event.
    assert log.strip().count("\n") + 1 == 2 * len(events)
    return {
        "events": len(events),
        "hosts": sorted(clocks),
        "kinds": dict(kinds),
        "arrows": arrows,
        "title": runs[0]["trace"],
    }


def graphml(path):
    import networkx

    graph = networkx.read_graphml(path, force_multigraph=True)
    edges = [data for _, _, data in graph.edges(data=True)]
    return {
        "nodes": [data["label"] for _, data in graph.nodes(data=True)],
        "count": sum(data["count"] for data in edges),
        "lost": sum(data["lost"] for data in edges),
    }


def table(rows):
    """A table of pyarrow."""
    kinds = collections.Counter(rows.column("kind").to_pylist())
    actors = sorted(set(rows.column("actor").to_pylist()))
    took = [value for value in rows.column("took_ns").to_pylist() if value is not None]
    return {
        "rows": rows.num_rows,
        "columns": rows.column_names,
        "types": {field.name: str(field.type) for field in rows.schema},
        "kinds": dict(kinds),
        "actors": actors,
        "took_ns": sum(took),
    }


def csv(path):
    from pyarrow import csv as reader

    options = reader.ParseOptions(newlines_in_values=True)
    return table(reader.read_csv(path, parse_options=options))


def parquet(path):
    from pyarrow import parquet as reader

    return table(reader.read_table(path))


def series(path):
    """The time series as Parquet, beside the CSV of the same run, which is `out.csv`."""
    import csv as text
    import os

    from pyarrow import parquet as reader

    rows = reader.read_table(path)
    with open(os.path.join(os.path.dirname(path), "out.csv"), encoding="utf-8", newline="") as file:
        lines = list(text.DictReader(file))
    assert rows.column_names == list(lines[0])

    def is_same(cell, value):
        return cell == "" if value in (None, "") else type(value)(cell) == value

    different = [
        name
        for name in rows.column_names
        if not all(is_same(line[name], value) for line, value in zip(lines, rows.column(name).to_pylist()))
    ]
    types = {name: str(rows.schema.field(name).type) for name in ["kind", "done", "queue_mean"]}
    return {"rows": rows.num_rows, "columns": rows.column_names, "different": different, "types": types}


def kubernetes(path):
    """Objects of a manifest, valid by the strict schemas of the oldest and the newest version that is promised."""
    import kubernetes_validate
    import yaml

    objects = [it for it in yaml.safe_load_all(open(path, encoding="utf-8")) if it]
    for it in objects:
        for version in ["1.29", "1.33", "1.37"]:
            used = kubernetes_validate.validate(it, version, strict=True)
            assert str(used).startswith(version), used
    return objects


if __name__ == "__main__":
    try:
        print(json.dumps(globals()[sys.argv[1]](sys.argv[2])))
    except ImportError as error:
        print(error, file=sys.stderr)
        sys.exit(77)
