//! Hostile bytes at a process's port: one clear line, bounded memory, and the cluster continues.

mod common;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use common::cluster::Process;
use common::{PATIENCE, campaign, json, meshsim, pause, until};
use meshsim_actor::{ActorId, Envelope, Time};
use meshsim_fault::{Crash, Cut, Fault, Partition};
use meshsim_mesh::Msg;
use meshsim_net::{Join, golden};
use meshsim_wire::{
    Challenge, FRAME_BYTES_MAX, FrameKind, HELLO_BYTES_MAX, Hello, Nonce, PREFACE_BYTES, Refusal, Secret, Side,
    Splitter, VERSION, Welcome, encode_into, preface, put, put_envelope,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

/// Bound on a coordinator's memory beyond that before any peer connected.
const MEMORY_MAX: u64 = 32 << 20;

const SMALL: &str = "
name: small
seed: 3
duration: 3s
control: { heartbeat: 300ms }
nodes: [ { name: node, count: 3, cores: 4 } ]
services:
  front: { instances: 3, capacity: 8, endpoints: { ask: { script: [ work: 2ms, call: back ] } } }
  back: { instances: 6, capacity: 4, endpoints: { answer: { script: [ work: 2ms ] } } }
load:
  users: { to: front, arrivals: { poisson: 100/s } }
";

fn folder(name: &str) -> PathBuf {
    common::folder(name, SMALL)
}

impl Process {
    fn coordinator(folder: &Path, args: &[&str]) -> (Self, SocketAddr) {
        let fixed =
            ["coordinator", "mesh.yaml", "--until-stopped", "--http", "127.0.0.1:0", "--no-progress", "--out", "run"];
        let listen = if args.contains(&"--listen") { vec![] } else { vec!["--listen", "127.0.0.1:0"] };
        let process = Process::start(folder, "coordinator", &[&fixed[..], &listen, args].concat());
        let address = process.says("nodes and clients join at ").parse().unwrap();
        (process, address)
    }

    fn node(folder: &Path, name: &str, joins: SocketAddr, args: &[&str]) -> Self {
        Process::start(folder, name, &[&["node", "--name", name, "--join", &joins.to_string()], args].concat())
    }

    fn client(folder: &Path, joins: SocketAddr, args: &[&str]) -> Self {
        Process::start(folder, "users", &[&["client", "--join", &joins.to_string()], args].concat())
    }

    /// It ends with this code and these words, in lines that may be broken anywhere.
    #[track_caller]
    fn ends_with(mut self, code: i32, words: &str) {
        let ended = self.ends();
        let said = self.said();
        assert!(said.contains(words), "{} does not say {words:?} but {said}", self.name);
        assert_eq!(ended, Some(code), "{said}");
    }

    /// Memory that it has, in bytes.
    fn memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        kib.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Memory and descriptors that it came to have are gone again, or bounded.
    #[track_caller]
    fn is_as_before(&self, memory: u64, descriptors: usize) {
        until("its descriptors are closed", || (self.descriptors() <= descriptors).then_some(()));
        let now = self.memory();
        assert!(now < memory + MEMORY_MAX, "{} took {memory} bytes, and now {now}", self.name);
    }

    /// Such a peer causes one line that names its fault. At most ten such lines are written in a second.
    #[track_caller]
    fn complains(&self, words: &str, bad: impl FnOnce() -> TcpStream) {
        pause(150);
        let before = self.stderr().len();
        let stream = bad();
        let from = format!("closed the connection from {}: it ", stream.local_addr().unwrap());
        let said = until(&format!("{} says {from}{words}", self.name), || {
            let said = self.stderr();
            let (_, line) = said[before..].split_once(&from)?;
            line.split_once('\n').map(|(line, _)| line.to_owned())
        });
        assert!(said.contains(words), "{words:?} is not said, but {said:?}");
    }
}

/// Ends a run when requests have gone through the mesh; it must have gone well.
#[track_caller]
fn ends_well(folder: &Path, mut coordinator: Process, others: Vec<Process>) {
    let said = coordinator.said();
    let gateway = said.split("http://").nth(1).and_then(|rest| rest.split('/').next()).unwrap();
    let is_answered = || meshsim(folder, &["ctl", "--to", gateway, "ask", "front/ask"]).status.success();
    until("requests are answered", || is_answered().then_some(()));
    // Those of the load, too.
    pause(1000);
    coordinator.signal("TERM");
    assert_eq!(coordinator.ends(), Some(0), "{}", coordinator.said());
    for mut other in others {
        assert_eq!(other.ends(), Some(0), "{}: {}", other.name, other.said());
    }
    let summary = json(&folder.join("run/summary.json"));
    let done = summary["loads"][0]["requests"]["done"].as_u64().unwrap();
    assert!(done > 0, "no request was done: {}", summary["loads"]);
}

// Private messages of the crate that speaks the protocol; the golden frames show that they are the same.

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Purpose {
    Join(Join),
    Peer { process: u32, boot_id: u64, to: u64 },
    Probe,
}

#[derive(Debug, Deserialize)]
enum Answer {
    Joined(Joined),
    Bring,
    Well(String),
}

/// As much of it as is needed.
#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "all of them are on the wire")]
enum Control {
    Ping(u64),
    Pong(u64, u64),
    Payload(Vec<u8>),
    Ready(u64, u32),
    Peers(Vec<(Sender, String)>),
}

/// A process, its boot id, and its actors.
type Sender = (u32, u64, Vec<(ActorId, u32)>);

#[derive(Debug, Deserialize)]
#[expect(dead_code, reason = "all fields are on the wire")]
struct Joined {
    run: u64,
    process: u32,
    actors: Vec<(ActorId, u32)>,
    resumed: bool,
    is_busy: bool,
    is_traced: bool,
    payload_bytes: u64,
}

fn golden(name: &str) -> Vec<u8> {
    golden::frames().into_iter().find(|(golden, _)| *golden == name).unwrap().1
}

fn framed(kind: FrameKind, value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, kind, value).unwrap();
    out
}

