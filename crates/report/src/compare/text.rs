//! A comparison for people, in the style and width of the report of a run.

use crate::compare::history::{DecidedStep, History, OperationName};
use crate::compare::noise::Difference;
use crate::compare::{Comparison, Figure, Figures, OperationComparison, letter};
use crate::show::{count, number, percent, plural, seconds, span};
use crate::table::{Paint, Style, Table, TableCell};

/// Runs beside the base that fit into the width; more are shown in further tables.
const BESIDE_MAX: usize = 3;
/// With more loads, targets or services than this, only those that differ are shown, up to this number.
const FIGURES_MAX: usize = 10;
/// The same for operations.
const OPERATIONS_MAX: usize = 20;

/// The comparison as text. `all`: include figures without a difference, in full length.
pub fn text(comparison: &Comparison, all: bool, paint: Paint) -> String {
    let mut out = heading(comparison, paint);
    let others: Vec<usize> = (1..comparison.runs.len()).collect();
    for beside in others.chunks(BESIDE_MAX) {
        let page = Page { comparison, beside, all, paint };
        let letters: Vec<&str> = beside.iter().map(|run| letter(*run)).collect();
        let title = if others.len() > BESIDE_MAX { format!("  A and {}", letters.join(", ")) } else { String::new() };
        for (heading, beside, body) in [
            ("Operations", "steps, messages and outcome, and how long each took to settle", page.operations()),
            ("History", "decisions in order, regardless of their times", page.histories()),
            ("Requests", "", page.loads()),
            ("Services", "", page.services()),
        ] {
            if !body.is_empty() {
                let gap = if beside.is_empty() { "" } else { "  " };
                let beside = paint.on(Style::Dim, &format!("{gap}{beside}{title}"));
                out += &format!("\n{}{beside}\n{body}", paint.on(Style::Bold, heading));
            }
        }
    }
    out + &footing(comparison, paint)
}

fn heading(comparison: &Comparison, paint: Paint) -> String {
    let name = comparison.runs.first().map_or("", |base| &base.name);
    let mut table = Table::new(["<", "<run", "seed", "lasted", "<SLO", "<"]);
    for (run, of) in comparison.runs.iter().enumerate() {
        let beside = if run == 0 { "the base" } else { "" };
        table.row([
            letter(run).into(),
            of.run.as_str().into(),
            of.seed.to_string().into(),
            seconds(of.reached_s).into(),
            of.outcome.cell(),
            TableCell::new(beside, Style::Dim),
        ]);
    }
    let runs = plural(comparison.runs.len() as u64, "run");
    let is_one = comparison.differences.iter().all(Vec::is_empty);
    let of = if is_one { "of one experiment" } else { "of different experiments" };
    let mut out = format!("{}  {runs} {of}\n{}", paint.on(Style::Bold, name), table.render(paint));
    for (run, differences) in (1..).zip(&comparison.differences) {
        for difference in differences {
            out += &format!("  {}  {}\n", letter(run), paint.on(Style::Warn, difference));
        }
    }
    for remark in &comparison.remarks {
        out += &format!("  {}\n", paint.on(Style::Warn, remark));
    }
    out
}

/// Bounds of noise, and the number of differences beyond them.
fn footing(comparison: &Comparison, paint: Paint) -> String {
    let (floor, z) = (percent(comparison.noise.floor), number(comparison.noise.standard_errors));
    let mut out = format!("\n{}\n", paint.on(Style::Bold, "Noise"));
    for line in [
        format!("~ marks a difference that may be noise: at most {floor} of A (--noise), or in counts, percentiles"),
        format!("and settling times at most {z} standard errors. Counts a and b: {z} sqrt(a + b), as Poisson counts."),
        format!("Percentile q of n: the ranks q n +- {z} sqrt(f n q (1 - q)), read off the summary's percentiles."),
        format!(
            "Settling: {z} times the scatter of the steps of both runs. Messages: at most {floor}, no more is known."
        ),
        "f: how much alike requests are that follow each other. Failures are taken as independent.".into(),
    ] {
        out += &format!("  {}\n", paint.on(Style::Dim, &line));
    }
    let compared = plural(comparison.compared as u64, "difference");
    let (text, style) = match comparison.beyond {
        0 => (format!("none of {compared} is larger than noise"), Style::Good),
        1 => (format!("1 of {compared} is larger than noise"), Style::Warn),
        n => (format!("{} of {compared} are larger than noise", count(n as u64)), Style::Warn),
    };
    out + &format!("\n{}\n", paint.on(style, &text))
}

