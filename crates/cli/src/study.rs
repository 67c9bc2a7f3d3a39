//! Renders the results of sweeps, limits and comparisons as text and Markdown.

use meshsim_actor::Span;
use meshsim_experiment::Experiment;
use meshsim_report::compare::letter;
use meshsim_report::table::{Paint, Style, Table, TableCell};
use meshsim_report::{number, percent, plural, rate};
use meshsim_study::estimate::Estimate;
use meshsim_study::limit::Limit;
use meshsim_study::pairs::{Difference, FigurePairs, Pairs, PairsError};
use meshsim_study::plan::{Plan, PlanError};
use meshsim_study::shards::SHARDS;
use meshsim_study::store::StoreError;
use meshsim_study::sweep::PointSummary;

use crate::error::{Error, Exit};
use crate::runs::RUNS;
use crate::screen::Screen;

/// Points that are listed at most; all are in the folder's tables.
const POINTS_MAX: usize = 40;

/// Figures of a load in the table of points.
const OF_POINTS: [(&str, &str); 4] =
    [("done_per_s", "done/s"), ("p50_s", "p50"), ("p99_s", "p99"), ("failed_share", "failed")];

pub(crate) fn plan_error(error: PlanError) -> Error {
    match error {
        PlanError::Problems(problems) => Error::Problems(problems),
        PlanError::Seed => {
            Error::WrongInput(error.to_string(), "give `--seeds 3` for the file's seed and two more".into())
        }
        PlanError::Twice(_) => Error::WrongInput(error.to_string(), "write all its values in one `--vary`".into()),
        PlanError::NoAxis(_) => Error::WrongInput(error.to_string(), "say with `--vary` which value varies".into()),
        other => {
            let help = "vary fewer values, or fewer at once; `--sample N` draws N points of a grid";
            Error::WrongInput(other.to_string(), help.into())
        }
    }
}

pub(crate) fn store_error(error: StoreError) -> Error {
    let text = error.to_string();
    match error {
        StoreError::Io(path, error) => Error::Write(path, error),
        StoreError::Problems(problems) => Error::Problems(problems),
        StoreError::Plan(error) => plan_error(error),
        StoreError::Foreign(_) | StoreError::Other(_) => {
            Error::WrongInput(text, "choose another directory with `--out`".into())
        }
        StoreError::OtherShard(_) => Error::WrongInput(
            text,
            "remove that file if it belongs to another sweep, or gather in the folder to which it belongs".into(),
        ),
        StoreError::Damaged(ref path, _) if path.parent().is_some_and(|folder| folder.ends_with(SHARDS)) => {
            Error::WrongInput(text, "make that shard again, which replaces the file".into())
        }
        StoreError::Damaged(..) | StoreError::OtherProgram(..) => {
            Error::WrongInput(text, "begin the sweep again in another directory".into())
        }
        StoreError::Busy(_) => Error::Study(text),
    }
}

/// Ends a command whose comparison of configurations was interrupted, or failed.
pub(crate) fn not_compared(error: PairsError, screen: &Screen) -> Result<Exit, Error> {
    match error {
        PairsError::Stopped => {
            let kept = format!("interrupted: finished runs are kept in {RUNS}; the same command continues\n");
            screen.remark(&kept);
            Ok(Exit::Interrupted)
        }
        PairsError::Problems(problems) => Err(Error::Problems(problems)),
        PairsError::Kept(error) => Err(store_error(error)),
        other => Err(Error::Study(other.to_string())),
    }
}

/// A figure in the unit that its name says, as people read it.
pub(crate) fn shown(name: &str, figure: f64) -> String {
    match name.rsplit('.').next().unwrap_or(name) {
        of if of.ends_with("_per_s") => rate(figure),
        of if of.ends_with("_s") && figure < 0.0 => format!("-{}", Span::from_secs_f64(-figure)),
        of if of.ends_with("_s") => Span::from_secs_f64(figure).to_string(),
        of if of.ends_with("_share") || of == "utilisation" => percent(figure),
        _ => number(figure),
    }
}