/// A frame with any body.
fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 1).to_le_bytes()[..], &[kind], body].concat()
}

fn hello(cluster: &str, wish: Purpose) -> Vec<u8> {
    framed(FrameKind::Hello, &Hello { cluster: cluster.into(), wish, nonce: Nonce::fresh() })
}

fn join(name: &str) -> Join {
    let (role, names) = ("node".into(), vec![name.into()]);
    Join { role, names, hostname: "elsewhere".into(), boot_id: 1, address: ":1".into(), ..Join::default() }
}

fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends these bytes to a peer that must not get them, and waits for its response.
fn say(to: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = connect(to);
    // The other side may have closed already.
    let _ = stream.write_all(bytes);
    stream
}

/// A peer that knows how to shake hands.
struct Peer {
    stream: TcpStream,
    splitter: Splitter,
}

impl Peer {
    fn connect(to: SocketAddr) -> Self {
        Peer { stream: connect(to), splitter: Splitter::new() }
    }

    fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    fn more(&mut self) -> io::Result<()> {
        let mut bytes = [0; 1 << 14];
        let read = self.stream.read(&mut bytes)?;
        self.splitter.room().extend_from_slice(&bytes[..read]);
        if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    fn preface(&mut self) {
        while !self.splitter.preface().unwrap() {
            self.more().unwrap();
        }
    }

    /// The next frame: its body and its content.
    fn frame<V: for<'de> Deserialize<'de>>(&mut self, kind: FrameKind) -> (Vec<u8>, V) {
        loop {
            if let Some(frame) = self.splitter.next_frame().unwrap() {
                assert_eq!(frame.kind, kind, "{:?}", frame.value::<Refusal>());
                return (frame.bytes().to_vec(), frame.value().unwrap());
            }
            self.more().unwrap();
        }
    }

    /// Performs the handshake up to the proof.
    fn prove(to: SocketAddr, wish: Purpose, secret: &Secret) -> Self {
        let mut peer = Peer::connect(to);
        let hello = hello("meshsim", wish);
        peer.write(&[&preface(), &hello[..]].concat());
        peer.preface();
        let (challenge, _): (_, Challenge) = peer.frame(FrameKind::Challenge);
        // Length and kind stand before a body.
        let proof = secret.prove(Side::Dialler, &hello[5..], &challenge);
        peer.write(&framed(FrameKind::Proof, &proof));
        peer
    }

    fn meet(to: SocketAddr, wish: Purpose) -> (Self, Answer) {
        let mut peer = Peer::prove(to, wish, &Secret::none());
        let (_, welcome): (_, Welcome<Answer>) = peer.frame(FrameKind::Welcome);
        (peer, welcome.answer)
    }

    /// The boot id of another process, as the coordinator announces it.
    fn life_of(&mut self, process: u32) -> u64 {
        loop {
            if let (_, Control::Peers(peers)) = self.frame(FrameKind::Control)
                && let Some(((_, boot_id, _), _)) = peers.iter().find(|((other, ..), _)| *other == process)
            {
                return *boot_id;
            }
        }
    }

    /// Opens a connection for messages to a process that may not know its peer yet.
    fn bring(at: SocketAddr, process: u32, boot_id: u64, to: u64) -> Self {
        until("the process knows its peer", || {
            let mut peer = Peer::prove(at, Purpose::Peer { process, boot_id, to }, &Secret::none());
            loop {
                if let Some(frame) = peer.splitter.next_frame().unwrap() {
                    return (frame.kind == FrameKind::Welcome).then_some(peer);
                }
                peer.more().unwrap();
            }
        })
    }

    /// One that hosts a node.
    fn join(to: SocketAddr, name: &str) -> (Self, Joined) {
        match Peer::meet(to, Purpose::Join(join(name))) {
            (peer, Answer::Joined(joined)) => (peer, joined),
            (_, other) => panic!("{other:?}"),
        }
    }

    fn refused(mut self) -> Refusal {
        self.frame(FrameKind::Refusal).1
    }
}

/// Bytes sent to an acceptor, and bytes received from it.
type Recording = Arc<Mutex<[Vec<u8>; 2]>>;

/// Proxies the join of a process through this test, and records the bytes of both sides.
fn record(to: SocketAddr) -> (SocketAddr, Recording) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let recording = Recording::default();
    let both = recording.clone();
    let copy = |mut from: TcpStream, mut to: TcpStream, recording: Recording, side: usize| {
        thread::spawn(move || {
            let mut bytes = [0; 1 << 14];
            while let Ok(read @ 1..) = from.read(&mut bytes) {
                recording.lock().unwrap()[side].extend_from_slice(&bytes[..read]);
                if to.write_all(&bytes[..read]).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(Shutdown::Write);
        })
    };
    thread::spawn(move || {
        for dialler in listener.incoming() {
            let (dialler, acceptor) = (dialler.unwrap(), TcpStream::connect(to).unwrap());
            copy(dialler.try_clone().unwrap(), acceptor.try_clone().unwrap(), both.clone(), 0);
            copy(acceptor, dialler, both.clone(), 1);
        }
    });
    (address, recording)
}

/// The preface, the hello and the proof in the bytes of a dialler.
fn handshake_of(said: &[u8]) -> Vec<u8> {
    let mut end = PREFACE_BYTES;
    for kind in [FrameKind::Hello, FrameKind::Proof] {
        let length = u32::from_le_bytes(said[end..end + 4].try_into().unwrap()) as usize;
        assert_eq!(said[end + 4], kind as u8);
        end += 4 + length;
    }
    said[..end].to_vec()
}

/// A process that answers every peer with these bytes, and then stays connected.
fn acceptor(answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.write_all(&answer);
            kept.push(stream);
        }
    });
    address
}

