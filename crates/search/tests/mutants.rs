//! Faults that are built into the protocol on purpose: a campaign finds each, so it would find others of their kind.
//!
//! `mutants.txt` is the table of the seeds that were needed. The long test writes it anew with `MESHSIM_BLESS=1`.

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use meshsim_mesh::mutant::Mutant;
use meshsim_search::campaign::try_seed;

/// Seeds in which a mutant must be found, unless it is one of the [`RARE`] ones.
const SEEDS_MAX: u64 = 2_000;

/// Seeds in which the rare ones must be found.
const SEEDS_MAX_OF_RARE: u64 = 30_000;

/// Mutants that do harm only when several rare events come together.
const RARE: [Mutant; 4] =
    [Mutant::SnapshotWithoutUndeployed, Mutant::TailTooLong, Mutant::FormerLifeReports, Mutant::ReportsOfDeadKept];

/// Mutants that a campaign of [`SEEDS_MAX_OF_RARE`] seeds does not find. The exhaustive search of the protocol finds them
/// (`exhaustive`). One needs a step of an older term that comes after a later step, which waits for it, and after a
/// crash; the other an acknowledgement that comes after its node was wiped, and the loss of what the node is sent then.
const TOO_RARE: [Mutant; 2] = [Mutant::TermForgotten, Mutant::FormerLifeAcknowledges];

/// How a mutant was found.
struct Found {
    seeds: u64,
    rule: String,
}

fn find(mutant: Mutant, seeds_max: u64) -> Option<Found> {
    mutant.scope(|| {
        (1..=seeds_max).find_map(|seed| {
            let (_, trial) = try_seed(seed, None).unwrap_or_else(|error| panic!("{error}"));
            let rule = trial.broken.first()?.rule.to_owned();
            Some(Found { seeds: seed, rule })
        })
    })
}

/// Looks for these mutants on two threads; the result is in their order.
fn find_all(mutants: Vec<Mutant>, seeds_max: u64) -> Vec<(Mutant, Option<Found>)> {
    let (left, found) = (Mutex::new(mutants), Mutex::new(Vec::new()));
    let next = || left.lock().expect("no thread panics").pop();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(mutant) = next() {
                    let of_it = find(mutant, seeds_max);
                    found.lock().expect("no thread panics").push((mutant, of_it));
                }
            });
        }
    });
    let mut found = found.into_inner().expect("no thread panics");
    found.sort_by_key(|(mutant, _)| *mutant);
    found
}

fn assert_none_is_hidden(found: &[(Mutant, Option<Found>)]) {
    let hidden: Vec<String> = found.iter().filter(|(_, it)| it.is_none()).map(|(mutant, _)| mutant.name()).collect();
    assert!(hidden.is_empty(), "not found: {}", hidden.join(", "));
}

fn table_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mutants.txt")
}

#[test]
fn a_campaign_finds_each_mutant_that_is_not_rare() {
    let usual = Mutant::ALL.into_iter().filter(|mutant| !RARE.contains(mutant) && !TOO_RARE.contains(mutant));
    assert_none_is_hidden(&find_all(usual.collect(), SEEDS_MAX));
}

#[test]
fn the_table_lists_each_mutant() {
    let written = std::fs::read_to_string(table_file()).expect("the table is there");
    let listed: Vec<&str> = written.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(listed, Mutant::ALL.map(Mutant::name));
}

#[test]
#[ignore = "it takes minutes: a long campaign"]
#[expect(clippy::disallowed_methods, reason = "a table is written only when this asks for it")]
fn a_long_campaign_finds_each_mutant() {
    let mut found = find_all(Mutant::ALL.into_iter().filter(|it| !TOO_RARE.contains(it)).collect(), SEEDS_MAX_OF_RARE);
    assert_none_is_hidden(&found);
    found.extend(TOO_RARE.map(|mutant| (mutant, None)));
    found.sort_by_key(|(mutant, _)| *mutant);
    let mut table = format!("{:<26} {:>5}  rule that is broken first\n", "mutant", "seeds");
    for (mutant, found) in &found {
        let (seeds, rule) = found.as_ref().map_or(("-".into(), "none; the exhaustive search finds it"), |it| {
            (it.seeds.to_string(), it.rule.as_str())
        });
        table += &format!("{:<26} {seeds:>5}  {rule}\n", mutant.name());
    }
    println!("{table}");
    if std::env::var("MESHSIM_BLESS").is_ok() {
        std::fs::write(table_file(), &table).expect("the table can be written");
    }
}
