//! Divergence of two runs: the first record that is not the same in both, and the earlier inputs of its actor.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use meshsim_actor::ActorId;
use meshsim_mesh::message::{Msg, Tick};
use meshsim_report::plural;
use meshsim_report::table::{Paint, Style};
use meshsim_trace::{Entry, Record};

use super::line::{Lines, cut};
use super::source::Source;
use super::stream::Item;
use crate::error::Error;
use crate::screen::{Screen, paragraph, width};

/// Number of earlier inputs that are shown.
const BEFORE: usize = 5;

/// Characters of a content that are shown where two differ.
const CONTENT_CHARS: usize = 240;

/// Describes the first difference of two runs, or that there is none.
pub(crate) fn told(base: &Path, other: &Path, screen: &Screen) -> Result<String, Error> {
    let sources = [Source::open(base, screen)?, Source::open(other, screen)?];
    let paint = screen.paint();
    let [mut first, mut second] = [sources[0].flow()?, sources[1].flow()?];
    let next = |flow: &mut super::stream::Flow, source: &Source| {
        flow.next().transpose().map_err(|error| Error::Trace(source.path.clone(), error))
    };
    // Last inputs of each actor; the same in both runs so far.
    let mut taken: BTreeMap<ActorId, VecDeque<Item>> = BTreeMap::new();
    let mut same = 0;
    loop {
        let pair = [next(&mut first, &sources[0])?, next(&mut second, &sources[1])?];
        match pair {
            [None, None] => return Ok(format!("{} are the same in both\n", plural(same, "record"))),
            [Some(a), Some(b)] if is_same(&a.record, &b.record) => {
                same += 1;
                if matches!(
                    a.record.entry,
                    Entry::Start { .. } | Entry::Deliver(_) | Entry::Fire(_) | Entry::Durable(_)
                ) {
                    let last = taken.entry(a.record.actor).or_default();
                    last.push_back(a);
                    if last.len() > BEFORE {
                        last.pop_front();
                    }
                }
            }
            pair => return Ok(parted(&sources, &pair, &taken, same, paint)),
        }
    }
}

/// True if the same happened to the same actor at the same moment.
pub(crate) fn is_same(a: &Record<Msg, Tick>, b: &Record<Msg, Tick>) -> bool {
    (a.at, a.actor) == (b.at, b.actor) && a.entry == b.entry
}

fn parted(
    sources: &[Source; 2],
    pair: &[Option<Item>; 2],
    taken: &BTreeMap<ActorId, VecDeque<Item>>,
    same: u64,
    paint: Paint,
) -> String {
    let lines = |source: usize| Lines::new(&sources[source].names, Some(width()), paint);
    let mut text = format!("{} are the same in both; then they part\n", plural(same, "record"));
    text += &format!("{}\n", lines(0).heading());
    for (at, (name, item)) in ["A", "B"].into_iter().zip(pair).enumerate() {
        text += &format!("{}  {}\n", paint.on(Style::Bold, name), sources[at].label);
        text += &match item {
            Some(item) => format!("{}\n", lines(at).line(item)),
            None => "        nothing more\n".into(),
        };
    }
    // Equal lines differ in content that the line leaves out.
    if let [Some(a), Some(b)] = pair
        && lines(0).line(a) == lines(1).line(b)
    {
        let whole = |item: &Item| format!("{:?}", item.record.entry);
        let [a, b] = around(&whole(a), &whole(b), CONTENT_CHARS);
        text += "\nThey differ in what the lines leave out\n";
        text += &paragraph("", &format!("A  {a}"), 0, width());
        text += &paragraph("", &format!("B  {b}"), 0, width());
    }
    let mut actors: Vec<ActorId> = pair.iter().flatten().map(|item| item.record.actor).collect();
    actors.dedup();
    for actor in actors {
        let name = sources[0].names.actor(actor);
        let Some(last) = taken.get(&actor) else {
            text += &format!("\n{name} had taken in nothing before\n");
            continue;
        };
        text += &format!("\nWhat {name} had taken in before, in both\n");
        last.iter().for_each(|item| text += &format!("{}\n", lines(0).line(item)));
    }
    text
}

/// The parts of two texts, of so many characters, around the first place where they differ.
fn around(a: &str, b: &str, width: usize) -> [String; 2] {
    let alike = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let skipped = alike.saturating_sub(width / 2);
    [a, b].map(|text| {
        let begin = if skipped > 0 { "…" } else { "" };
        cut(&format!("{begin}{}", text.chars().skip(skipped).collect::<String>()), width)
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_texts_are_shown_where_they_differ() {
        let [a, b] = super::around("0123456789 capacity: 3 and more", "0123456789 capacity: 5 and more", 16);
        assert_eq!([a.as_str(), b.as_str()], ["…pacity: 3 and …", "…pacity: 5 and …"]);
    }
}