/// A mean and its half width: `12.3ms ±410us`.
pub(crate) fn estimated(name: &str, estimate: Option<Estimate>) -> String {
    let Some(estimate) = estimate else { return "-".into() };
    let mean = shown(name, estimate.mean);
    match estimate.half_width {
        Some(half) if half > 0.0 => format!("{mean} ±{}", shown(name, half)),
        _ => mean,
    }
}

/// Verdicts of SLOs over the runs of a point or a configuration.
fn held(passed: usize, runs: usize) -> TableCell {
    let style = match passed {
        n if n == runs => Style::Good,
        0 => Style::Bad,
        _ => Style::Warn,
    };
    TableCell::new(format!("{passed}/{runs}"), style)
}

/// A table of points for each load.
pub(crate) fn points(experiment: &Experiment, plan: &Plan, points: &[PointSummary], paint: Paint) -> String {
    let (seeds, axes) = (plan.varied.seeds.len() as u64, &plan.varied.axes);
    let mut out = paint.on(Style::Bold, &plan.name);
    if let ([], [point]) = (&axes[..], points) {
        return out + &format!("  {}\n", plural(seeds, "seed")) + &one_point(experiment, point, paint);
    }
    out += &format!("  {}, {}\n", plural(points.len() as u64, "point"), plural(seeds, "seed"));
    let names = headings(&axes.iter().map(|axis| axis.path()).collect::<Vec<_>>());
    let shown_points = &points[..points.len().min(POINTS_MAX)];
    for load in &experiment.mesh.loads {
        let mut table = Table::new(names.iter().map(|name| format!("<{name}")).collect::<Vec<_>>());
        OF_POINTS.iter().for_each(|(_, heading)| table.heading(*heading));
        if !experiment.slos.is_empty() {
            table.heading("SLOs hold");
        }
        for point in shown_points {
            let mut cells: Vec<TableCell> = point.values.iter().map(|setting| setting.value.as_str().into()).collect();
            for (figure, _) in OF_POINTS {
                let name = format!("load.{}.{figure}", load.name);
                cells.push(estimated(&name, point.estimate(&name)).into());
            }
            if !experiment.slos.is_empty() {
                cells.push(held(point.passed, point.runs));
            }
            table.row(cells);
        }
        out += &format!("\n{}\n{}", paint.on(Style::Bold, &load.name), table.render(paint));
    }
    let left_out = points.len() - shown_points.len();
    if left_out > 0 {
        out += &dim(paint, &format!("{} not shown; all are in points.csv", plural(left_out as u64, "point")));
    }
    out + &care(points, paint)
}

/// All figures of an experiment's loads, and the utilisation of its services.
fn one_point(experiment: &Experiment, point: &PointSummary, paint: Paint) -> String {
    let mut out = String::new();
    for load in &experiment.mesh.loads {
        let mut table = Table::new(["<figure", "mean", "<"]);
        let prefix = format!("load.{}.", load.name);
        for figure in &point.figures {
            let Some(name) = figure.name.strip_prefix(&prefix) else { continue };
            let mean = figure.estimate.map_or_else(|| "-".into(), |it| shown(name, it.mean));
            let half = figure.estimate.and_then(|it| it.half_width).map(|half| format!("±{}", shown(name, half)));
            table.row([name.into(), mean.into(), TableCell::new(half.unwrap_or_default(), Style::Dim)]);
        }
        out += &format!("\n{}\n{}", paint.on(Style::Bold, &load.name), table.render(paint));
    }
    let mut busy = Table::new(["<service", "slots in use", "<", "waited", "<"]);
    for service in &experiment.mesh.services {
        let of = |figure: &str| {
            let name = format!("services.{}.{figure}", service.name);
            let estimate = point.estimate(&name);
            let half = estimate.and_then(|it| it.half_width).map(|half| format!("±{}", shown(&name, half)));
            let mean = estimate.map_or_else(|| "-".into(), |it| shown(&name, it.mean));
            [mean.into(), TableCell::new(half.unwrap_or_default(), Style::Dim)]
        };
        let ([used, used_half], [waited, waited_half]) = (of("utilisation"), of("waited_mean_s"));
        busy.row([service.name.as_str().into(), used, used_half, waited, waited_half]);
    }
    out += &format!("\n{}\n{}", paint.on(Style::Bold, "Services"), busy.render(paint));
    if !experiment.slos.is_empty() {
        let style = if point.passed == point.runs { Style::Good } else { Style::Bad };
        let text = format!("all SLOs hold in {} of {} runs", point.passed, point.runs);
        out += &format!("\n{}\n", paint.on(style, &text));
    }
    out + &care(std::slice::from_ref(point), paint)
}

