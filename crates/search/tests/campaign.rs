//! Campaigns of drawn faults: the mesh breaks no rule, and what is found is the same however it is searched for.

use meshsim_search::campaign::{Campaign, search};

/// Seeds of the campaign; `MESHSIM_CAMPAIGN=10` makes it ten times as long.
#[expect(clippy::disallowed_methods, reason = "the length of a campaign is for its caller to say")]
fn seeds() -> u64 {
    60 * std::env::var("MESHSIM_CAMPAIGN").ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

#[test]
fn no_seed_breaks_a_rule() {
    let campaign = Campaign { first: 1, count: Some(seeds()), base: None, threads: 2 };
    let found = search(&campaign, |_| true).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(found.broken, None);
    assert_eq!(found.seeds, seeds());
    assert!(found.vacuous * 10 < found.seeds, "{} of {} seeds say nothing", found.vacuous, found.seeds);
    println!("{} seeds, {:?} never happened: {:?}", found.seeds, found.missing(), found.rare);
    assert!(!found.lacks_events() && found.missing().len() <= 8, "{:?}", found.missing());
}