/// Invalid openings of a dialler before its admission, with their error messages.
fn bad_openings() -> Vec<(Vec<u8>, String)> {
    let after_preface = |frame: &[u8]| [&preface()[..], frame].concat();
    let bare = |length: u32| after_preface(&length.to_le_bytes());
    let version = |version: u16| [&b"MESHSM"[..], &version.to_le_bytes()].concat();
    let no_text = |length: &[u8]| after_preface(&frame(1, length));
    let mut text = Vec::new();
    encode_into("meshsim", &mut text).unwrap();
    let of_join = |rest: &[u8]| after_preface(&frame(1, &[&text[..], &[0], rest].concat()));
    let two_to_the_34 = [253, 0, 0, 0, 0, 4, 0, 0, 0];
    let mut longer = golden("hello-join");
    longer.push(0);
    longer[0] += 1;
    vec![
        (vec![0; 64], "does not speak meshsim's protocol: it began with other bytes".into()),
        (
            b"GET / HTTP/1.1\r\nhost: mesh\r\n\r\n".to_vec(),
            "sent an HTTP request (the gateway listens on another port)".into(),
        ),
        (vec![0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3], "began a TLS handshake (is TLS on at one side only?)".into()),
        (b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(), "is an SSH client".into()),
        (
            version(VERSION - 1),
            format!("speaks version {} of the protocol, and this program version {VERSION}", VERSION - 1),
        ),
        (
            version(VERSION + 1),
            format!("speaks version {} of the protocol, and this program version {VERSION}", VERSION + 1),
        ),
        (bare(0), "sent a frame of no length".into()),
        (
            bare(HELLO_BYTES_MAX as u32 + 1),
            format!("announced a frame of {} bytes, and {HELLO_BYTES_MAX}", HELLO_BYTES_MAX + 1),
        ),
        (bare(FRAME_BYTES_MAX as u32), format!("announced a frame of {FRAME_BYTES_MAX} bytes, and {HELLO_BYTES_MAX}")),
        (bare(u32::MAX), format!("announced a frame of {} bytes, and {HELLO_BYTES_MAX}", u32::MAX)),
        (after_preface(&frame(99, &[])), "sent a frame of unknown kind 99".into()),
        (after_preface(&golden("ready")), "sent an unexpected frame of kind Control".into()),
        (after_preface(&golden("welcome-well")), "sent an unexpected frame of kind Welcome".into()),
        (
            no_text(&[253, 255, 255, 255, 255, 255, 255, 255, 127]),
            "sent a Hello that cannot be read: longer than".into(),
        ),
        (no_text(&two_to_the_34), "sent a Hello that cannot be read: longer than".into()),
        (no_text(&[200, b'x']), "sent a Hello that cannot be read: ends too early".into()),
        (of_join(&[&[0][..], &two_to_the_34].concat()), "claims more elements than it has bytes".into()),
        (of_join(&[0xff; 40]), "sent a Hello that cannot be read: malformed".into()),
        (after_preface(&longer), "sent a Hello that cannot be read: 1 bytes too many".into()),
        (
            after_preface(&hello("other\x1b[2J", Purpose::Probe)),
            r#"belongs to cluster "other\\u{1b}[2J", and this is "meshsim""#.into(),
        ),
    ]
}

