//! A request as a picture: one file, light and dark.

use std::fmt::Write as _;

use meshsim_actor::{Span, Time};
use meshsim_mesh::Mesh;

use super::text::{endpoint, instance, name, rows, time};
use super::{Kind, Piece, Waterfall};
use crate::picture::{self, escaped};
use crate::wrap::shortened;

const WIDTH: f64 = 960.0;
/// Horizontal range of the bars.
const LEFT: f64 = 300.0;
const RIGHT: f64 = 860.0;
const ROW: f64 = 22.0;
const TOP: f64 = 64.0;

/// The colours of the kinds of time are those of the report.
const STYLE: &str = "\
.grid{stroke:#edf0f3}.queue{fill:#e3a512}.work{fill:#2f7fbf}.cores{fill:#7a5ea8}.sleep{fill:#86b6da}.network{fill:#b4bcc5}\
.retry{fill:#343a42}.pool{fill:#c98bdb}.proxy{fill:#3f9a8c}.breaker{fill:#8f5a9e}.abandoned{fill:#c2410c}.client,.unknown{fill:#59636e}.below{fill:#d9dee4}\
@media(prefers-color-scheme:dark){.grid{stroke:#22272d}.queue{fill:#f3dc83}.work{fill:#4f9bd6}.cores{fill:#b79fe0}\
.sleep{fill:#35658c}.network{fill:#69747f}.retry{fill:#fff}.pool{fill:#e3b8ee}.proxy{fill:#62b8aa}.breaker{fill:#b98ac6}.abandoned{fill:#f26a2e}.client,.unknown{fill:#9ba6b1}\
.below{fill:#323941}}";

const KEY: [(&str, &str); 11] = [
    ("queue", "waiting for a slot"),
    ("work", "work"),
    ("cores", "waiting for a core"),
    ("sleep", "sleep"),
    ("network", "network"),
    ("retry", "pause before a retry"),
    ("breaker", "breaker"),
    ("pool", "connection"),
    ("proxy", "proxies"),
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
    let mut out = format!("<style>{STYLE}</style>\n");
    let text = |x: f64, y: f64, class: &str, words: &str| picture::text(x, y, "start", class, words);
    out += &text(16.0, 26.0, "title", &shortened(&title, 110, '…'));
    for tick in 0..=4 {
        let share = f64::from(tick) / 4.0;
        let x = LEFT + (RIGHT - LEFT) * share;
        out += &picture::line(x, TOP - 8.0, x, height - 44.0, "grid");
        out += &text(x + 3.0, TOP - 10.0, "mut", &time(of.latency().scaled(share)));
    }
    let mut y = TOP;
    out += &text(16.0, y + 15.0, "", "critical path");
    bar(&mut out, of, &path, y, mesh);
    for row in &rows {
        y += ROW;
        let call = &of.calls[row.call];
        let it = &call.tries[row.attempt];
        let again = if it.attempt > 0 { format!(" try {}", u32::from(it.attempt) + 1) } else { String::new() };
        let place = it.to.map_or_else(String::new, |(node, ordinal)| instance(node, ordinal, mesh));
        let indent = 10.0 * f64::from(call.depth.min(8));
        let label = shortened(&format!("{}{again}", endpoint(call.callee, mesh)), 24, '…');
        out += &text(16.0 + indent, y + 15.0, if row.is_critical { "" } else { "mut" }, &label);
        out += &text(210.0, y + 15.0, "mut", &shortened(&place, 13, '…'));
        bar(&mut out, of, &of.row(row.call, row.attempt), y, mesh);
        let end = match it.failure {
            None => time(it.ended.unwrap_or(of.ended).since(it.sent)),
            Some(failure) => failure.as_str().replace('_', " "),
        };
        out += &text(RIGHT + 8.0, y + 15.0, "mut", &end);
    }
    if folded > 0 {
        out += &text(16.0, y + ROW + 15.0, "mut", &format!("{folded} more tries are not drawn"));
    }
    let mut x = 16.0;
    // Few services have a limit of connections, a breaker, or proxies.
    let is_shown =
        |class: &str| !matches!(class, "pool" | "breaker" | "proxy") || out.contains(&format!("class=\"{class}\""));
    let key: Vec<_> = KEY.into_iter().filter(|(class, _)| is_shown(class)).collect();
    let gap = 40.0 - 12.0 * (key.len() as f64 - 8.0);
    for (class, what) in key {
        let y = height - 20.0;
        let _ = write!(out, "<rect class=\"{class}\" x=\"{x}\" y=\"{}\" width=\"10\" height=\"10\"/>", y - 9.0);
        out += &text(x + 15.0, y, "mut", what);
        x += gap + 6.6 * what.len() as f64;
    }
    picture::svg(WIDTH, height, &title, &out)
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
