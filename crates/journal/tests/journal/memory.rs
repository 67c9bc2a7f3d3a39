//! A file system in memory: a crash loses, tears and keeps what was not synced, as a test draws it, and calls fail.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use meshsim_journal::{Disk, DiskFile};

/// The file system; its clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memory(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: Vec<Content>,
    /// The directory after its last sync, and after each call since then.
    names: Vec<BTreeMap<String, usize>>,
    /// Calls that changed something.
    calls: Vec<Call>,
    fault: Option<Fault>,
}

#[derive(Clone, Debug, Default)]
struct Content {
    /// As a reader sees it.
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// Writes since the last sync.
    unsynced: Vec<(usize, Vec<u8>)>,
}

/// A call that changed something, or failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Create,
    Write,
    Sync,
    Rename,
    SyncDirectory,
}

/// The calls that fail, by number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// This one alone.
    Call(usize),
    /// This one and all after it: the machine stands still.
    From(usize),
}

fn write(bytes: &mut Vec<u8>, at: usize, written: &[u8]) {
    bytes.resize(bytes.len().max(at + written.len()), 0);
    bytes[at..at + written.len()].copy_from_slice(written);
}

impl Memory {
    /// A file system with one file.
    pub(crate) fn with(name: &str, bytes: &[u8]) -> Self {
        let memory = Memory::default();
        let content = Content { seen: bytes.to_vec(), durable: bytes.to_vec(), unsynced: Vec::new() };
        memory.state().files.push(content);
        memory.state().names.push(BTreeMap::from([(name.to_owned(), 0)]));
        memory
    }

    pub(crate) fn fail(&self, fault: Option<Fault>) {
        self.state().fault = fault;
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// The bytes of a file as a reader sees them.
    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.names.last().and_then(|names| names.get(name)).map_or(Vec::new(), |file| state.files[*file].seen.clone())
    }

    /// The file system after a crash. `keep` says for each unsynced write, by its length, how many of its bytes are
    /// kept; the directory keeps the first `changes` of its unsynced changes.
    pub(crate) fn crash(&self, mut keep: impl FnMut(usize) -> usize, changes: usize) -> Memory {
        let state = self.state();
        let mut files = state.files.clone();
        for file in &mut files {
            for (at, bytes) in std::mem::take(&mut file.unsynced) {
                let kept = keep(bytes.len());
                if kept > 0 {
                    write(&mut file.durable, at, &bytes[..kept]);
                }
            }
            file.seen = file.durable.clone();
        }
        let names = state.names.get(changes.min(state.names.len().saturating_sub(1))).cloned();
        Memory(Arc::new(Mutex::new(State { files, names: names.into_iter().collect(), ..State::default() })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Counts a call; an error if it fails.
    fn call(&self, call: Call) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        let number = state.calls.len();
        state.calls.push(call);
        if state.names.is_empty() {
            state.names.push(BTreeMap::new());
        }
        match state.fault {
            Some(Fault::Call(n)) if n == number => Err(io::Error::other("the call was to fail")),
            Some(Fault::From(n)) if n <= number => Err(io::Error::other("there is no power")),
            _ => Ok(state),
        }
    }
}

impl State {
    fn change(&mut self, change: impl FnOnce(&mut BTreeMap<String, usize>)) {
        let mut names = self.names.last().cloned().unwrap_or_default();
        change(&mut names);
        self.names.push(names);
    }
}

#[derive(Debug)]
struct MemoryFile {
    memory: Memory,
    number: usize,
}

impl Disk for Memory {
    fn open(&self, name: &str) -> io::Result<Option<Box<dyn DiskFile>>> {
        let number = self.state().names.last().and_then(|names| names.get(name).copied());
        Ok(number.map(|number| Box::new(MemoryFile { memory: self.clone(), number }) as _))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.call(Call::Create)?;
        let number = state.files.len();
        state.files.push(Content::default());
        state.change(|names| _ = names.insert(name.to_owned(), number));
        Ok(Box::new(MemoryFile { memory: self.clone(), number }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.call(Call::Rename)?;
        state.change(|names| {
            let file = names.remove(from).unwrap();
            names.insert(to.to_owned(), file);
        });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.call(Call::SyncDirectory)?;
        let last = state.names.len() - 1;
        state.names.drain(..last);
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.memory.state().files[self.number].seen.len() as u64)
    }

    fn read_at(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        let state = self.memory.state();
        let bytes = state.files[self.number].seen.get(at as usize..at as usize + into.len());
        into.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let (written, outcome) = match self.memory.call(Call::Write) {
            Ok(_) => (bytes, Ok(())),
            // A write that fails may have written some.
            Err(error) => (&bytes[..bytes.len() / 2], Err(error)),
        };
        let mut state = self.memory.state();
        let file = &mut state.files[self.number];
        write(&mut file.seen, at as usize, written);
        file.unsynced.push((at as usize, written.to_vec()));
        outcome
    }

    fn sync(&self) -> io::Result<()> {
        let outcome = self.memory.call(Call::Sync).map(drop);
        let mut state = self.memory.state();
        let has_no_power = matches!(state.fault, Some(Fault::From(_)));
        let file = &mut state.files[self.number];
        match outcome {
            Ok(()) => {
                for (at, bytes) in std::mem::take(&mut file.unsynced) {
                    write(&mut file.durable, at, &bytes);
                }
                Ok(())
            }
            Err(error) => {
                // A system may drop what it could not write: readers see it, and no later sync writes it.
                if !has_no_power {
                    file.unsynced.clear();
                }
                Err(error)
            }
        }
    }
}