/// The base beside as many runs as fit.
struct Page<'a> {
    comparison: &'a Comparison,
    beside: &'a [usize],
    all: bool,
    paint: Paint,
}

impl Page<'_> {
    /// The headings of a figure's columns.
    fn headings(&self) -> Vec<&'static str> {
        match self.beside {
            [only] => vec!["A", letter(*only), "difference", "", "<"],
            several => std::iter::once("A").chain(several.iter().flat_map(|run| [letter(*run), "<"])).collect(),
        }
    }

    /// Their cells.
    fn cells(&self, figure: &Figure, show: fn(Option<u64>) -> String) -> Vec<TableCell> {
        let value = |run: usize| figure.values.get(run).copied().flatten();
        let difference = |run: usize| figure.differences.get(run - 1).copied().flatten();
        let mut cells = vec![show(value(0)).into()];
        if let [only] = self.beside {
            let found = difference(*only);
            let style = found.map_or(Style::Plain, style);
            cells.push(TableCell::new(show(value(*only)), if style == Style::Dim { Style::Plain } else { style }));
            let absolute = found.map(|found| signed(found.absolute as f64, &show(Some(found.absolute.unsigned_abs()))));
            let share = found.and_then(|found| found.share).map(shown_share);
            cells.push(TableCell::new(absolute.unwrap_or_default(), style));
            cells.push(TableCell::new(share.unwrap_or_default(), style));
            cells.push(TableCell::new(found.map(verdict).unwrap_or_default(), style));
            return cells;
        }
        for run in self.beside {
            let found = difference(*run);
            let style = found.map_or(Style::Plain, style);
            cells.push(TableCell::new(show(value(*run)), if style == Style::Dim { Style::Plain } else { style }));
            let text = match found {
                Some(found) if found.beyond => found.share.map_or_else(|| "more".into(), shown_share),
                Some(found) if found.absolute != 0 => "~".into(),
                _ => String::new(),
            };
            cells.push(TableCell::new(text, style));
        }
        cells
    }

    /// A row for each figure of each item, and how many items are left out.
    fn figures<'a, T>(
        &self,
        what: &'static str,
        noun: &str,
        offered: &'static str,
        items: &'a [T],
        item: impl Fn(&'a T) -> (String, &'a Figures),
    ) -> String {
        let mut table = Table::new([vec![what, "<"], self.headings()].concat());
        let shown = self.chosen(items, FIGURES_MAX, |one| u8::from(item(one).1.differ()));
        for one in &shown {
            let (mut name, figures) = item(one);
            for (label, figure) in figures.each() {
                if figure.values.iter().all(|value| value.is_none_or(|value| value == 0)) {
                    continue;
                }
                let show = if label.starts_with('p') { span } else { shown_count };
                let label = if label == "offered" { offered } else { label };
                let mut cells = vec![TableCell::from(std::mem::take(&mut name)), label.into()];
                cells.extend(self.cells(figure, show));
                table.row(cells);
            }
        }
        let differ = items.iter().filter(|one| item(one).1.differ()).count();
        table.render(self.paint) + &self.untold(items.len() - shown.len(), differ > shown.len(), noun)
    }

    /// All items if there are few, else those that differ, the weightiest first chosen; in their order.
    fn chosen<'a, T>(&self, items: &'a [T], max: usize, weight: impl Fn(&'a T) -> u8) -> Vec<&'a T> {
        if self.all || items.len() <= max {
            return items.iter().collect();
        }
        let mut chosen: Vec<(usize, &'a T)> = items.iter().enumerate().filter(|(_, item)| weight(item) > 0).collect();
        chosen.sort_by_key(|(_, item)| std::cmp::Reverse(weight(item)));
        chosen.truncate(max);
        chosen.sort_by_key(|(index, _)| *index);
        chosen.into_iter().map(|(_, item)| item).collect()
    }

    fn untold(&self, untold: usize, some_differ: bool, noun: &str) -> String {
        let that = if some_differ { "some differ too" } else { "none differs by more than noise" };
        match untold {
            0 => String::new(),
            n => self.dim(&format!("{} not shown: {that} (--all shows all)", plural(n as u64, noun))),
        }
    }

    fn dim(&self, text: &str) -> String {
        format!("  {}\n", self.paint.on(Style::Dim, text))
    }

    fn loads(&self) -> String {
        // A load with one target is one item.
        let loads = &self.comparison.loads;
        let targets = |load: &str| loads.iter().filter(|other| other.load == load && other.target.is_some()).count();
        let is_shown = |item: &&crate::compare::LoadComparison| item.target.is_some() || targets(&item.load) != 1;
        let items: Vec<_> = loads.iter().filter(is_shown).collect();
        self.figures("<load", "load or target", "offered", &items, |item| {
            let name = match &item.target {
                Some(target) if targets(&item.load) == 1 => format!("{} {target}", item.load),
                Some(target) => format!("  {target}"),
                None => item.load.clone(),
            };
            (name, &item.figures)
        })
    }

    fn services(&self) -> String {
        let services = &self.comparison.services;
        self.figures("<service", "service", "arrived", services, |item| (item.service.clone(), &item.figures))
    }

    fn operations(&self) -> String {
        let operations = &self.comparison.operations;
        let headings = vec!["at", "<operation", "steps", "messages", "<outcome"];
        let mut table = Table::new([headings, self.headings()].concat());
        let shown = self.chosen(operations, OPERATIONS_MAX, OperationComparison::weight);
        for operation in &shown {
            let mut cells = vec![
                seconds(operation.began_s).into(),
                format!("{} {}", operation.kind, operation.service).into(),
                self.side_by_side(&operation.steps),
                self.side_by_side(&operation.messages),
                self.outcomes(operation),
            ];
            cells.extend(self.cells(&operation.settle_time_ns, span));
            table.row(cells);
        }
        let differ = operations.iter().filter(|operation| operation.weight() > 0).count();
        let untold = self.untold(operations.len() - shown.len(), differ > shown.len(), "operation");
        table.render(self.paint) + &untold
    }

    fn runs(&self) -> impl Iterator<Item = usize> {
        std::iter::once(0).chain(self.beside.iter().copied())
    }

    /// The figure of each run in one cell; once, if it is the same.
    fn side_by_side(&self, figure: &Figure) -> TableCell {
        let texts = self.runs().map(|run| shown_count(figure.values.get(run).copied().flatten())).collect();
        let found: Vec<_> = self.beside.iter().filter_map(|run| figure.differences.get(run - 1).copied()?).collect();
        let style = if found.iter().any(|found| found.beyond) { Style::Warn } else { Style::Plain };
        let mut text = joined(texts);
        if style == Style::Plain && found.iter().any(|found| found.absolute != 0) {
            text += " ~";
        }
        TableCell::new(text, style)
    }

    fn outcomes(&self, operation: &OperationComparison) -> TableCell {
        let outcome = |run: usize| operation.outcomes.get(run).cloned().flatten().unwrap_or_else(|| "-".into());
        let texts: Vec<String> = self.runs().map(outcome).collect();
        let differ = texts.iter().any(|text| *text != texts[0]);
        TableCell::new(joined(texts), if differ { Style::Warn } else { Style::Plain })
    }

    fn histories(&self) -> String {
        let all = self.beside.iter().filter_map(|run| Some((*run, self.comparison.histories.get(run - 1)?)));
        all.map(|(run, history)| self.history(letter(run), history)).collect()
    }

    fn history(&self, run: &str, history: &History) -> String {
        let steps = plural(history.same_steps as u64, "step");
        let operations = plural(history.same_operations as u64, "operation");
        let steps = match &history.first_step {
            None => self.paint.on(Style::Good, &format!("the same {steps}")),
            Some(first) => {
                let after = match history.same_steps {
                    0 => String::new(),
                    _ => format!("the same {steps}, then "),
                };
                let differs = match (&first.base, &first.other) {
                    (Some(base), None) => format!("no step {}, which A has", base.n),
                    (None, Some(other)) => format!("step {}, which A does not have", other.n),
                    _ => {
                        let number = first.base.as_ref().map_or(0, |step| step.n);
                        format!("step {number} differs: {}", first.fields.join(", "))
                    }
                };
                self.paint.on(Style::Warn, &format!("{after}{differs}"))
            }
        };
        let sequence = match &history.first_operation {
            None => format!("the same {operations} in the same order"),
            Some(first) => {
                let name = |name: &Option<OperationName>| {
                    name.as_ref().map_or_else(|| "nothing".to_owned(), |o| format!("{} {}", o.kind, o.service))
                };
                let text =
                    format!("the same {operations}, then {} where A has {}", name(&first.other), name(&first.base));
                self.paint.on(Style::Warn, &text)
            }
        };
        let gap = if history.first_step.is_none() { ", " } else { "\n     " };
        let mut out = format!("  {run}  {steps}{gap}{sequence}\n");
        if let Some(first) = &history.first_step {
            let mut table =
                Table::new(["<", "n", "<step of", "generation", "S", "C", "V", "instances", "version", "unplaced"]);
            for (name, step) in [("   A", &first.base), (&*format!("   {run}"), &first.other)] {
                if let Some(step) = step {
                    table.row(step_row(name, step, &first.fields));
                }
            }
            out += &table.render(self.paint);
        }
        out
    }
}

fn step_row(name: &str, step: &DecidedStep, fields: &[String]) -> Vec<TableCell> {
    let cell = |names: &[&str], text: String| {
        let differs = fields.iter().any(|field| names.contains(&field.as_str()));
        TableCell::new(text, if differs { Style::Warn } else { Style::Plain })
    };
    vec![
        name.into(),
        cell(&["n"], count(step.n)),
        cell(&["kind", "service"], format!("{} {}", step.kind, step.service)),
        cell(&["generation"], count(step.generation)),
        cell(&["s"], number(step.s)),
        cell(&["c"], number(step.c)),
        cell(&["v"], number(step.v)),
        cell(&["instances"], count(step.instances.into())),
        cell(&["version"], number(step.version)),
        cell(&["unplaced"], count(step.unplaced.into())),
    ]
}

fn style(difference: Difference) -> Style {
    if difference.beyond { Style::Warn } else { Style::Dim }
}

fn verdict(difference: Difference) -> &'static str {
    match difference {
        Difference { beyond: true, .. } => "differs",
        Difference { absolute: 0, .. } => "same",
        _ => "~ same",
    }
}

