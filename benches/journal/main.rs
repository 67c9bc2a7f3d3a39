//! Durable steps per second of a journal: `cargo bench -p meshsim-benches --bench journal`, with `-- --quick` for a short
//! run that only shows that it works.
//!
//! The peer is a loop of `write` and `fdatasync` of a step's bytes: the most that the disk can do for one step at a time.
//! All contenders write into the same directory and take turns, because a disk has other load; the best round counts.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc;
use std::time::Instant;

use meshsim_journal::{Journal, OpenError, Writer};

/// Bytes that a step adds to the log of its actor.
const STEP_BYTES: usize = 40;
/// Steps that an actor has logged before.
const LOGGED: usize = 100;

/// Makes some steps durable, and returns their number per second.
type Contender = fn(&Path, usize) -> Result<f64, OpenError>;

const CONTENDERS: [(&str, Contender); 5] = [
    ("write and fdatasync", bare),
    ("journal", journal),
    ("writer, 1 actor", |path, steps| writer(path, 1, steps)),
    ("writer, 8 actors", |path, steps| writer(path, 8, steps)),
    ("writer, 64 actors", |path, steps| writer(path, 64, steps)),
];

fn main() -> Result<(), OpenError> {
    let is_quick = std::env::args().any(|argument| argument == "--quick");
    let (rounds, steps) = if is_quick { (1, 20) } else { (5, 1_000) };
    // Not the directory for temporary files, which may be in memory.
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let mut best = [0.0f64; CONTENDERS.len()];
    for round in 0..rounds {
        for (number, ((_, contender), best)) in CONTENDERS.iter().zip(&mut best).enumerate() {
            let per_sec = contender(&directory.path().join(format!("{round}-{number}")), steps)?;
            *best = best.max(per_sec);
        }
    }
    println!("{:<22} {:>10} {:>10}", "", "steps/s", "of bare");
    for ((name, _), per_sec) in CONTENDERS.iter().zip(best) {
        println!("{name:<22} {per_sec:>10.0} {:>10.2}", per_sec / best[0]);
    }
    Ok(())
}

/// Steps per second.
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn measure(steps: usize, run: impl FnOnce() -> io::Result<()>) -> io::Result<f64> {
    let begun = Instant::now();
    run()?;
    Ok(steps as f64 / begun.elapsed().as_secs_f64())
}

fn bare(path: &Path, steps: usize) -> Result<f64, OpenError> {
    let mut file = File::create(path)?;
    let run = || {
        for _ in 0..steps {
            file.write_all(&[1; STEP_BYTES])?;
            file.sync_data()?;
        }
        Ok(())
    };
    Ok(measure(steps, run)?)
}

/// The disk of an actor: the number of steps, their log, and other state.
struct Disk {
    image: Vec<u8>,
    steps: u64,
}

impl Disk {
    fn new() -> Self {
        let mut disk = Disk { image: [0; 100].to_vec(), steps: 0 };
        (0..LOGGED).for_each(|_| disk.step());
        disk
    }

    fn step(&mut self) {
        self.steps += 1;
        self.image[..8].copy_from_slice(&self.steps.to_le_bytes());
        let entry = self.steps.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes().repeat(STEP_BYTES / 8);
        let end = self.image.len() - 50;
        self.image.splice(end..end, entry);
    }
}

fn journal(path: &Path, steps: usize) -> Result<f64, OpenError> {
    let (mut journal, _) = Journal::open(path, b"bench")?;
    let mut disk = Disk::new();
    let run = || {
        for _ in 0..steps {
            disk.step();
            journal.append(0, disk.steps, &disk.image).map_err(io::Error::other)?;
            journal.commit()?;
        }
        Ok(())
    };
    Ok(measure(steps, run)?)
}

/// Each actor makes so many steps, the next one when the last one is durable.
fn writer(path: &Path, actors: usize, steps: usize) -> Result<f64, OpenError> {
    let (journal, _) = Journal::open(path, b"bench")?;
    let (say, durable) = mpsc::channel();
    let on_durable = move |keys: &[(u32, u64)]| keys.iter().for_each(|(key, _)| _ = say.send(*key));
    let writer = Writer::start(journal, on_durable, |error| eprintln!("{error}"))?;
    let mut disks: Vec<Disk> = (0..actors).map(|_| Disk::new()).collect();
    let step = |disks: &mut Vec<Disk>, key: u32| {
        let disk = &mut disks[key as usize];
        disk.step();
        writer.append(key, disk.steps, disk.image.clone()).map_err(io::Error::other)
    };
    let per_sec = measure(steps * actors, || {
        (0..actors as u32).try_for_each(|key| step(&mut disks, key))?;
        for _ in 0..(steps - 1) * actors {
            step(&mut disks, durable.recv().map_err(io::Error::other)?)?;
        }
        (0..actors).try_for_each(|_| durable.recv().map(drop).map_err(io::Error::other))
    })?;
    writer.close()?;
    Ok(per_sec)
}
