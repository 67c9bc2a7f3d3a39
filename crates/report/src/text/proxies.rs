//! The proxies of the mesh's technology.

use super::{ROWS_MAX, lines, more};
use crate::show::{count, span};
use crate::summary::Summary;
use crate::table::{Paint, Style, Table};

/// One line for each service and load with proxies, the busiest first.
pub(super) fn proxies(summary: &Summary, paint: Paint) -> String {
    let Some(mesh) = &summary.mesh else { return String::new() };
    let mut out = String::new();
    if !mesh.by.is_empty() {
        let mut table = Table::new(["<for", "passages", "cores", "work each", "waited", "memory"]);
        let mut busiest: Vec<_> = mesh.by.iter().collect();
        busiest.sort_by(|a, b| b.cores_busy.total_cmp(&a.cores_busy));
        for it in busiest.iter().take(ROWS_MAX) {
            table.row([
                if it.is_load { format!("load {}", it.name) } else { it.name.clone() }.into(),
                count(it.passes).into(),
                format!("{:.3}", it.cores_busy).into(),
                span(it.work_mean_ns).into(),
                span(it.waited_mean_ns).into(),
                megabytes(it.memory_bytes).into(),
            ]);
        }
        out += &(table.fitted(paint) + &more(busiest.len(), ROWS_MAX, paint));
    }
    let all = format!(
        "{} {} in all: {:.3} cores busy on average, memory {}",
        count(mesh.proxies),
        if mesh.proxies == 1 { "proxy" } else { "proxies" },
        mesh.cores_busy,
        megabytes(mesh.memory_bytes)
    );
    out += &lines(&all, Style::Dim, paint);
    if !mesh.left_to_applications.is_empty() {
        let left = mesh.left_to_applications.join(", ");
        out += &lines(&format!("{} leaves to the applications: {left}", mesh.technology), Style::Warn, paint);
    }
    out
}

/// Memory, in megabytes.
pub(crate) fn megabytes(bytes: u64) -> String {
    match bytes {
        0 => "-".into(),
        bytes => format!("{} MB", count(bytes.div_ceil(1_000_000))),
    }
}