fn signed(value: f64, text: &str) -> String {
    let sign = match value {
        v if v > 0.0 => "+",
        v if v < 0.0 => "-",
        _ => "",
    };
    format!("{sign}{text}")
}

/// `+0.6%`
fn shown_share(share: f64) -> String {
    let percent = share.abs() * 100.0;
    let text = if percent < 100.0 { format!("{percent:.1}%") } else { format!("{}%", number(percent)) };
    signed(share, &text)
}

fn shown_count(n: Option<u64>) -> String {
    n.map_or_else(|| "-".into(), count)
}

/// `3`, or `3/4` where they differ.
fn joined(texts: Vec<String>) -> String {
    match texts.split_first() {
        Some((first, rest)) if rest.iter().any(|text| text != first) => texts.join("/"),
        Some((first, _)) => first.clone(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_a_sign_and_what_is_equal_is_said_once() {
        assert_eq!([0.006, -0.1234, 0.0, 12.345].map(shown_share), ["+0.6%", "-12.3%", "0.0%", "+1,235%"]);
        let all = |texts: &[&str]| joined(texts.iter().map(|text| (*text).to_owned()).collect());
        assert_eq!([all(&["3", "3"]), all(&["3", "4", "3"]), all(&[])], ["3", "3/4/3", ""]);
    }
}
