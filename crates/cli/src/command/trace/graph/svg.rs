//! The graph as a picture: layers from pure callers to pure callees. Width is rate, red is failures.

use meshsim_report::{number, picture};

use super::Graph;
use crate::flow::line::cut;

/// Pixels.
const BOX_WIDTH: f64 = 150.0;
const BOX_HEIGHT: f64 = 30.0;
const COLUMN: f64 = 460.0;
const ROW: f64 = 56.0;
/// Pixels between the words of two edges that end in one place.
const WORDS: f64 = 15.0;
const TOP: f64 = 84.0;
const LEFT: f64 = 24.0;
/// Longer ways of calls are drawn as if they were so long.
const LAYERS_MAX: usize = 24;

pub(super) fn draw(graph: &Graph) -> String {
    let nodes = graph.nodes();
    let place = |name: &str| nodes.iter().position(|node| *node == name).unwrap_or_default();
    let edges: Vec<(usize, usize)> = graph.edges.iter().map(|edge| (place(&edge.from), place(&edge.to))).collect();
    let layers = layers(nodes.len(), &edges);
    let columns = layers.iter().max().map_or(1, |last| last + 1);
    let mut heights = vec![0_usize; columns];
    let rows: Vec<usize> = layers
        .iter()
        .map(|layer| {
            heights[*layer] += 1;
            heights[*layer] - 1
        })
        .collect();
    // The words of all edges that end in a place stand above it, so a row is as high as the most of them need.
    let mut incoming = vec![0_usize; nodes.len()];
    let ranks: Vec<usize> = edges
        .iter()
        .map(|(_, to)| {
            incoming[*to] += 1;
            incoming[*to] - 1
        })
        .collect();
    let row = ROW + WORDS * incoming.iter().max().copied().unwrap_or(0) as f64;
    let tallest = heights.iter().copied().max().unwrap_or(1);
    let corner = |node: usize| {
        let pad = (tallest - heights[layers[node]]) as f64 * row / 2.0;
        (LEFT + COLUMN * layers[node] as f64, TOP + pad + row * (rows[node] + 1) as f64 - ROW)
    };

    let title = format!("{} of {}", super::heading(graph.of), graph.run);
    let mut out = picture::text(16.0, 26.0, "start", "title", &cut(&title, 90));
    let mut when = format!("from {}s to {}s", number(graph.from_s), number(graph.to_s));
    if graph.percentiles_of_middle_window {
        when += "; p50 and p99 of the middle window";
    }
    out += &picture::text(16.0, 44.0, "start", "mut", &when);
    let top_rate = graph.edges.iter().map(|edge| edge.per_s).fold(0.0, f64::max).max(1e-9);
    let mut words = String::new();
    for ((edge, (from, to)), rank) in graph.edges.iter().zip(&edges).zip(&ranks) {
        let ((fx, fy), (tx, ty)) = (corner(*from), corner(*to));
        let is_forward = layers[*to] > layers[*from];
        let (x1, y1) = (
            if is_forward { fx + BOX_WIDTH } else { fx + BOX_WIDTH / 2.0 },
            fy + if is_forward { BOX_HEIGHT / 2.0 } else { BOX_HEIGHT },
        );
        let (x2, y2) = (
            if is_forward { tx } else { tx + BOX_WIDTH / 2.0 },
            ty + if is_forward { BOX_HEIGHT / 2.0 } else { BOX_HEIGHT },
        );
        let (c1, c2) = match is_forward {
            true => ((x1 + 60.0, y1), (x2 - 60.0, y2)),
            // Back, or to itself: a bow below.
            false => ((x1 + 30.0, y1 + 40.0), (x2 - 30.0, y2 + 40.0)),
        };
        let curve = |class: &str, width: f64| {
            format!(
                "<path d=\"M{x1:.1} {y1:.1}C{:.1} {:.1} {:.1} {:.1} {x2:.1} {y2:.1}\" class=\"{class}\" \
                 stroke-width=\"{width:.1}\"/>\n",
                c1.0, c1.1, c2.0, c2.1
            )
        };
        let width = 1.0 + 6.0 * edge.per_s / top_rate;
        out += &curve("msg", width);
        if edge.bad_share() > 0.0 {
            // The share of the width that failed, and no less than can be seen.
            out += &curve("bad", (width * edge.bad_share()).max(1.0));
        }
        out += &picture::head(c2.0, c2.1, x2, y2, "head");
        let class = if edge.bad_share() > 0.0 { "badink" } else { "mut" };
        let said = if incoming[*to] > 1 { format!("{}: {}", edge.from, edge.figures()) } else { edge.figures() };
        let (lx, ly) = (tx + BOX_WIDTH / 2.0, ty - 8.0 - WORDS * (incoming[*to] - 1 - rank) as f64);
        // At the left edge there is room only to the right.
        let (lx, anchor) = if layers[*to] == 0 { (tx, "start") } else { (lx, "end") };
        words += &picture::text(lx, ly, anchor, class, &cut(&said, 72));
    }
    for (at, name) in nodes.iter().enumerate() {
        let (x, y) = corner(at);
        out += &format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{BOX_WIDTH}\" height=\"{BOX_HEIGHT}\" rx=\"4\" class=\"box\"/>\n"
        );
        out += &picture::text(x + BOX_WIDTH / 2.0, y + 20.0, "middle", "", &cut(name, 22));
    }
    out += &words;
    let width = (LEFT * 2.0 + COLUMN * (columns - 1) as f64 + BOX_WIDTH).max(560.0);
    picture::svg(width, TOP + row * tallest as f64 + 24.0, &format!("{title}, {when}"), &out)
}

/// Distance of each node from the nodes without callers: the longest path without cycles.
fn layers(nodes: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut layers = vec![0; nodes];
    // A path without a cycle has fewer edges than there are nodes; in a cycle it would grow indefinitely.
    for _ in 0..nodes.min(LAYERS_MAX) {
        let before = layers.clone();
        for (from, to) in edges {
            if from != to && layers[*to] <= before[*from] && before[*from] < LAYERS_MAX {
                layers[*to] = before[*from] + 1;
            }
        }
        if before == layers {
            break;
        }
    }
    let mut used: Vec<usize> = layers.clone();
    used.sort_unstable();
    used.dedup();
    layers.iter().map(|layer| used.binary_search(layer).unwrap_or_default()).collect()
}
