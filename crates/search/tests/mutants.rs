//! Faults that are built into the protocol on purpose: a campaign finds each, so it would find others of their kind.
//!
//! `mutants.txt` is the table of the seeds that were needed. `MESHSIM_BLESS=1` writes it anew.

use std::path::Path;
use std::sync::Mutex;

use meshsim_mesh::mutant::Mutant;
use meshsim_search::campaign::try_seed;

/// Seeds in which a mutant must be found.
const SEEDS_MAX: u64 = 5_000;

/// How a mutant was found.
struct Found {
    seeds: u64,
    rule: String,
}

fn find(mutant: Mutant) -> Option<Found> {
    mutant.scope(|| {
        (1..=SEEDS_MAX).find_map(|seed| {
            let (_, trial) = try_seed(seed, None).unwrap_or_else(|error| panic!("{error}"));
            let rule = trial.broken.first()?.rule.to_owned();
            Some(Found { seeds: seed, rule })
        })
    })
}

/// All mutants on two threads, in their order.
fn find_all() -> Vec<(Mutant, Option<Found>)> {
    let (left, found) = (Mutex::new(Mutant::ALL.to_vec()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let next = left.lock().expect("no thread panics").pop();
                    let Some(mutant) = next else { return };
                    let of_it = find(mutant);
                    found.lock().expect("no thread panics").push((mutant, of_it));
                }
            });
        }
    });
    let mut found = found.into_inner().expect("no thread panics");
    found.sort_by_key(|(mutant, _)| *mutant);
    found
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a table is written only when this asks for it")]
fn a_campaign_finds_each_mutant() {
    let found = find_all();
    let mut table = format!("{:<26} {:>5}  rule that is broken first\n", "mutant", "seeds");
    for (mutant, found) in &found {
        let (seeds, rule) = found.as_ref().map_or(("-".into(), "none"), |it| (it.seeds.to_string(), &it.rule));
        table += &format!("{:<26} {seeds:>5}  {rule}\n", mutant.name());
    }
    println!("{table}");
    let hidden: Vec<String> = found.iter().filter(|(_, it)| it.is_none()).map(|(mutant, _)| mutant.name()).collect();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mutants.txt");
    if std::env::var("MESHSIM_BLESS").is_ok() {
        std::fs::write(&file, &table).expect("the table can be written");
    }
    assert!(hidden.is_empty(), "not found within {SEEDS_MAX} seeds: {}", hidden.join(", "));
    let written = std::fs::read_to_string(&file).expect("the table is there");
    let listed: Vec<&str> = written.lines().skip(1).filter_map(|line| line.split_whitespace().next()).collect();
    let names: Vec<String> = found.iter().map(|(mutant, _)| mutant.name()).collect();
    assert_eq!(listed, names, "the table lists other mutants: MESHSIM_BLESS=1 writes it anew");
}