#[test]
fn a_coordinator_says_what_is_wrong_with_who_comes_and_the_run_goes_on() {
    let folder = folder("coordinator");
    let (coordinator, address) = Process::coordinator(&folder, &[]);
    let (proxy, recording) = record(address);
    let mut others = vec![Process::node(&folder, "node-0", proxy, &[])];
    coordinator.says("is ready, with node-0");
    let (memory, descriptors) = (coordinator.memory(), coordinator.descriptors());

    // The two that take their time do so beside the others.
    let half_open = connect(address);
    let slow = connect(address);
    let mut slowly = slow.try_clone().unwrap();
    let slow_sender = thread::spawn(move || {
        for byte in [&preface()[..], &hello("meshsim", Purpose::Probe)].concat() {
            pause(200);
            if slowly.write_all(&[byte]).is_err() {
                break;
            }
        }
    });

    for (bytes, words) in bad_openings() {
        coordinator.complains(&words, || say(address, &bytes));
    }
    // A peer with another version is sent ours.
    let mut newer = Peer::connect(address);
    newer.write(b"MESHSM\xff\xff");
    newer.preface();

    coordinator.complains("does not know the cluster's secret", || {
        let peer = Peer::prove(address, Purpose::Probe, &Secret::new("not that of the cluster").unwrap());
        let stream = peer.stream.try_clone().unwrap();
        assert_eq!(peer.refused(), Refusal { why: "wrong secret".into(), retryable: false });
        stream
    });
    let handshake = handshake_of(&recording.lock().unwrap()[0]);
    coordinator.complains("does not know the cluster's secret", || say(address, &handshake));

    for (wish, words) in [
        (Purpose::Join(join("node-9")), r#"was refused: this run has no node called "node-9""#),
        (Purpose::Join(join("node-0")), "was refused: node-0 is taken by another process"),
        (Purpose::Join(join("\x1b[2J\n")), r"was refused: this run has no node called"),
        (Purpose::Join(Join { role: "no\x1b[2Jde".into(), ..join("node-1") }), "has no name that can be shown"),
        (Purpose::Join(Join { hostname: "x".repeat(10_000), ..join("node-1") }), "has no name that can be shown"),
        (Purpose::Join(Join { address: "nowhere".into(), ..join("node-1") }), r#"cannot resolve "nowhere""#),
        (Purpose::Join(Join { names: vec![], count: u32::MAX, ..join("") }), "nodes are wanted, and this run has 3"),
        (Purpose::Join(Join { names: vec![], count: 3, ..join("") }), "3 free nodes are wanted, and 1 of 3 are taken"),
        (
            Purpose::Join(Join { role: "gateway".into(), names: vec![], ..join("") }),
            "1 free gateways are wanted, and 1 of 1 are taken",
        ),
        (Purpose::Join(Join { role: "queen".into(), names: vec![], ..join("") }), "this run has no queen"),
        (Purpose::Peer { process: 1, boot_id: 1, to: 0 }, "was refused: the coordinator has not named you here"),
    ] {
        coordinator.complains(words, || {
            let peer = Peer::prove(address, wish, &Secret::none());
            let stream = peer.stream.try_clone().unwrap();
            peer.refused();
            stream
        });
    }
    let not_yet = Peer::prove(address, Purpose::Probe, &Secret::none()).refused();
    assert_eq!(not_yet, Refusal { why: "waits for node-1, node-2, users".into(), retryable: true });

    // Members that send messages of other roles. Each has the actors of the one before.
    let mut high = Vec::new();
    let crash = Crash { actors: [ActorId(u32::MAX)].into_iter().collect() };
    put(&mut high, FrameKind::Control, &(6u32, Fault::new(Time::ZERO, Time::NEVER, crash))).unwrap();
    let islands = vec![[ActorId(u32::MAX)].into_iter().collect(); 100_000];
    let partition = Partition { cut: Cut::Islands(islands), hold: false };
    put(&mut high, FrameKind::Control, &(6u32, Fault::new(Time::ZERO, Time::NEVER, partition))).unwrap();
    let envelope = Envelope { from: ActorId(0), to: ActorId(0), seq: 0, msg: Msg::Need { from: 0, to: 1 } };
    let mut of_another = Vec::new();
    put_envelope(&mut of_another, Time::NEVER, &envelope).unwrap();
    for (bytes, words) in [
        (golden("leave"), "said Leave, which is not for it to say now"),
        (golden("left"), "said Left, which is not for it to say now"),
        (golden("peers"), "said Peers("),
        (high, "said Fault(Fault {"),
        (
            golden("findings"),
            "said ActorResults { actor: #1, part: 3 bytes, last: true }, which is not for it to say now",
        ),
        (golden("trace"), "said Trace(3 bytes), which is not for it to say now"),
        (golden("done"), "said Done("),
        ([golden("ready"), golden("ready")].concat(), "said twice that it is ready"),
        (of_another, "sent a message of actor #0, which is not its own"),
        (golden("hello-probe"), "sent an unexpected frame of kind Hello"),
        ((FRAME_BYTES_MAX as u32 + 1).to_le_bytes().to_vec(), "and 4194305 is the most that is taken here"),
        (
            frame(17, &[8, 1, 253, 255, 255, 255, 255, 255, 255, 255, 127]),
            "sent a Control that cannot be read: longer than",
        ),
        (frame(16, &[0xff; 100]), "sent a Envelope that cannot be read"),
    ] {
        coordinator.complains(words, || {
            let (mut peer, _) = Peer::join(address, "node-1");
            peer.write(&bytes);
            peer.stream
        });
    }
    // One that asks and asks, and never listens.
    let (mut deaf, joined) = Peer::join(address, "node-1");
    let pings = golden("ping").repeat(4096);
    while deaf.stream.write_all(&pings).is_ok() {}
    coordinator.says(&format!("process {}, with node-1, broke off: it does not take what it is sent", joined.process));

    slow_sender.join().unwrap();
    for late in [&half_open, &slow] {
        coordinator.says(&format!("from {}: it did not finish the handshake in 5 s", late.local_addr().unwrap()));
    }
    drop((half_open, slow, deaf));
    coordinator.is_as_before(memory, descriptors);
    assert!(!coordinator.said().contains('\x1b'), "a peer must not write to the terminal of another");

    // All who were meant come, and the run begins and ends.
    for name in ["node-1", "node-2"] {
        others.push(Process::node(&folder, name, address, &[]));
    }
    others.push(Process::client(&folder, address, &[]));
    coordinator.says("all have joined: 5 processes");
    coordinator.complains("sent an HTTP request", || say(address, b"GET / HTTP/1.1\r\n\r\n"));
    coordinator.complains("ended the connection in the handshake", || {
        let stream = connect(address);
        stream.shutdown(Shutdown::Write).unwrap();
        stream
    });
    ends_well(&folder, coordinator, others);
}

#[test]
fn broken_streams_and_a_thousand_connections_block_no_peer() {
    let folder = folder("many");
    // Shells often begin with 1,024.
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let (coordinator, address) = Process::coordinator(&folder, &[]);
    let (proxy, recording) = record(address);
    let mut others = vec![Process::node(&folder, "node-0", proxy, &[])];
    coordinator.says("is ready, with node-0");
    let handshake = handshake_of(&recording.lock().unwrap()[0]);
    let (memory, descriptors) = (coordinator.memory(), coordinator.descriptors());

    // Cut after every byte, cleanly and by a reset.
    let cuts = handshake.len() * campaign();
    for end in (0..handshake.len()).cycle().take(cuts) {
        for cleanly in [true, false] {
            let mut stream = say(address, &handshake[..end]);
            if cleanly {
                stream.shutdown(Shutdown::Write).unwrap();
                // The response to such a peer, and then the end.
                let _ = stream.read_to_end(&mut Vec::new());
            }
        }
    }
    coordinator.is_as_before(memory, descriptors);
    pause(1000);
    coordinator.complains("began with other bytes", || say(address, b"?"));
    let said = coordinator.stderr();
    let lines = said.matches("closed the connection from").count();
    let silent = said.lines().filter_map(|line| {
        let (rest, _) = line.split_once(" more connections were closed for such reasons")?;
        rest.split_whitespace().last()?.parse::<usize>().ok()
    });
    assert_eq!(lines + silent.sum::<usize>(), 2 * cuts + 1, "each has its line, or is counted in one");

    // A thousand that say nothing, and a thousand that say the most that may be said before a proof.
    let mut names = Vec::new();
    let many = Join { names: vec![String::new(); HELLO_BYTES_MAX - 100], ..join("") };
    names.extend_from_slice(&preface());
    names.extend_from_slice(&hello("meshsim", Purpose::Join(many)));
    assert!(names.len() < HELLO_BYTES_MAX);
    let mut crowd: Vec<TcpStream> = (0..1000).map(|_| connect(address)).collect();
    crowd.extend((0..1000).map(|_| say(address, &names)));
    coordinator.says("was in the handshake still when 256 others had come after it");
    let full = coordinator.memory();
    assert!(full < memory + MEMORY_MAX, "{memory} bytes became {full}");
    // While they stand at the door, and more come all the time, others go through.
    let is_open = Arc::new(AtomicBool::new(true));
    let still_open = is_open.clone();
    let more = thread::spawn(move || {
        while still_open.load(Ordering::Relaxed) {
            crowd.push(connect(address));
            pause(5);
        }
    });
    for name in ["node-1", "node-2"] {
        others.push(Process::node(&folder, name, address, &[]));
        coordinator.says(&format!("is ready, with {name}"));
    }
    until("no more stand at the door", || {
        (coordinator.descriptors() <= descriptors + 256 + others.len()).then_some(())
    });
    is_open.store(false, Ordering::Relaxed);
    more.join().unwrap();
    others.push(Process::client(&folder, address, &[]));
    coordinator.says("all have joined: 5 processes");
    coordinator.is_as_before(memory, descriptors + others.len());
    ends_well(&folder, coordinator, others);
}

/// Sends heartbeats, and ignores all input.
fn keep(peer: &Peer) {
    let (mut reads, mut writes) = (peer.stream.try_clone().unwrap(), peer.stream.try_clone().unwrap());
    thread::spawn(move || io::copy(&mut reads, &mut io::sink()));
    thread::spawn(move || {
        while writes.write_all(&golden("ping")).is_ok() {
            pause(300);
        }
    });
}

#[test]
fn a_node_accepts_only_announced_peers_and_only_their_actors() {
    let folder = folder("node");
    let (coordinator, address) = Process::coordinator(&folder, &[]);
    let mut others = vec![Process::node(&folder, "node-0", address, &[])];
    others.push(Process::node(&folder, "node-1", address, &[]));
    others.push(Process::client(&folder, address, &[]));
    for name in ["node-0", "node-1", "users"] {
        coordinator.says(&format!("is ready, with {name}"));
    }
    let said = coordinator.said();
    // "process 2 at 127.0.0.1:1234 is ready, with node-0": numbers are given as they come, which may be in any order.
    let (before, _) = said.split_once(" is ready, with node-0").unwrap();
    let words: Vec<&str> = before.split_whitespace().collect();
    let [.., "process", number, "at", port] = words[..] else { panic!("{said}") };
    let (number, port): (u32, SocketAddr) = (number.parse().unwrap(), port.parse().unwrap());
    let (memory, descriptors) = (others[0].memory(), others[0].descriptors());

    let node = &others[0];
    for (bytes, words) in bad_openings() {
        node.complains(&words, || say(port, &bytes));
    }
    for (wish, words) in [
        (Purpose::Join(join("node-1")), "was refused: this process hosts actors itself; join the coordinator's"),
        (Purpose::Peer { process: 2, boot_id: 1, to: 0 }, "was refused: the coordinator has not named you here"),
        (Purpose::Peer { process: 0, boot_id: 0, to: 0 }, "was refused: the coordinator has not named you here"),
        (Purpose::Peer { process: u32::MAX, boot_id: 1, to: 0 }, "was refused: the coordinator has not named you here"),
    ] {
        node.complains(words, || {
            let peer = Peer::prove(port, wish, &Secret::none());
            let stream = peer.stream.try_clone().unwrap();
            peer.refused();
            stream
        });
    }
    assert!(matches!(Peer::meet(port, Purpose::Probe).1, Answer::Well(line) if line == "hosts its actors"));

    // A peer that is admitted, and then misbehaves.
    let (mut bad, joined) = Peer::join(address, "node-2");
    bad.write(&golden("ready"));
    let boot_id = bad.life_of(number);
    keep(&bad);
    coordinator.says("all have joined: 5 processes");
    let mut of_coordinator = Vec::new();
    let envelope = |from| Envelope { from: ActorId(from), to: ActorId(1), seq: 0, msg: Msg::Need { from: 0, to: 1 } };
    put_envelope(&mut of_coordinator, Time::ZERO, &envelope(0)).unwrap();
    let mut of_a_stranger = Vec::new();
    put_envelope(&mut of_a_stranger, Time::ZERO, &envelope(u32::MAX)).unwrap();
    for (bytes, words) in [
        (of_coordinator, "sent a message of actor #0, which is not its own"),
        (of_a_stranger, "sent a message of actor #4294967295, which is not its own"),
        (golden("end"), "said End {"),
        (golden("proof"), "sent an unexpected frame of kind Proof"),
    ] {
        node.complains(words, || {
            let mut peer = Peer::bring(port, joined.process, join("").boot_id, boot_id);
            peer.write(&bytes);
            peer.stream
        });
    }
    let strayed = Purpose::Peer { process: joined.process, boot_id: join("").boot_id, to: boot_id + 1 };
    let refusal = Peer::prove(port, strayed, &Secret::none()).refused();
    assert_eq!(refusal, Refusal { why: "another process is reached here".into(), retryable: true });
    // All others have connected to it meanwhile, and it to them.
    node.is_as_before(memory, descriptors + 8);

    // Its seat is free for one that is.
    bad.stream.shutdown(Shutdown::Both).unwrap();
    coordinator.says(&format!("process {}, with node-2, ", joined.process));
    others.push(Process::node(&folder, "node-2", address, &[]));
    until("the new one is ready", || (coordinator.said().matches("is ready, with node-2").count() == 2).then_some(()));
    ends_well(&folder, coordinator, others);
}

#[test]
fn a_secret_lets_in_who_knows_it_and_is_never_said() {
    let folder = folder("secret");
    let (coordinator, address) = Process::coordinator(&folder, &["--secret-file", "secret"]);
    fs::write(folder.join("other"), "sixteen characters, and more").unwrap();
    let (proxy, recording) = record(address);
    let right = ["--secret-file", "secret"];
    let mut others = vec![Process::node(&folder, "node-0", proxy, &right)];
    coordinator.says("is ready, with node-0");

    Process::node(&folder, "node-1", address, &["--secret-file", "other"]).ends_with(2, "refused: wrong secret");
    Process::node(&folder, "node-2", address, &[]).ends_with(2, "refused: wrong secret");
    until("both have a line", || {
        (coordinator.said().matches("it does not know the cluster's secret").count() == 2).then_some(())
    });

    // The recorded bytes are useless in a second connection, and reveal nothing of the secret.
    let [forth, back] = recording.lock().unwrap().clone();
    let secret = fs::read_to_string(folder.join("secret")).unwrap();
    for said in [&forth, &back] {
        assert!(!said.windows(16).any(|part| secret.as_bytes().windows(16).any(|of_secret| of_secret == part)));
    }
    let handshake = handshake_of(&forth);
    coordinator.complains("does not know the cluster's secret", || {
        let mut again = Peer::connect(address);
        again.write(&handshake);
        again.preface();
        again.frame::<Challenge>(FrameKind::Challenge);
        let stream = again.stream.try_clone().unwrap();
        assert_eq!(again.refused().why, "wrong secret");
        stream
    });
    // Nor is the acceptor's proof of use to a dialler.
    let pretender = acceptor(back);
    Process::node(&folder, "node-1", pretender, &right).ends_with(2, "does not know the cluster's secret");

    for name in ["node-1", "node-2"] {
        others.push(Process::node(&folder, name, address, &right));
    }
    others.push(Process::client(&folder, address, &right));
    coordinator.says("all have joined: 5 processes");
    ends_well(&folder, coordinator, others);
}

/// An authority, and certificates of it in files that are named so: for a node of a cluster, its coordinator and its
/// client (`-coordinator`, `-load`), for another name (`-named`), and for a node that accepts no connections
/// (`-client`).
fn certificates(folder: &Path, authority: &str, name: &str) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, authority);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let leaf_key = KeyPair::generate().unwrap();
    let leaf = |name: &str, usages: Vec<ExtendedKeyUsagePurpose>| {
        let mut params = CertificateParams::new(vec![name.into()]).unwrap();
        params.extended_key_usages = usages;
        params.signed_by(&leaf_key, &issuer).unwrap().pem()
    };
    for (file, text) in [
        (authority.to_owned(), certificate.pem()),
        (format!("{name}.crt"), leaf("node.meshsim", vec![])),
        (format!("{name}-coordinator.crt"), leaf("coordinator.meshsim", vec![])),
        (format!("{name}-load.crt"), leaf("client.meshsim", vec![])),
        (format!("{name}-named.crt"), leaf("elsewhere", vec![])),
        (format!("{name}-client.crt"), leaf("node.meshsim", vec![ExtendedKeyUsagePurpose::ClientAuth])),
        (format!("{name}.key"), leaf_key.serialize_pem()),
    ] {
        fs::write(folder.join(file), text).unwrap();
    }
}