/// Notes on unreliable figures, and on points without any.
fn care(points: &[PointSummary], paint: Paint) -> String {
    let mut out = String::new();
    let (short, runs) = points.iter().fold((0, 0), |(short, runs), point| (short + point.short, runs + point.runs));
    if short > 0 {
        let text = format!(
            "{short} of {}: too short for its queues; a longer `duration` tells more",
            plural(runs as u64, "run")
        );
        out += &format!("  {}\n", paint.on(Style::Warn, &text));
    }
    for point in points.iter().filter(|point| point.broken.is_some()).take(3) {
        let why = point.broken.as_deref().unwrap_or_default();
        out += &format!("  {}\n", paint.on(Style::Bad, &format!("point {}: {why}", point.point)));
    }
    if points.iter().any(|point| point.runs > 1) {
        out += &dim(paint, "means over the seeds, ± half the width of their 95 % intervals (Student's t)");
    }
    out
}

/// As short as paths can be and still differ: `geo.instances` for `services.geo.instances`.
fn headings(paths: &[&str]) -> Vec<String> {
    let ending = |path: &str, parts: usize| {
        let all: Vec<&str> = path.split('.').collect();
        all[all.len().saturating_sub(parts)..].join(".")
    };
    let is_clear = |parts: usize| {
        let short: Vec<String> = paths.iter().map(|path| ending(path, parts)).collect();
        short.iter().enumerate().all(|(index, one)| !short[..index].contains(one))
    };
    let parts = (2..8).find(|parts| is_clear(*parts)).unwrap_or(usize::MAX);
    paths.iter().map(|path| ending(path, parts)).collect()
}

fn dim(paint: Paint, text: &str) -> String {
    format!("  {}\n", paint.on(Style::Dim, text))
}

