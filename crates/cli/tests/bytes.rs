//! Properties of any bytes hold for the seeds of `fuzz`, for all their prefixes, and for random mutations of them; and
//! the seeds are up to date.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use meshsim_actor::{ActorId, EntryRef, Recorder, Span, Time};
use meshsim_mesh::Msg;
use meshsim_mesh::message::Tick;
use meshsim_net::golden;
use meshsim_run::Simulation;
use meshsim_trace::{Header, Writer};
use proptest::prelude::*;
use proptest::sample::Index;

#[expect(unreachable_pub, reason = "it is a crate of its own for cargo fuzz")]
#[path = "../../../fuzz/src/lib.rs"]
mod fuzz;

/// A mesh whose actors send messages of every kind within a second.
const SMALL: &str = "
name: small
seed: 3
duration: 1s
control: { heartbeat: 100ms }
nodes: [ { name: node, count: 2, cores: 4 } ]
services:
  front: { instances: 2, capacity: 8, endpoints: { ask: { script: [ work: 2ms, call: back ] } } }
  back: { instances: 4, capacity: 4, endpoints: { answer: { script: [ work: { exponential: 2ms } ] } } }
operations:
  - { at: 200ms, extend: back, to: 8, rate: 0.5, every: 50ms }
load:
  users: { to: front, arrivals: { poisson: 100/s } }
";