fn tls<'a>(authority: &'a str, certificate: &'a str, key: &'a str) -> [&'a str; 6] {
    ["--tls-ca", authority, "--tls-cert", certificate, "--tls-key", key]
}

#[test]
fn a_cluster_with_tls_works_and_names_the_fault_of_a_foreign_peer() {
    let folder = folder("tls");
    certificates(&folder, "ours.pem", "ours");
    certificates(&folder, "theirs.pem", "theirs");
    let ours = tls("ours.pem", "ours.crt", "ours.key");
    let of_coordinator = tls("ours.pem", "ours-coordinator.crt", "ours.key");
    let of_client = tls("ours.pem", "ours-load.crt", "ours.key");
    let (coordinator, address) = Process::coordinator(&folder, &of_coordinator);
    let (memory, descriptors) = (coordinator.memory(), coordinator.descriptors());

    Process::node(&folder, "plain", address, &[]).ends_with(2, "sent a TLS alert (is TLS on at one side only?)");
    coordinator.says("it failed the TLS handshake: received corrupt message of type InvalidContentType (is TLS on at one side only?)");
    let other_certificate = tls("ours.pem", "theirs.crt", "theirs.key");
    Process::node(&folder, "other", address, &other_certificate)
        .ends_with(2, "failed the TLS handshake: received fatal alert");
    coordinator.says("it failed the TLS handshake: invalid peer certificate: UnknownIssuer");
    let other_authority = tls("theirs.pem", "theirs.crt", "theirs.key");
    Process::node(&folder, "foreign", address, &other_authority)
        .ends_with(2, "failed the TLS handshake: invalid peer certificate: UnknownIssuer");
    // They could join, but no peer could reach them.
    for unfit in ["ours-named.crt", "ours-client.crt", "ours-load.crt", "ours-coordinator.crt"] {
        let certificate = tls("ours.pem", unfit, "ours.key");
        Process::node(&folder, unfit, address, &certificate)
            .ends_with(2, "refused: the other processes will refuse its certificate");
    }
    coordinator.complains("failed the TLS handshake", || say(address, b"GET / HTTP/1.1\r\n\r\n"));
    coordinator.complains("did not finish the handshake in 5 s", || connect(address));
    coordinator.is_as_before(memory, descriptors);

    let nodes = ["node-0", "node-1", "node-2"].map(|name| Process::node(&folder, name, address, &ours));
    let mut others = Vec::from(nodes);
    others.push(Process::client(&folder, address, &of_client));
    coordinator.says("all have joined: 5 processes");
    let peer = address.to_string();
    let probe = [&["ctl", "health", "--peer", &peer][..], &of_client].concat();
    assert!(meshsim(&folder, &probe).status.success(), "a health check needs no knowledge of the role");
    ends_well(&folder, coordinator, others);

    // A node that says that it is the coordinator is not believed.
    let (_imposter, address) = Process::coordinator(&folder, &ours);
    Process::node(&folder, "deceived", address, &ours)
        .ends_with(2, "certificate not valid for name \"coordinator.meshsim\"");

    // The other way about.
    let (coordinator, address) = Process::coordinator(&folder, &[]);
    let alone = Process::node(&folder, "alone", address, &[&ours[..], &["--reconnect-timeout", "0"]].concat());
    alone.ends_with(1, "(is TLS on at one side only?)");
    coordinator.says("began a TLS handshake (is TLS on at one side only?)");
}

