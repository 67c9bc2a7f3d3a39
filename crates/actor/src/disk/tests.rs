use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::{Cell, Cx, Event, Input, Ledger, MachineAction, Rng, Time};

const STORE: ActorId = ActorId(0);
const CLIENT: ActorId = ActorId(1);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Word {
    Put(u64),
    /// All up to here is stored.
    Stored(u64),
    Pulse,
}

impl Message for Word {
    fn kind(&self) -> &'static str {
        "word"
    }

    fn reveals(&self) -> bool {
        matches!(self, Word::Stored(_))
    }
}

/// Keeps the highest number, acknowledges each message, and sends a pulse beside.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Store {
    stored: u64,
}

impl Actor for Store {
    type Msg = Word;
    type Tick = ();
    type Disk = u64;

    fn on(&mut self, event: Event<Word, ()>, cx: &mut Cx<'_, Word, ()>) {
        if let Event::Message { from, msg: Word::Put(number) } = event {
            self.stored = self.stored.max(number);
            cx.send(from, Word::Stored(self.stored));
            cx.send(from, Word::Pulse);
        }
    }

    fn disk(&self) -> u64 {
        self.stored
    }

    fn reboot(&mut self, found: Reboot<u64>) {
        match found {
            Reboot::Kept => {}
            Reboot::Found(stored) => self.stored = stored,
            Reboot::Wiped => self.stored = 0,
        }
    }
}

/// A store, and what has left it.
struct Bench {
    cell: Cell<Store>,
    ledger: Ledger,
    left: Vec<Envelope<Word>>,
    syncs: Vec<u64>,
}

impl Bench {
    fn new(sync: Option<Span>) -> Self {
        let cell = Cell::new(STORE, Store::default(), Rng::stream(1, "store"));
        let mut bench = Bench { cell, ledger: Ledger::default(), left: Vec::new(), syncs: Vec::new() };
        bench.take(Input::Start);
        bench.switch(MachineAction::Disk(sync));
        bench
    }

    fn take(&mut self, input: Input<Word>) {
        let mut out = Vec::new();
        self.cell.take(Time::ZERO, input, &mut self.ledger, &mut out, &mut ());
        for effect in out {
            match effect {
                Effect::Send(envelope) => self.left.push(envelope),
                Effect::Persist(position) => self.syncs.push(position),
                other => panic!("{other:?}"),
            }
        }
    }

    fn put(&mut self, number: u64) {
        self.take(Input::Deliver(Envelope { from: CLIENT, to: STORE, seq: 0, msg: Word::Put(number) }));
    }

    fn switch(&mut self, action: MachineAction) {
        let switched = self.cell.switch(Time::ZERO, action, &mut self.ledger, &mut ());
        switched.inputs.into_iter().for_each(|input| self.take(input));
    }

    /// The sync under way ends.
    fn synced(&mut self) {
        if let Some(position) = self.syncs.pop() {
            self.take(Input::Durable(position));
        }
    }

    /// The acknowledgements that have left.
    fn stored(&self) -> Vec<u64> {
        let stored = |it: &Envelope<Word>| if let Word::Stored(number) = it.msg { Some(number) } else { None };
        self.left.iter().filter_map(stored).collect()
    }

    fn pulses(&self) -> usize {
        self.left.len() - self.stored().len()
    }
}

const SLOW: Option<Span> = Some(Span::from_secs(1));

#[test]
fn an_acknowledgement_leaves_when_the_state_is_durable_and_other_messages_do_not_wait() {
    let mut bench = Bench::new(SLOW);
    bench.put(7);
    assert_eq!((bench.stored(), bench.pulses()), (vec![], 1));
    assert_eq!(bench.cell.durable_state(bench.syncs[0]), Some(&7));
    bench.synced();
    assert_eq!((bench.stored(), bench.pulses()), (vec![7], 1));
}

#[test]
fn a_second_copy_of_a_message_is_not_acknowledged_during_the_sync() {
    let mut bench = Bench::new(SLOW);
    bench.put(7);
    bench.put(7);
    assert_eq!((bench.stored(), bench.syncs.len()), (vec![], 1), "it changes nothing, so it is not written again");
    bench.synced();
    assert_eq!((bench.stored(), bench.syncs.len()), (vec![7, 7], 0));
    bench.put(7);
    assert_eq!(bench.stored(), [7, 7, 7], "what is durable already is acknowledged at once");
}

#[test]
fn all_that_comes_during_a_sync_shares_the_next_one() {
    let mut bench = Bench::new(SLOW);
    (1..=4).for_each(|number| bench.put(number));
    bench.synced();
    assert_eq!((bench.stored(), bench.syncs.len()), (vec![1], 1));
    bench.synced();
    assert_eq!((bench.stored(), bench.syncs.len()), (vec![1, 2, 3, 4], 0));
}

