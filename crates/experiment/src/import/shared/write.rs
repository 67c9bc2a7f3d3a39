//! A draft as an experiment file that a person can read and edit.
//!
//! A run needs some values that the source does not give. Every such value is chosen here or in an importer, is in the
//! file like any other, and is listed as guessed.

use std::collections::BTreeMap;

use meshsim_actor::Span;

use super::draft::{Arrivals, Change, Draft, Stage};
use super::graph::HOP;
use super::guess::Guess;
use super::names::Names;
use super::reading::{Notes, Reading};
use super::units::{show_number, show_span};
use super::yaml::{Yaml, name};

/// Between the starts of services that wait for each other, in seconds.
const START_GAP_S: u32 = 1;

/// Services that would start later than this many gaps start together, so that the run does not end before.
const START_LEVELS_MAX: u32 = 30;

/// A run is at least this long.
const DURATION_MIN: Span = Span::from_secs(60);

/// A stage that lasts to the end of a run of any duration.
const FOREVER: &str = "365d";

/// Items of one kind that the header lists.
const HEADER_ITEMS_MAX: usize = 40;

/// Writes everything but the header. What it has to make up it notes as guessed. `visits` are the draft's, by entry.
pub(crate) fn body(draft: &Draft, visits: &[f64], experiment: &str, reading: &mut Reading) -> String {
    let names = Names::new(draft);
    let guess = Guess::make(draft, visits, reading);
    let begin = begin(draft, reading);
    let duration = draft.duration.map_or(Span::ZERO, |planned| planned + begin).max(DURATION_MIN);
    let network = Yaml::Map(vec![("latency".to_owned(), Yaml::plain(show_span(HOP)))]);
    let tall = |comment: &str, value| Yaml::Tall(Some(comment.to_owned()), Box::new(value));
    let mut entries = vec![
        ("name".to_owned(), Yaml::plain(name(experiment))),
        ("seed".to_owned(), Yaml::plain("1")),
        ("duration".to_owned(), Yaml::plain(show_span(duration))),
        ("nodes".to_owned(), tall("Where it runs.", nodes(&guess, &names))),
        ("network".to_owned(), network),
    ];
    reading.guess(match draft.duration {
        Some(_) if duration > DURATION_MIN => {
            format!("duration {}, so that all that the source plans is seen", show_span(duration))
        }
        _ => format!("duration {}", show_span(duration)),
    });
    reading.guess(format!("a network of {} one way", show_span(HOP)));

    let services = draft.services.iter().enumerate().map(|(number, service)| {
        let value = names.service_value(service, guess.slots[number], guess.cpu[number]);
        (
            names.service(&service.name),
            if draft.services.len() <= 40 { Yaml::Tall(None, Box::new(value)) } else { value },
        )
    });
    entries.push(("services".to_owned(), tall("What runs.", Yaml::Map(services.collect()))));
    let mut operations = starts(draft, &names, reading);
    operations.extend(draft.changes.iter().map(|it| change(it, begin, &names)));
    if !operations.is_empty() {
        entries.push(("operations".to_owned(), tall("What is done to it.", Yaml::List(operations))));
    }
    if !draft.entries.is_empty() {
        let load = load(draft, &guess.arrivals, begin, &names, reading);
        entries.push(("load".to_owned(), tall("What is asked of it.", load)));
    }
    Yaml::document(&entries)
}

/// Header above the body.
pub(crate) fn header(sources: &str, draft: &Draft, notes: &Notes) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        for (index, wrapped) in wrap(text, 116).iter().enumerate() {
            let indent = if index > 0 && text.starts_with("  ") { "    " } else { "" };
            out.push_str(format!("# {indent}{wrapped}").trim_end());
            out.push('\n');
        }
    };
    line(&format!("Imported from {sources}."));
    notes.flags.iter().for_each(|flag| line(&format!("NOTE: {flag}.")));
    let mut section = |title: &str, items: &[String]| {
        if !items.is_empty() {
            line("");
            line(title);
            items.iter().take(HEADER_ITEMS_MAX).for_each(|item| line(&format!("  - {item}")));
            if items.len() > HEADER_ITEMS_MAX {
                line(&format!("  - and {} more", items.len() - HEADER_ITEMS_MAX));
            }
        }
    };
    section("Guessed, because the source does not say; write what you know better:", &notes.guessed);
    section("Other than in the source:", &draft.differences);
    section("Ignored, because it is not modelled:", &notes.ignored);
    out.push('\n');
    out
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let lead: String = text.chars().take_while(|c| *c == ' ').collect();
    let mut lines = vec![lead];
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is a line");
        if !last.trim().is_empty() && last.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if !last.trim().is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