/// One authority is known to the coordinator, and not to the others.
#[test]
fn a_node_whose_certificate_its_peers_refuse_is_given_nothing_to_do() {
    let folder = folder("refused");
    certificates(&folder, "ours.pem", "ours");
    certificates(&folder, "theirs.pem", "theirs");
    let both = ["ours.pem", "theirs.pem"].map(|file| fs::read_to_string(folder.join(file)).unwrap()).concat();
    fs::write(folder.join("both.pem"), both).unwrap();
    let node = tls("ours.pem", "ours.crt", "ours.key");
    let (coordinator, address) = Process::coordinator(&folder, &tls("both.pem", "ours-coordinator.crt", "ours.key"));
    let mut others = Vec::from(["node-0", "node-1"].map(|name| Process::node(&folder, name, address, &node)));
    others.push(Process::node(&folder, "node-2", address, &tls("both.pem", "theirs.crt", "theirs.key")));
    others.push(Process::client(&folder, address, &tls("ours.pem", "ours-load.crt", "ours.key")));
    coordinator.says("all have joined: 5 processes");
    coordinator.says("with node-2, is given nothing to do: for process");
    let said = coordinator.said();
    let gateway = said.split("http://").nth(1).and_then(|rest| rest.split('/').next()).unwrap();
    let nodes = until("what it had is elsewhere", || {
        let status = meshsim(&folder, &["ctl", "--to", gateway, "--json", "status"]);
        let status: serde_json::Value = serde_json::from_slice(&status.stdout).ok()?;
        let is_all_ready = status["services"].as_array()?.iter().all(|it| it["ready"] == it["instances"]);
        (is_all_ready && status["nodes"][2]["instances"] == 0).then(|| status["nodes"].clone())
    });
    let states: Vec<&str> = (0..3).map(|node| nodes[node]["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["alive", "alive", "shunned"]);
    ends_well(&folder, coordinator, others);
}

#[test]
fn a_joiner_says_why_it_is_not_let_in_and_whether_it_is_of_use_to_wait() {
    let folder = folder("joiner");
    let (coordinator, address) = Process::coordinator(&folder, &[]);
    let old = Process::node(&folder, "node-0", address, &[]);
    coordinator.says("is ready, with node-0");
    let node = |file: &str, to: SocketAddr, args: &[&str]| {
        Process::start(&folder, file, &[&["node", "--join", &to.to_string()], args].concat())
    };

    let duplicate = node("duplicate", address, &["--name", "node-0", "--reconnect-timeout", "1"]);
    let unknown = node("unknown", address, &["--name", "node-9"]);
    let foreign = node("foreign", address, &["--cluster", "other"]);
    let mute = node("mute", acceptor(vec![]), &["--reconnect-timeout", "1"]);
    let older = node("older", acceptor([&b"MESHSM"[..], &[0, 0]].concat()), &[]);
    let newer = node("newer", acceptor([&b"MESHSM"[..], &[255, 255]].concat()), &[]);
    let web = node("web", acceptor(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()), &[]);
    let why = Refusal { why: format!("\x1b[2J{}", "why ".repeat(1000)), retryable: false };
    let rude = node("rude", acceptor([&preface()[..], &framed(FrameKind::Refusal, &why)].concat()), &[]);
    let bomb = node("bomb", acceptor([&preface()[..], &u32::MAX.to_le_bytes()].concat()), &[]);

    unknown.ends_with(2, r#"refused: this run has no node called "node-9""#);
    foreign.ends_with(2, "refused: this is another cluster");
    coordinator.says(r#"it belongs to cluster "other", and this is "meshsim""#);
    older.ends_with(
        2,
        &format!("speaks version 0 of the protocol, and this program version {VERSION}: run one release everywhere"),
    );
    newer.ends_with(2, &format!("speaks version 65535 of the protocol, and this program version {VERSION}"));
    web.ends_with(2, "does not speak meshsim's protocol: it began with other bytes");
    bomb.ends_with(2, &format!("announced a frame of {} bytes", u32::MAX));
    let said = until("it has ended", || (rude.said().len() > 200).then(|| rude.said()));
    assert!(!said.contains('\x1b') && said.len() < 2000, "{said}");
    rude.ends_with(2, r"refused: \u{1b}[2Jwhy why");
    duplicate.ends_with(1, "refused: node-0 is taken by another process; it was tried for");
    mute.ends_with(1, "did not finish the handshake in 5 s; it was tried for");

    // The run that the node waited for never began: it joins the one of the next coordinator at the same address.
    drop(coordinator);
    let (again, _) = Process::coordinator(&folder, &["--listen", &address.to_string()]);
    again.says("is ready, with node-0");
    assert!(old.said().contains("was started again"), "{}", old.said());
}

#[test]
fn what_this_file_says_of_the_protocol_is_so() {
    let mut splitter = Splitter::new();
    splitter.room().extend_from_slice(&golden("hello-bring"));
    let hello: Hello<Purpose> = splitter.next_frame().unwrap().unwrap().value().unwrap();
    assert_eq!(hello.wish, Purpose::Peer { process: 3, boot_id: 77, to: 78 });
    splitter.room().extend_from_slice(&golden("welcome-joined"));
    let welcome: Welcome<Answer> = splitter.next_frame().unwrap().unwrap().value().unwrap();
    assert!(matches!(welcome.answer, Answer::Joined(joined) if joined.actors[1] == (ActorId(300), 2)));
}
