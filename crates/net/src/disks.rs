//! The disks of this process's actors, in a journal on the file system.
//!
//! An actor that is hosted here begins with what an earlier process left in the journal of the same run. What it then says
//! of its durable state leaves when the journal has synced it: the cell holds it back until [`Input::Durable`].
//!
//! [`Input::Durable`]: meshsim_actor::Input::Durable

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::mpsc;

use meshsim_actor::{Actor, ActorId, Time};
use meshsim_journal::{Image, Journal, OpenError, Writer};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::run_spec::Live;

/// Key of what the process itself keeps, beside its actors. No actor has this id.
const OWN: u32 = u32::MAX;

/// Encodes and decodes the durable state of actors.
#[derive(Debug)]
pub struct DiskCodec<A: Actor> {
    /// Encodes it.
    pub write: fn(&A::Disk) -> Vec<u8>,
    /// Decodes it.
    pub read: fn(&[u8]) -> io::Result<A::Disk>,
}

impl<A: Actor> Clone for DiskCodec<A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A: Actor> Copy for DiskCodec<A> {}

/// A journal that is open, and what earlier processes left in it.
#[derive(Debug)]
pub(crate) struct OpenJournal {
    journal: Journal,
    found: BTreeMap<u32, Image>,
}

impl OpenJournal {
    /// Opens the journal of a member of a run. One of another run, and one that is damaged, are set aside: the actors then
    /// begin with nothing, in a new lineage, and the coordinator sends them what they lack.
    ///
    /// # Errors
    /// If another process uses it, or the file system refuses.
    pub(crate) fn of_member(path: &Path, identity: &str) -> io::Result<Self> {
        Self::open(path, identity, |error| match error {
            OpenError::OtherIdentity { .. } => true,
            OpenError::Damaged { .. } => {
                tracing::warn!("{}: {error}; its actors begin anew", path.display());
                true
            }
            _ => false,
        })
    }

    /// Opens the journal of a hub. Nobody else has what is in it.
    ///
    /// # Errors
    /// If it is of another experiment or damaged, or another process uses it: [`io::ErrorKind::InvalidInput`]. If the file
    /// system refuses.
    pub(crate) fn of_hub(path: &Path, identity: &str) -> io::Result<Self> {
        Self::open(path, identity, |_| false)
    }

    fn open(path: &Path, identity: &str, is_set_aside: impl Fn(&OpenError) -> bool) -> io::Result<Self> {
        std::fs::create_dir_all(path)?;
        let identity = identity.as_bytes();
        let opened = match Journal::open(path, identity) {
            Err(error) if is_set_aside(&error) => Journal::set_aside(path).and_then(|()| Journal::open(path, identity)),
            other => other,
        };
        let (journal, found) = opened.map_err(|error| {
            let kind = if let OpenError::Io(_) = error { io::ErrorKind::Other } else { io::ErrorKind::InvalidInput };
            io::Error::new(kind, format!("{}: {error}", path.display()))
        })?;
        if found.cut_bytes > 0 {
            tracing::info!("{}: {} bytes that were never synced are cut", path.display(), found.cut_bytes);
        }
        Ok(OpenJournal { journal, found: found.images })
    }

    /// What the process itself has kept.
    pub(crate) fn own(&self) -> Option<&[u8]> {
        self.found.get(&OWN).map(|image| &*image.bytes)
    }
}

/// Removes the journal of a process whose run has ended. One that cannot be removed stays: the next run does not take it for
/// its own.
pub fn remove_journal(path: &Path) {
    if let Err(error) = Journal::remove(path) {
        tracing::debug!("{}: {error}", path.display());
    }
}

/// Keeps the durable state of the actors of this process.
pub(crate) struct Disks<A: Live> {
    codec: DiskCodec<A>,
    found: RefCell<BTreeMap<u32, Image>>,
    writer: Writer,
    /// Earliest end of the sync under way of each actor, if its disk is slowed down by a fault.
    earliest: RefCell<BTreeMap<ActorId, Time>>,
    /// Positions of what the process itself keeps that have become durable.
    own: mpsc::Receiver<u64>,
    own_position: Cell<u64>,
}

/// Actors whose durable state has been synced, each with its position.
pub(crate) type Synced = UnboundedReceiver<(ActorId, u64)>;

impl<A: Live> Disks<A> {
    /// Starts the thread of the journal. An error of the disk ends this process: what it has acknowledged may be lost.
    ///
    /// # Errors
    /// If the operating system provides no thread.
    pub(crate) fn start(open: OpenJournal, codec: DiskCodec<A>) -> io::Result<(Self, Synced)> {
        let (tell, synced) = unbounded_channel();
        let (tell_own, own) = mpsc::channel();
        let on_durable = move |durable: &[(u32, u64)]| {
            for (key, position) in durable {
                // The host is gone, if nobody listens.
                let _ = match *key {
                    OWN => tell_own.send(*position).ok(),
                    key => tell.send((ActorId(key), *position)).ok(),
                };
            }
        };
        let on_error = |error: &io::Error| {
            tracing::error!("the journal of this process failed: {error}");
            std::process::exit(1);
        };
        let OpenJournal { journal, found } = open;
        let writer = Writer::start(journal, on_durable, on_error)?;
        let (found, earliest, own_position) = (RefCell::new(found), RefCell::default(), Cell::default());
        Ok((Disks { codec, found, writer, earliest, own, own_position }, synced))
    }

    /// Durable state that an earlier process left of an actor.
    pub(crate) fn take(&self, actor: ActorId) -> Option<A::Disk> {
        let image = self.found.borrow_mut().remove(&actor.0)?;
        match (self.codec.read)(&image.bytes) {
            Ok(disk) => Some(disk),
            Err(error) => {
                tracing::warn!("the disk of actor {actor} cannot be read: {error}");
                None
            }
        }
    }

    /// Begins a sync of an actor's durable state, which ends at `earliest` at the earliest.
    pub(crate) fn persist(&self, actor: ActorId, position: u64, disk: &A::Disk, earliest: Time) {
        self.earliest.borrow_mut().insert(actor, earliest);
        if let Err(error) = self.writer.append(actor.0, position, (self.codec.write)(disk)) {
            // What it says of its state then waits for good, as on a full disk.
            tracing::error!("the durable state of actor {actor} cannot be kept: {error}");
        }
    }

    /// Earliest end of the sync of an actor that the journal has ended.
    pub(crate) fn earliest(&self, actor: ActorId) -> Time {
        self.earliest.borrow().get(&actor).copied().unwrap_or(Time::ZERO)
    }

    /// Makes what the process itself keeps durable, and returns when it is.
    pub(crate) fn keep_own(&self, image: Vec<u8>) {
        let position = self.own_position.get() + 1;
        self.own_position.set(position);
        if let Err(error) = self.writer.append(OWN, position, image) {
            tracing::error!("what this process knows of the cluster cannot be kept: {error}");
            return;
        }
        // Ends with an error only if the process ends.
        while self.own.recv().is_ok_and(|durable| durable < position) {}
    }
}

impl<A: Live> std::fmt::Debug for Disks<A> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Disks").field("writer", &self.writer).finish_non_exhaustive()
    }
}

/// Disks of a host, if it has a journal.
pub(crate) type MaybeDisks<A> = RefCell<Option<Rc<Disks<A>>>>;
