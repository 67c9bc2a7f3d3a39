//! Ctrl-C: the first ends a run early, with its measurements written, or lets a node leave in order; the second ends
//! the program.

use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};

use tokio::sync::watch;

use crate::error::Error;

static ASKED: AtomicBool = AtomicBool::new(false);

/// Files and directories that are not complete yet, or are of no use without this process: the second Ctrl-C removes
/// them.
pub(crate) static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A file that is of no use without this process, for as long as this value is there.
#[derive(Debug)]
pub(crate) struct Unfinished(PathBuf);

impl Unfinished {
    pub(crate) fn note(file: &Path) -> Self {
        unfinished().push(file.to_owned());
        Unfinished(file.to_owned())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        unfinished().retain(|other| *other != self.0);
    }
}

/// Also if a thread died holding the list.
fn unfinished() -> MutexGuard<'static, Vec<PathBuf>> {
    UNFINISHED.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Exit code for a program that SIGINT ended: 128 and its number.
pub(crate) const EXIT: u8 = 130;

/// From now on Ctrl-C (and the signals that end a service: SIGTERM, SIGHUP) is a request. Once is enough.
pub(crate) fn catch() -> Result<(), Error> {
    static IS_CAUGHT: AtomicBool = AtomicBool::new(false);
    if IS_CAUGHT.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::SeqCst) {
            unfinished().iter().for_each(|path| crate::folder::remove(path));
            process::exit(EXIT.into());
        }
    })
    .map_err(Error::Interrupt)
}

/// True once the run is to end.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Receiver of the first signal, if this process can leave in order.
static LEAVE: Mutex<Option<watch::Sender<bool>>> = Mutex::new(None);

/// For a process that others count on no more once it is asked to go: it goes at once, and they notice. From
/// [`leave_when_asked`] on the first signal lets it leave in order, and the second lets it go at once.
pub(crate) fn exit_when_asked() -> Result<(), Error> {
    ctrlc::set_handler(|| {
        let is_first = !ASKED.swap(true, Ordering::SeqCst);
        match &*LEAVE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) {
            Some(leave) if is_first => drop(leave.send(true)),
            _ => process::exit(EXIT.into()),
        }
    })
    .map_err(Error::Interrupt)
}

/// From now on the first signal makes this process leave in order: the returned value becomes true.
pub(crate) fn leave_when_asked() -> watch::Receiver<bool> {
    let (leave, asked) = watch::channel(false);
    *LEAVE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(leave);
    asked
}

/// Exits when standard input ends: its writer is gone, or has closed it.
pub(crate) fn exit_with_stdin() {
    std::thread::spawn(|| {
        let mut bytes = [0; 64];
        while matches!(std::io::Read::read(&mut std::io::stdin(), &mut bytes), Ok(1..)) {}
        process::exit(EXIT.into());
    });
}
