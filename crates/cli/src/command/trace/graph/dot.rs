//! The graph for Graphviz: <https://graphviz.org/doc/info/lang.html>.

use super::Graph;

pub(in crate::command) fn write(graph: &Graph) -> String {
    let nodes = graph.nodes();
    let mut text = String::from("digraph mesh {\n  rankdir=LR;\n  node [shape=box];\n");
    for (at, name) in nodes.iter().enumerate() {
        text += &format!("  n{at} [label={}];\n", quoted(name));
    }
    let top = graph.edges.iter().map(|edge| edge.per_s).fold(0.0, f64::max).max(1e-9);
    for edge in &graph.edges {
        let place = |name: &str| nodes.iter().position(|node| *node == name).unwrap_or_default();
        let colour = if edge.bad_share() > 0.0 { ", color=\"#c2410c\"" } else { "" };
        text += &format!(
            "  n{} -> n{} [label={}, penwidth={:.2}{colour}];\n",
            place(&edge.from),
            place(&edge.to),
            quoted(&edge.figures()),
            1.0 + 4.0 * edge.per_s / top,
        );
    }
    text + "}\n"
}

/// A text as DOT has it: in a quoted one a backslash begins an escape, and `&` an entity.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            '\n' => out += "\\n",
            '&' => out += "&amp;",
            // libexpat refuses them.
            c if c.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            c => out.push(c),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn a_text_stays_within_its_quotes() {
        assert_eq!(quoted("a \"b\" \\n <i>&amp;\n\x1b"), "\"a \\\"b\\\" \\\\n <i>&amp;amp;\\n\u{fffd}\"");
    }
}