/// The limit of an experiment.
pub(crate) fn limit(experiment: &Experiment, limit: &Limit, paint: Paint) -> String {
    let what = match &limit.load {
        Some(load) => format!("load {load}"),
        None if experiment.mesh.loads.len() == 1 => format!("load {}", experiment.mesh.loads[0].name),
        None => "all loads together".into(),
    };
    let mut out =
        format!("{}  {what}, {} in the file\n\n", paint.on(Style::Bold, &limit.name), rate(limit.rate_in_file));
    if let Some(found) = limit.rate {
        let half = found.half_width.map(|half| format!(" ±{}/s", number(half))).unwrap_or_default();
        let text = format!("holds up to {}/s{half}", fine(found.mean));
        out += &format!("  {}", paint.on(Style::Good, &text));
        let seeds = plural(found.count as u64, "seed");
        let how =
            if found.half_width.is_some() { format!("  mean of {seeds}, 95 % interval") } else { format!("  {seeds}") };
        out += &paint.on(Style::Dim, &how);
        out.push('\n');
    }
    for failing in &limit.fails {
        let of = format!("in {} of {} runs", failing.runs, limit.by_seed.len());
        out += &format!(
            "  then {}  {}\n",
            paint.on(Style::Bad, &format!("{} fails", failing.slo)),
            paint.on(Style::Dim, &of)
        );
    }
    let mut busy = limit.busiest.iter().filter(|busy| busy.utilisation > 0.0);
    if let Some(first) = busy.next() {
        let others: Vec<String> = busy.map(|it| format!("{} {}", it.name, percent(it.utilisation))).collect();
        out += &format!("  busiest just below: {} {}", first.name, paint.on(Style::Warn, &percent(first.utilisation)));
        if !others.is_empty() {
            out += &paint.on(Style::Dim, &format!(", then {}", others.join(", ")));
        }
        out.push('\n');
    }
    if let Some(predicted) = &limit.predicted {
        let text = format!("check expects: {} of {} full at {}/s", predicted.of, predicted.name, fine(predicted.rate));
        out += &dim(paint, &format!("{text} of all loads"));
    }
    if !limit.is_monotone {
        let higher = limit.scan.iter().rev().find(|probe| probe.holds).map(|probe| fine(probe.rate));
        let text = format!("not monotone: {}/s held again in the scan", higher.unwrap_or_default());
        out += &format!("  {}\n", paint.on(Style::Warn, &text));
    }
    let marks: String = limit.scan.iter().map(|probe| if probe.holds { '+' } else { '-' }).collect();
    let ends = limit.scan.first().zip(limit.scan.last());
    if let Some((first, last)) = ends {
        let text = format!("scan from {}/s to {}/s: {marks}", fine(first.rate), fine(last.rate));
        out += &dim(paint, &text);
    }
    out
}

/// A rate with four significant digits: the precision of a limit.
fn fine(figure: f64) -> String {
    match figure {
        x if x >= 1000.0 || x <= 0.0 => number(x),
        x => {
            let digits = (3 - x.log10().floor() as i32).clamp(0, 6) as usize;
            format!("{x:.digits$}")
        }
    }
}

/// Configurations side by side, as text.
pub(crate) fn pairs(pairs: &Pairs, all: bool, paint: Paint) -> String {
    let base = pairs.configurations.first();
    let seeds = plural(pairs.seeds.len() as u64, "seed");
    let mut out = format!("{}  {seeds}, the same for each\n", paint.on(Style::Bold, "Configurations"));
    for (index, configuration) in pairs.configurations.iter().enumerate() {
        let letter = letter(index);
        let (passed, runs) = (configuration.passed, configuration.runs);
        out += &format!(
            "  {letter}  {}  {}\n",
            configuration.name,
            paint.on(Style::Dim, &format!("SLOs hold in {passed} of {runs} runs"))
        );
        for difference in &configuration.differences {
            out += &dim(paint, &format!("   {difference}"));
        }
        if index > 0 && configuration.differences.is_empty() {
            out += &dim(paint, "   simulates the same as A");
        }
    }
    let mut table = table_of_pairs(pairs, all);
    table = table.without_empty_columns(&[]);
    out += &format!("\n{}\n{}", paint.on(Style::Bold, "Figures"), table.render(paint));
    let (text, style) = verdict(pairs);
    out += &format!("\n{}\n", paint.on(style, &text));
    if base.is_some() && pairs.seeds.len() < 2 {
        out += &dim(paint, "one seed tells no difference from chance: give --seeds 10");
    }
    out + &dim(paint, "differences are taken seed by seed, ± half their 95 % interval; * more than chance (Holm, 5 %)")
}

fn verdict(pairs: &Pairs) -> (String, Style) {
    match pairs.marked {
        0 => ("no figure of a load differs by more than chance".into(), Style::Good),
        1 => ("1 figure of a load differs by more than chance".into(), Style::Warn),
        n => (format!("{n} figures of loads differ by more than chance"), Style::Warn),
    }
}

/// The figures that are shown: those of loads, and with `all` those of services.
fn shown_figures(pairs: &Pairs, all: bool) -> impl Iterator<Item = &FigurePairs> {
    let is_something = |figure: &&FigurePairs| {
        figure.estimates.iter().any(|estimate| estimate.is_some_and(|estimate| estimate.mean != 0.0))
    };
    pairs.figures.iter().filter(move |figure| all || figure.name.starts_with("load.")).filter(is_something)
}