/// The first message of each kind.
#[derive(Default)]
struct Firsts(BTreeMap<&'static str, Vec<u8>>);

impl Recorder<Msg, Tick> for Firsts {
    fn record(&mut self, at: Time, _: ActorId, what: EntryRef<'_, Msg, Tick>) {
        if let EntryRef::Send(envelope) = what {
            self.0.entry(meshsim_actor::Message::kind(&envelope.msg)).or_insert_with(|| {
                let mut frame = Vec::new();
                meshsim_wire::put_envelope(&mut frame, at, envelope).unwrap();
                frame
            });
        }
    }
}

/// Length and kind stand before a frame's body.
fn kind_and_body(frame: &[u8]) -> Vec<u8> {
    frame[4..].to_vec()
}

/// All seeds, by file.
fn seeds() -> BTreeMap<PathBuf, Vec<u8>> {
    let experiment = meshsim_experiment::parse("small.yaml", SMALL, Path::new("."), &[]).unwrap();
    let mut run = Simulation::recorded(&experiment, Firsts::default()).unwrap();
    let end = Time::ZERO + experiment.duration;
    run.to(end);

    let mut seeds = BTreeMap::new();
    let mut add = |folder: &str, name: &str, parts: &[&[u8]]| {
        seeds.insert(Path::new(folder).join(name), parts.concat());
    };
    for (id, actor) in (0..).map(ActorId).zip(run.actors()) {
        let mut found = vec![fuzz::FINDINGS];
        meshsim_wire::encode_into(&actor.results(end), &mut found).unwrap();
        add("payload", &format!("found-{}", run.mesh().actor_name(id)), &[&found]);
    }
    add("payload", "bundle", &[&[fuzz::BUNDLE], &serde_json::to_vec(&experiment.bundle()).unwrap()]);
    let said = &run.recorder().0;
    said.iter().for_each(|(kind, frame)| add("payload", kind, &[&kind_and_body(frame)]));
    let golden: BTreeMap<_, _> = golden::frames().into_iter().collect();
    golden.iter().for_each(|(name, frame)| add("payload", name, &[&kind_and_body(frame)]));

    let mesh = run.mesh();
    let names = (0..mesh.actor_count() as u32).map(|id| mesh.actor_name(ActorId(id)).to_owned());
    let header = Header { seed: experiment.seed, actors: names.collect(), ..Header::default() };
    let mut traced = Simulation::recorded(&experiment, Writer::new(Vec::new(), &header)).unwrap();
    traced.to(Time::ZERO + Span::from_millis(250));
    add("trace", "small", &[&traced.into_recorder().finish().unwrap()]);

    let stream = |names: &[&str]| names.iter().map(|name| golden[name].as_slice()).collect::<Vec<_>>().concat();
    let envelopes: Vec<u8> = said.values().flatten().copied().collect();
    let preface = meshsim_wire::preface();
    let (untrusted, trusted, inside) = ([0, 6], [1, 6], [3, 40]);
    add("frame", "dialler", &[&untrusted, &preface, &stream(&["hello-join", "proof", "ready", "findings", "done"])]);
    let welcomed = stream(&["challenge", "welcome-joined", "payload", "peers", "begin", "loss", "end", "leave"]);
    add("frame", "acceptor", &[&trusted, &preface, &welcomed]);
    add("frame", "refused", &[&untrusted, &preface, &stream(&["refusal"])]);
    add("frame", "messages", &[&inside, &envelopes]);
    add("frame", "http", &[&untrusted, b"GET / HTTP/1.1\r\nhost: meshsim\r\n\r\n"]);
    add("frame", "tls", &[&untrusted, &[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3]]);
    add("frame", "newer", &[&untrusted, b"MESHSM\xff\xff"]);
    add("frame", "nothing", &[&inside, &[0, 0, 0, 0]]);
    add("frame", "long", &[&inside, &[0xff, 0xff, 0xff, 0xff, 16]]);
    seeds
}

/// Every target has a seed and a binary, and every seed a target.
#[test]
fn every_target_has_seeds_and_a_binary() {
    let mut targets: Vec<String> = fuzz::TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    targets.sort();
    let listed = |path: &str| {
        let entries = fs::read_dir(folder().join("..").join(path)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    assert_eq!((listed("seeds"), listed("fuzz_targets")), (targets.clone(), targets.clone()));
    let manifest = fs::read_to_string(folder().join("../Cargo.toml")).unwrap();
    for target in targets {
        assert!(!stored(&target).is_empty(), "{target}");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target}");
    }
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds")
}

fn stored(folder_name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut stored = Vec::new();
    for entry in fs::read_dir(folder().join(folder_name)).unwrap() {
        let path = entry.unwrap().path();
        stored.push((Path::new(folder_name).join(path.file_name().unwrap()), fs::read(&path).unwrap()));
    }
    stored.sort();
    stored
}

use fuzz::ask;

/// Folders whose seeds are written by meshsim: our own formats.
const WRITTEN: [&str; 3] = ["frame", "payload", "trace"];

#[test]
fn the_seeds_are_what_is_written_today() {
    // If this fails, the format has changed: raise the wire's VERSION if there was a release, and make the seeds again
    // with
    // `MESHSIM_BLESS=1 cargo test -p meshsim --test bytes`.
    let written = seeds();
    if std::env::var_os("MESHSIM_BLESS").is_some() {
        for (path, bytes) in &written {
            fs::write(folder().join(path), bytes).unwrap();
        }
    }
    let stored: BTreeMap<PathBuf, Vec<u8>> = WRITTEN.iter().flat_map(|folder| stored(folder)).collect();
    assert_eq!(stored.keys().collect::<Vec<_>>(), written.keys().collect::<Vec<_>>());
    for (path, bytes) in written {
        assert!(stored[&path] == bytes, "{} is written otherwise", path.display());
    }
}

#[test]
fn each_seed_of_a_payload_can_be_read_and_none_of_its_beginnings_can() {
    let is_read = |bytes: &[u8]| {
        let [what, body @ ..] = bytes else { return false };
        match *what {
            fuzz::FINDINGS => meshsim_wire::decode::<meshsim_mesh::ActorResults>(body).is_ok(),
            fuzz::BUNDLE => serde_json::from_slice::<meshsim_experiment::Bundle>(body).is_ok(),
            kind => {
                let mut splitter = meshsim_wire::Splitter::new();
                splitter.trust();
                splitter
                    .room()
                    .extend_from_slice(&[&(body.len() as u32 + 1).to_le_bytes()[..], &[kind], body].concat());
                let frame = splitter.next_frame().unwrap().unwrap();
                golden::read::<Msg>(&frame).is_ok()
            }
        }
    };
    for (path, bytes) in stored("payload") {
        assert!(is_read(&bytes), "{}", path.display());
        // The ends of long ones say the same as those of short ones.
        for end in (1..bytes.len()).take(600) {
            assert!(!is_read(&bytes[..end]), "{} cut at {end}", path.display());
        }
    }
}

#[test]
fn each_seed_of_an_answer_to_ctl_is_shown() {
    let seeds = stored("ctl");
    let kinds: BTreeSet<u8> = seeds.iter().map(|(_, bytes)| bytes[0] % 8).collect();
    assert_eq!(kinds, (0..8).collect());
    for (path, bytes) in seeds {
        let shown = fuzz::shown(&bytes).unwrap_or_else(|| panic!("{} is no answer", path.display()));
        assert!(!shown.is_empty(), "{}", path.display());
    }
}

#[test]
fn properties_of_any_bytes_hold_for_the_seeds_and_their_prefixes() {
    for (folder, _) in fuzz::TARGETS {
        for (_, bytes) in stored(folder) {
            ask(folder, &bytes);
            // Texts are read anew each time, and a bundle cut anywhere is no JSON.
            let is_text = !WRITTEN.contains(&folder) || bytes.first() == Some(&fuzz::BUNDLE);
            let step = if is_text || folder == "trace" { 97 } else { 1 };
            (0..bytes.len()).step_by(step).for_each(|end| ask(folder, &bytes[..end]));
        }
    }
}

/// A mutation of a seed.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Flip(Index, u8),
    /// Numbers that mean most: none, the largest, the prefixes of long ones.
    Edge(Index, Index),
    Cut(Index),
    Remove(Index, Index),
    Insert(Index, Vec<u8>),
    /// A part of it again, elsewhere.
    Repeat(Index, Index, Index),
}

const EDGES: [&[u8]; 8] = [
    &[0],
    &[250],
    &[251, 0xff, 0xff],
    &[252, 0xff, 0xff, 0xff, 0xff],
    &[253, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    &[254],
    &[0xff, 0xff, 0xff, 0x7f],
    &[0, 0, 0, 0],
];

fn change() -> impl Strategy<Value = Change> {
    use any as a;
    prop_oneof![
        (a::<Index>(), a::<u8>()).prop_map(|(at, to)| Change::Set(at, to)),
        (a::<Index>(), 0u8..8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (a::<Index>(), a::<Index>()).prop_map(|(at, which)| Change::Edge(at, which)),
        a::<Index>().prop_map(Change::Cut),
        (a::<Index>(), a::<Index>()).prop_map(|(from, to)| Change::Remove(from, to)),
        (a::<Index>(), proptest::collection::vec(a::<u8>(), 1..20)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (a::<Index>(), a::<Index>(), a::<Index>()).prop_map(|(from, to, at)| Change::Repeat(from, to, at)),
    ]
}

fn changed(mut bytes: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        if bytes.is_empty() {
            break;
        }
        let len = bytes.len();
        let range = |from: &Index, to: &Index| {
            let (from, to) = (from.index(len), to.index(len));
            from.min(to)..from.max(to)
        };
        match change {
            Change::Set(at, to) => bytes[at.index(len)] = *to,
            Change::Flip(at, bit) => bytes[at.index(len)] ^= 1 << bit,
            Change::Edge(at, which) => {
                let at = at.index(len);
                bytes.splice(at..at + 1, which.get(&EDGES).iter().copied());
            }
            Change::Cut(at) => bytes.truncate(at.index(len)),
            Change::Remove(from, to) => drop(bytes.drain(range(from, to))),
            Change::Insert(at, more) => {
                let at = at.index(len);
                bytes.splice(at..at, more.iter().copied());
            }
            Change::Repeat(from, to, at) => {
                let part = bytes[range(from, to)].to_vec();
                let at = at.index(len);
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}

/// Number of mutated seeds that are tried; `.ci/fuzz` tries more where it cannot have libfuzzer.
#[expect(clippy::disallowed_methods, reason = "how much is asked decides nothing of a run")]
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_true_of_any_bytes_is_true_of_changed_streams(
        seed in any::<Index>(),
        changes in proptest::collection::vec(change(), 1..6),
    ) {
        let seeds = stored("frame");
        fuzz::frame(&changed(seed.get(&seeds).1.clone(), &changes));
    }

    #[test]
    fn what_is_true_of_any_bytes_is_true_of_changed_texts(
        target in any::<Index>(),
        seed in any::<Index>(),
        changes in proptest::collection::vec(change(), 1..6),
    ) {
        let (target, _) = target.get(&fuzz::TARGETS[2..]);
        let seeds = stored(target);
        ask(target, &changed(seed.get(&seeds).1.clone(), &changes));
    }

    #[test]
    fn what_is_true_of_any_bytes_is_true_of_changed_payloads(
        seed in any::<Index>(),
        changes in proptest::collection::vec(change(), 1..6),
    ) {
        let seeds = stored("payload");
        fuzz::payload(&changed(seed.get(&seeds).1.clone(), &changes));
    }
}