fn nodes(guess: &Guess, names: &Names) -> Yaml {
    let (count, cores) = (guess.nodes.to_string(), guess.node_cores.to_string());
    let node = [("name", names.group.clone()), ("count", count), ("cores", cores)];
    Yaml::List(vec![Yaml::Map(node.map(|(key, value)| (key.to_owned(), Yaml::plain(value))).into())])
}

/// Start of the load, and of the source's own schedule: after the last service has started.
fn begin(draft: &Draft, reading: &mut Reading) -> Span {
    if draft.services.iter().all(|service| service.after.is_empty()) {
        return Span::ZERO;
    }
    let last = draft.start_levels(reading).into_iter().max().unwrap_or(0).min(START_LEVELS_MAX);
    Span::from_secs(u64::from((last + 1) * START_GAP_S))
}

/// A service becomes another version of itself, all instances at once.
fn change(change: &Change, begin: Span, names: &Names) -> Yaml {
    Yaml::Map(vec![
        ("at".to_owned(), Yaml::plain(show_span(change.at + begin))),
        ("update".to_owned(), Yaml::plain(names.service(&change.service))),
        ("to".to_owned(), Yaml::plain(change.version.to_string())),
        ("rate".to_owned(), Yaml::plain("1")),
    ])
}

/// Deploys in the order in which services wait for each other; none if no service waits.
fn starts(draft: &Draft, names: &Names, reading: &mut Reading) -> Vec<Yaml> {
    if draft.services.iter().all(|service| service.after.is_empty()) {
        return vec![];
    }
    let levels = draft.start_levels(reading);
    reading.guess(format!("{START_GAP_S}s between the starts of services that wait for each other"));
    let mut rounds: BTreeMap<u32, Vec<Yaml>> = BTreeMap::new();
    for (number, service) in draft.services.iter().enumerate() {
        rounds.entry(levels[number].min(START_LEVELS_MAX)).or_default().push(Yaml::plain(names.service(&service.name)));
    }
    let operations = rounds.into_iter().map(|(level, services)| {
        let at = Yaml::plain(format!("{}s", level * START_GAP_S));
        Yaml::Map(vec![("at".into(), at), ("deploy".into(), Yaml::List(services))])
    });
    operations.collect()
}

/// A rate: `100/s`, or piece by piece.
fn arrivals(arrivals: &Arrivals) -> Yaml {
    let process = if arrivals.is_random { "poisson" } else { "constant" };
    let rate = |per_second: f64| Yaml::plain(format!("{}/s", show_number(per_second)));
    if let [only] = arrivals.stages[..]
        && only.from == only.to
    {
        return Yaml::pair(process, rate(only.from));
    }
    let stage = |stage: &Stage| {
        let length = stage.length.map_or_else(|| FOREVER.to_owned(), show_span);
        let mut fields = vec![("for".to_owned(), Yaml::plain(length)), ("rate".to_owned(), rate(stage.from))];
        if stage.to != stage.from {
            fields.push(("to".to_owned(), rate(stage.to)));
        }
        Yaml::Map(fields)
    };
    let stages = Yaml::List(arrivals.stages.iter().map(stage).collect());
    Yaml::Map(vec![("stages".to_owned(), stages), ("process".to_owned(), Yaml::plain(process))])
}

fn load(draft: &Draft, rate: &Arrivals, begin: Span, names: &Names, reading: &mut Reading) -> Yaml {
    let first = &draft.entries[0].service;
    // In a mix a bare name is an endpoint of `to`; an endpoint of another service has its service before it.
    let mix = draft.entries.iter().map(|entry| {
        let own = entry.service == *first;
        let target =
            if own { names.endpoint(first, &entry.endpoint) } else { names.both(&entry.service, &entry.endpoint) };
        (target, Yaml::plain(show_number(entry.weight)))
    });
    let mut fields = vec![("to".to_owned(), Yaml::plain(names.service(first)))];
    fields.push(("arrivals".into(), arrivals(rate)));
    if draft.entries.len() > 1 {
        fields.push(("mix".into(), Yaml::Map(mix.collect())));
    } else if names.endpoints_of(first) > 1 {
        fields[0].1 = Yaml::plain(names.target(first, &draft.entries[0].endpoint));
    }
    if !begin.is_zero() {
        fields.push(("from".into(), Yaml::plain(show_span(begin))));
    }
    // Our file has a default timeout.
    fields.push(("timeout".into(), Yaml::plain("none")));
    fields.push(("warmup".into(), Yaml::plain("5s")));
    reading.guess("a warmup of 5s");
    Yaml::Map(vec![(names.load.clone(), Yaml::Tall(None, Box::new(Yaml::Map(fields))))])
}
