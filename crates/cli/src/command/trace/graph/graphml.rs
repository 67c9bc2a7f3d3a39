//! The graph as GraphML: <http://graphml.graphdrawing.org/>.

use super::Graph;
use meshsim_report::picture::escaped;

pub(in crate::command) fn write(graph: &Graph) -> String {
    let nodes = graph.nodes();
    let mut text = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<graphml xmlns=\"http://graphml.graphdrawing.org/xmlns\">\n\
         <key id=\"label\" for=\"node\" attr.name=\"label\" attr.type=\"string\"/>\n",
    );
    for (name, kind) in [
        ("count", "long"),
        ("per_s", "double"),
        ("p50_ns", "long"),
        ("p99_ns", "long"),
        ("failed", "long"),
        ("lost", "long"),
    ] {
        text += &format!("<key id=\"{name}\" for=\"edge\" attr.name=\"{name}\" attr.type=\"{kind}\"/>\n");
    }
    text += "<key id=\"endpoint\" for=\"edge\" attr.name=\"endpoint\" attr.type=\"string\"/>\n";
    text += "<graph edgedefault=\"directed\">\n";
    for (at, name) in nodes.iter().enumerate() {
        text += &format!("<node id=\"n{at}\"><data key=\"label\">{}</data></node>\n", escaped(name));
    }
    for edge in &graph.edges {
        let place = |name: &str| nodes.iter().position(|node| *node == name).unwrap_or_default();
        text += &format!("<edge source=\"n{}\" target=\"n{}\">", place(&edge.from), place(&edge.to));
        let figures = [
            ("endpoint", edge.endpoint.as_deref().map(escaped)),
            ("count", Some(edge.count.to_string())),
            ("per_s", Some(edge.per_s.to_string())),
            ("p50_ns", edge.p50_ns.map(|ns| ns.to_string())),
            ("p99_ns", edge.p99_ns.map(|ns| ns.to_string())),
            ("failed", Some(edge.failed.to_string())),
            ("lost", Some(edge.lost.to_string())),
        ];
        for (key, value) in figures {
            text += &value.map_or_else(String::new, |value| format!("<data key=\"{key}\">{value}</data>"));
        }
        text += "</edge>\n";
    }
    text + "</graph>\n</graphml>\n"
}