fn table_of_pairs(pairs: &Pairs, all: bool) -> Table {
    let mut table = Table::new(["<figure"]);
    for index in 0..pairs.configurations.len() {
        table.heading(letter(index));
        if index > 0 {
            table.heading(format!("{} - A", letter(index)));
            table.heading("");
        }
    }
    for figure in shown_figures(pairs, all) {
        let mut cells = vec![TableCell::from(figure.name.trim_start_matches("load."))];
        for (index, estimate) in figure.estimates.iter().enumerate() {
            cells.push(estimate.map_or_else(|| "-".into(), |it| shown(&figure.name, it.mean)).into());
            if index > 0 {
                let difference = figure.differences[index - 1];
                let style = difference.map_or(Style::Dim, |it| if it.is_marked { Style::Warn } else { Style::Dim });
                cells.push(TableCell::new(
                    difference.map_or_else(String::new, |it| difference_text(&figure.name, it)),
                    style,
                ));
                cells.push(TableCell::new(share_text(figure, index), style));
            }
        }
        table.row(cells);
    }
    table
}

fn difference_text(name: &str, difference: Difference) -> String {
    let mark = if difference.is_marked { " *" } else { "" };
    let sign = if difference.estimate.mean > 0.0 { "+" } else { "" };
    format!("{sign}{}{mark}", estimated(name, Some(difference.estimate)))
}

/// The difference as a share of the base.
fn share_text(figure: &FigurePairs, index: usize) -> String {
    let base = figure.estimates[0].map_or(0.0, |base| base.mean);
    match figure.differences[index - 1] {
        Some(difference) if base != 0.0 && difference.estimate.mean != 0.0 => {
            let text = format!("{:+.1}%", difference.estimate.mean / base * 100.0);
            if matches!(text.as_str(), "+0.0%" | "-0.0%") { String::new() } else { text }
        }
        _ => String::new(),
    }
}

/// Configurations side by side, as a table in Markdown.
/// Text that Markdown shows as it is, also in a cell of a table.
pub(crate) fn markdown_text(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;").replace('`', "'")
}

pub(crate) fn pairs_markdown(pairs: &Pairs, all: bool) -> String {
    let mut out = String::new();
    for (index, configuration) in pairs.configurations.iter().enumerate() {
        let (passed, runs) = (configuration.passed, configuration.runs);
        out += &format!(
            "- **{}** {}: SLOs hold in {passed} of {runs} runs\n",
            letter(index),
            markdown_text(&configuration.name)
        );
        configuration.differences.iter().for_each(|it| out += &format!("  - {}\n", markdown_text(it)));
    }
    let (mut heading, mut rule) = ("\n| figure | A |".to_owned(), "| --- | ---: |".to_owned());
    for index in 1..pairs.configurations.len() {
        let letter = letter(index);
        heading += &format!(" {letter} | {letter} - A | |");
        rule += " ---: | ---: | ---: |";
    }
    out += &format!("{heading}\n{rule}\n");
    for figure in shown_figures(pairs, all) {
        out += &format!("| {} |", markdown_text(&figure.name));
        for (index, estimate) in figure.estimates.iter().enumerate() {
            out += &format!(" {} |", estimate.map_or_else(|| "-".into(), |it| shown(&figure.name, it.mean)));
            if index > 0 {
                let difference = figure.differences[index - 1];
                let text = difference.map_or_else(String::new, |it| difference_text(&figure.name, it));
                let text = if text.ends_with('*') { format!("**{}**", text.trim_end_matches(" *")) } else { text };
                out += &format!(" {text} | {} |", share_text(figure, index));
            }
        }
        out.push('\n');
    }
    out + &format!("\n{}. Bold: more than chance.\n", verdict(pairs).0)
}
