//! Renders mesh technologies side by side, as text, Markdown and a page.

use meshsim_report::picture::escaped;
use meshsim_report::plural;
use meshsim_report::table::{Paint, Style, Table, TableCell};
use meshsim_report::wrap::wrapped;
use meshsim_study::choose::{Candidate, Choice, LoadFigures};
use meshsim_study::estimate::Estimate;

use crate::study::{markdown_text, shown};

/// Sentences below each comparison.
const CAVEATS: [&str; 3] = [
    "Figures of proxies are published ones, measured by others on other machines; `mesh:` in the file sets your own.",
    "cores and MB are those of proxies alone, without the control plane; SLOs are those that hold in all runs.",
    "What a technology leaves to the applications holds in its runs all the same, as if they did it.",
];

/// One table for each load; the first also has the costs.
pub(crate) fn text(choice: &Choice, paint: Paint) -> String {
    let seeds = plural(choice.seeds.len() as u64, "seed");
    let mut out = format!("{}  {seeds}, the same for each\n", paint.on(Style::Bold, &choice.name));
    let loads = choice.candidates.first().map_or(0, |it| it.loads.len());
    for load in 0..loads {
        out += &format!("\n{}\n", paint.on(Style::Bold, &format!("Load {}", choice.candidates[0].loads[load].name)));
        let mut table = Table::new(headings(choice, load == 0).iter().map(|it| match *it {
            "technology" => "<technology".to_owned(),
            other => other.to_owned(),
        }));
        for it in &choice.candidates {
            let cells = row(choice, it, load);
            table.row(cells.into_iter().map(TableCell::from).collect::<Vec<_>>());
        }
        out += &table.fitted(paint);
    }
    out += &format!("\n{}\n", paint.on(Style::Bold, "Technologies"));
    for it in &choice.candidates {
        out += &format!("  {}\n", it.technology);
        for (style, line) in about(it) {
            for part in wrapped(&line, paint.columns.saturating_sub(4).max(20)) {
                out += &format!("    {}\n", paint.on(style, &part));
            }
        }
    }
    out.push('\n');
    for caveat in CAVEATS {
        for part in wrapped(caveat, paint.columns.saturating_sub(2).max(20)) {
            out += &format!("  {}\n", paint.on(Style::Dim, &part));
        }
    }
    out
}

/// Column headings; the costs are the same for all loads.
fn headings(choice: &Choice, with_costs: bool) -> Vec<&'static str> {
    let mut all = vec!["technology", "p50", "p90", "p99", "failed"];
    if with_costs {
        all.extend(["cores", "MB"]);
        if choice.candidates.iter().any(|it| it.price.is_some()) {
            all.push("price");
        }
        if choice.candidates.iter().any(|it| !it.slos.is_empty()) {
            all.push("SLOs");
        }
    }
    all
}

fn row(choice: &Choice, it: &Candidate, load: usize) -> Vec<String> {
    let LoadFigures { p50_s, p90_s, p99_s, failed_share, .. } = &it.loads[load];
    let mean = |name: &str, estimate: &Option<Estimate>| estimate.map_or("-".into(), |it| shown(name, it.mean));
    // A star: not validated. Narrower than words, which follow below.
    let name = format!("{}{}", it.technology, if it.validated.is_none() { " *" } else { "" });
    let mut cells = vec![name, mean("_s", p50_s), mean("_s", p90_s), mean("_s", p99_s), mean("_share", failed_share)];
    for heading in headings(choice, load == 0).into_iter().skip(5) {
        cells.push(match heading {
            "cores" => it.cores.map_or("-".into(), |cores| format!("{:.2}", cores.mean)),
            "MB" => it.memory_bytes.map_or("-".into(), |it| format!("{:.0}", it.mean / 1e6)),
            "price" => it.price.map_or("-".into(), |price| format!("{price:.2}")),
            _ => format!("{}/{}", it.slos.iter().filter(|(_, held)| *held == it.runs).count(), it.slos.len()),
        });
    }
    cells
}

/// Notes on a technology: what it was compared with, and what the comparison leaves out.
fn about(it: &Candidate) -> Vec<(Style, String)> {
    let mut lines = match it.validated {
        Some(source) => vec![(Style::Dim, format!("compared with {source}"))],
        None => vec![(Style::Warn, "* not validated: no published rows to compare with".into())],
    };
    if !it.left_to_applications.is_empty() {
        lines.push((Style::Warn, format!("leaves to the applications: {}", it.left_to_applications.join(", "))));
    }
    for (slo, held) in it.slos.iter().filter(|(_, held)| *held < it.runs) {
        lines.push((Style::Bad, format!("holds in {held} of {} runs: {slo}", it.runs)));
    }
    lines
}

/// The same as Markdown.
pub(crate) fn markdown(choice: &Choice) -> String {
    let mut out = String::new();
    let loads = choice.candidates.first().map_or(0, |it| it.loads.len());
    for load in 0..loads {
        let headings = headings(choice, load == 0);
        out += &format!(
            "Load **{}**\n\n| {} |\n",
            markdown_text(&choice.candidates[0].loads[load].name),
            headings.join(" | ")
        );
        out += &format!("| --- |{}\n", " ---: |".repeat(headings.len() - 1));
        for it in &choice.candidates {
            out += &format!("| {} |\n", row(choice, it, load).join(" | "));
        }
        out.push('\n');
    }
    for it in &choice.candidates {
        let about: Vec<String> = about(it).into_iter().map(|(_, line)| markdown_text(&line)).collect();
        out += &format!("- **{}**: {}\n", it.technology, about.join("; "));
    }
    out + &CAVEATS.map(|caveat| format!("\n{caveat}\n")).concat()
}

/// The same as a page that needs nothing else.
pub(crate) fn page(choice: &Choice) -> String {
    let mut body = format!("<h1>{}: mesh technologies</h1>\n", escaped(&choice.name));
    body += &format!("<p>{}, the same for each.</p>\n", plural(choice.seeds.len() as u64, "seed"));
    let loads = choice.candidates.first().map_or(0, |it| it.loads.len());
    for load in 0..loads {
        body += &format!("<h2>Load {}</h2>\n<table>\n<tr>", escaped(&choice.candidates[0].loads[load].name));
        headings(choice, load == 0).iter().for_each(|it| body += &format!("<th>{it}</th>"));
        body += "</tr>\n";
        for it in &choice.candidates {
            let cells: String =
                row(choice, it, load).iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
            body += &format!("<tr>{cells}</tr>\n");
        }
        body += "</table>\n";
    }
    body += "<h2>Technologies</h2>\n<dl>\n";
    for it in &choice.candidates {
        let lines: String = about(it).iter().map(|(_, line)| format!("<dd>{}</dd>", escaped(line))).collect();
        body += &format!("<dt>{}</dt>{lines}\n", it.technology);
    }
    body += "</dl>\n";
    CAVEATS.iter().for_each(|caveat| body += &format!("<p class=\"small\">{}</p>\n", escaped(caveat)));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{}: mesh technologies</title>\n<style>{STYLE}</style>\n<main>\n{body}</main>\n</html>\n",
        escaped(&choice.name)
    )
}

const STYLE: &str = ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;\
max-width:60rem;padding:0 1rem}main{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}\
th,td{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #8884}th:first-child,td:first-child{text-align:left}\
dt{font-weight:600;margin-top:.6rem}dd{margin:0 0 0 1rem}.small{font-size:.85rem;opacity:.8}";
