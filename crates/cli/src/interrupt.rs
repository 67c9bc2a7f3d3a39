//! Ctrl-C: the first ends a run early, and what was measured is still written, or lets a node leave in order; the second
//! ends the program.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{path::PathBuf, process};

use tokio::sync::watch;

use crate::error::Error;

static ASKED: AtomicBool = AtomicBool::new(false);

/// Files and directories that are not complete yet, or are of no use without this process: the second Ctrl-C removes
/// them.
pub(crate) static UNFINISHED: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// What a shell expects of a program that SIGINT ended: 128 and its number.
pub(crate) const EXIT: u8 = 130;

/// From now on Ctrl-C (and the signals that end a service: SIGTERM, SIGHUP) is a request. Once is enough.
pub(crate) fn catch() -> Result<(), Error> {
    static IS_CAUGHT: AtomicBool = AtomicBool::new(false);
    if IS_CAUGHT.swap(true, Ordering::SeqCst) {
        return Ok(());
    }
    ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::SeqCst) {
            // Also if a thread died holding the list.
            let list = UNFINISHED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            list.iter().for_each(|path| crate::folder::remove(path));
            process::exit(EXIT.into());
        }
    })
    .map_err(Error::Interrupt)
}

/// True once the run is to end.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::Relaxed)
}

/// Where the first signal goes, if this process can leave in order.
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

/// From now on this process leaves in order when it is first asked to go: what it gets becomes true then.
pub(crate) fn leave_when_asked() -> watch::Receiver<bool> {
    let (leave, asked) = watch::channel(false);
    *LEAVE.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(leave);
    asked
}

/// Goes when standard input ends: whoever holds its other end is gone, or wants it so.
pub(crate) fn exit_with_stdin() {
    std::thread::spawn(|| {
        let mut bytes = [0; 64];
        while matches!(std::io::Read::read(&mut std::io::stdin(), &mut bytes), Ok(1..)) {}
        process::exit(EXIT.into());
    });
}