#[test]
fn messages_are_numbered_in_the_order_in_which_they_leave() {
    let mut bench = Bench::new(SLOW);
    (1..=3).for_each(|number| bench.put(number));
    bench.synced();
    bench.synced();
    bench.put(4);
    let numbers: Vec<u64> = bench.left.iter().map(|it| it.seq).collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
}

#[test]
fn the_end_of_a_sync_of_before_a_crash_releases_nothing() {
    let mut bench = Bench::new(SLOW);
    bench.put(1);
    let old = bench.syncs.pop().unwrap();
    bench.switch(MachineAction::Crash);
    bench.switch(MachineAction::Restart);
    bench.put(9);
    bench.take(Input::Durable(old));
    assert!(bench.stored().is_empty());
    bench.synced();
    assert_eq!(bench.stored(), [9]);
}

#[test]
fn a_full_disk_holds_acknowledgements_until_it_has_room() {
    let mut bench = Bench::new(Some(Span::MAX));
    assert_eq!(bench.cell.sync_span(), None);
    bench.put(3);
    bench.switch(MachineAction::Disk(SLOW));
    assert_eq!((bench.stored(), bench.cell.sync_span()), (vec![3], SLOW));
}

#[test]
fn a_disk_that_takes_no_time_any_more_is_forgotten_when_all_is_durable() {
    let mut bench = Bench::new(SLOW);
    (1..=2).for_each(|number| bench.put(number));
    bench.switch(MachineAction::Disk(None));
    assert_eq!((bench.stored(), bench.cell.sync_span()), (vec![1], Some(Span::ZERO)));
    bench.syncs.remove(0);
    bench.synced();
    assert_eq!(bench.stored(), [1, 2]);
    bench.put(3);
    assert_eq!((bench.stored(), bench.syncs.len()), (vec![1, 2, 3], 0));
}

#[test]
fn the_end_of_a_sync_on_an_earlier_disk_ends_none_on_a_later_one() {
    let mut bench = Bench::new(SLOW);
    bench.put(1);
    // The disk becomes fast, which ends the sync, and then slow again. The end that the host had planned comes late.
    let old = bench.syncs.pop().unwrap();
    bench.switch(MachineAction::Disk(None));
    bench.switch(MachineAction::Disk(SLOW));
    bench.put(9);
    bench.take(Input::Durable(old));
    assert_eq!(bench.stored(), [1]);
    bench.synced();
    assert_eq!(bench.stored(), [1, 9]);
}

#[test]
fn however_much_changes_during_a_sync_what_was_acknowledged_survives_a_crash() {
    let mut bench = Bench::new(SLOW);
    let many = CHANGES_MAX as u64 * 3;
    for round in 0..5 {
        (1..=many).for_each(|number| bench.put(round * many + number));
        bench.synced();
    }
    let acknowledged = bench.stored().into_iter().max().unwrap();
    bench.switch(MachineAction::Crash);
    assert!(acknowledged >= 4 * many && bench.cell.actor().stored >= acknowledged);
}

#[test]
fn a_crash_during_a_sync_keeps_any_number_of_the_states_in_their_order() {
    let mut found = std::collections::BTreeSet::new();
    for crash in 0..40 {
        let mut bench = Bench::new(SLOW);
        bench.cell = Cell::new(STORE, Store::default(), Rng::stream(crash, "store"));
        bench.take(Input::Start);
        bench.switch(MachineAction::Disk(SLOW));
        (1..=3).for_each(|number| bench.put(number));
        bench.switch(MachineAction::Crash);
        found.insert(bench.cell.actor().stored);
    }
    assert_eq!(found, [0, 1, 2, 3].into());
}

#[test]
fn what_no_message_has_revealed_is_lost_by_a_crash() {
    let mut bench = Bench::new(SLOW);
    bench.put(1);
    bench.synced();
    bench.take(Input::Deliver(Envelope { from: CLIENT, to: STORE, seq: 0, msg: Word::Pulse }));
    bench.switch(MachineAction::Crash);
    assert_eq!(bench.cell.actor().stored, 1);
    bench.switch(MachineAction::Wipe);
    assert_eq!(bench.cell.actor().stored, 0);
}

proptest! {
    /// Whatever happens, and in whatever order.
    #[test]
    fn what_was_acknowledged_survives_every_crash(happens in prop::collection::vec((0..6_u8, 0..50_u64), 1..80)) {
        let mut bench = Bench::new(SLOW);
        for (what, number) in happens {
            match what {
                0 | 1 => bench.put(number),
                2 | 3 => bench.synced(),
                4 => bench.switch(MachineAction::Disk((number > 10).then_some(Span::from_secs(number)))),
                _ => {
                    bench.switch(MachineAction::Crash);
                    let acknowledged = bench.stored().into_iter().max().unwrap_or(0);
                    prop_assert!(bench.cell.actor().stored >= acknowledged);
                    bench.switch(MachineAction::Restart);
                }
            }
        }
    }
}
