//! A request as a picture: one file, light and dark.

use std::fmt::Write as _;

use meshsim_actor::{Span, Time};
use meshsim_mesh::Mesh;

use super::text::{endpoint, instance, name, rows, time};
use super::{Kind, Piece, Waterfall};

const WIDTH: f64 = 960.0;
/// Where the bars begin and end.
const LEFT: f64 = 300.0;
const RIGHT: f64 = 860.0;
const ROW: f64 = 22.0;
const TOP: f64 = 64.0;

const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#1b1f24}.h{font-weight:600;font-size:14px}.d{fill:#59636e}\
.bg{fill:#fff}.g{stroke:#d1d9e0}.queue{fill:#d97706}.work{fill:#1f6feb}.cores{fill:#8250df}.sleep{fill:#6e9ecf}\
.network{fill:#59636e}.retry{fill:#bf8700}.abandoned{fill:#cf222e}.client,.unknown{fill:#afb8c1}.below{fill:#d8dee4}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.d{fill:#9198a1}.bg{fill:#0d1117}.g{stroke:#3d444d}\
.queue{fill:#f0a33a}.work{fill:#58a6ff}.cores{fill:#bc8cff}.sleep{fill:#4b7bb0}.network{fill:#9198a1}.retry{fill:#d9a520}\
.abandoned{fill:#ff6b64}.client,.unknown{fill:#656c76}.below{fill:#2a313c}}";

const KEY: [(&str, &str); 7] = [
    ("queue", "waiting for a slot"),
    ("work", "work"),
    ("cores", "waiting for a core"),
    ("sleep", "sleep"),
    ("network", "network"),
    ("abandoned", "given up"),
    ("below", "calls below"),
];

/// The waterfall of a request, with names of this mesh.
pub fn svg(of: &Waterfall, mesh: &Mesh) -> String {
    let path = of.critical_path();
    let (rows, folded) = rows(of, &path);
    let height = TOP + (rows.len() as f64 + 2.0) * ROW + 40.0;
    let callee = endpoint(of.calls.first().and_then(|call| call.callee), mesh);
    let outcome = match of.failure {
        None => "done".to_owned(),
        Some(failure) => format!("failed ({})", failure.as_str().replace('_', " ")),
    };
    let title = format!("{} {callee}: {outcome} after {}", name(of.root, mesh), time(of.latency()));
    let mut out = String::new();
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{0}\">\
         <title>{0}</title><style>{STYLE}</style><rect class=\"bg\" width=\"{WIDTH}\" height=\"{height}\"/>",
        escaped(&title)
    );
    text(&mut out, 16.0, 26.0, "h", &cut(&title, 110));
    for tick in 0..=4 {
        let share = f64::from(tick) / 4.0;
        let x = LEFT + (RIGHT - LEFT) * share;
        let _ = write!(out, "<path class=\"g\" d=\"M{x:.1} {} V{:.1}\"/>", TOP - 8.0, height - 44.0);
        text(&mut out, x + 3.0, TOP - 10.0, "d", &time(of.latency().scaled(share)));
    }
    let mut y = TOP;
    text(&mut out, 16.0, y + 15.0, "", "critical path");
    bar(&mut out, of, &path, y, mesh);
    for row in &rows {
        y += ROW;
        let call = &of.calls[row.call];
        let it = &call.tries[row.attempt];
        let again = if it.attempt > 0 { format!(" try {}", u32::from(it.attempt) + 1) } else { String::new() };
        let place = it.to.map_or_else(String::new, |(node, ordinal)| instance(node, ordinal, mesh));
        let indent = 10.0 * f64::from(call.depth.min(8));
        let label = cut(&format!("{}{again}", endpoint(call.callee, mesh)), 24);
        text(&mut out, 16.0 + indent, y + 15.0, if row.is_critical { "" } else { "d" }, &label);
        text(&mut out, 210.0, y + 15.0, "d", &cut(&place, 13));
        bar(&mut out, of, &of.row(row.call, row.attempt), y, mesh);
        let end = match it.failure {
            None => time(it.ended.unwrap_or(of.ended).since(it.sent)),
            Some(failure) => failure.as_str().replace('_', " "),
        };
        text(&mut out, RIGHT + 8.0, y + 15.0, "d", &end);
    }
    if folded > 0 {
        text(&mut out, 16.0, y + ROW + 15.0, "d", &format!("{folded} more tries are not drawn"));
    }
    let mut x = 16.0;
    for (class, what) in KEY {
        let y = height - 20.0;
        let _ = write!(out, "<rect class=\"{class}\" x=\"{x}\" y=\"{}\" width=\"10\" height=\"10\"/>", y - 9.0);
        text(&mut out, x + 15.0, y, "d", what);
        x += 40.0 + 6.6 * what.len() as f64;
    }
    out += "</svg>\n";
    out
}

fn bar(out: &mut String, of: &Waterfall, pieces: &[Piece], y: f64, mesh: &Mesh) {
    let whole = of.latency().nanos().max(1) as f64;
    let x = |at: Time| LEFT + (RIGHT - LEFT) * (at.max(of.due).since(of.due).nanos() as f64 / whole).min(1.0);
    for piece in pieces {
        let (from, to) = (x(piece.from), x(piece.to));
        let class = match piece.kind {
            Kind::Abandoned(_) => "abandoned",
            other => other.word(),
        };
        let took: Span = piece.to.since(piece.from);
        let what = escaped(&format!("{}: {}", piece.kind.phrase(piece.service, mesh), time(took)));
        let _ = write!(
            out,
            "<rect class=\"{class}\" x=\"{from:.2}\" y=\"{}\" width=\"{:.2}\" height=\"14\"><title>{what}</title></rect>",
            y + 4.0,
            (to - from).max(0.4)
        );
    }
}

fn text(out: &mut String, x: f64, y: f64, class: &str, text: &str) {
    let _ = write!(out, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>", escaped(text));
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// Text that stays text, whatever is in it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            // XML has no way to say these.
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
