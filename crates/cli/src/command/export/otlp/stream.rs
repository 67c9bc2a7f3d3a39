//! The spans of a live run while it goes on: its trace is followed, and what has ended is sent to a collector.
//!
//! A collector that is slow or gone never holds up the run: spans for which there is no room are dropped and counted.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use meshsim_report::plural;

use super::{Otlp, PATH, post};
use crate::command::export::{Began, Exporter};
use crate::error::Error;
use crate::flow::follow::{Following, pause};
use crate::flow::{Item, Source};
use crate::http::Url;
use crate::screen::Screen;

/// Requests to the collector that wait to be sent, of 4 MB each at most; the spans of more are dropped.
const QUEUE_MAX: usize = 16;
/// Time for what waits when the run has ended.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// The fate of the spans so far.
#[derive(Clone, Debug, Default)]
struct Fared {
    sent: u64,
    dropped: u64,
    /// Why the collector did not take some.
    why: Option<String>,
}

/// A stream of spans to a collector.
pub(crate) struct Stream {
    url: Url,
    fared: Arc<Mutex<Fared>>,
    is_over: Arc<AtomicBool>,
    /// Tells when all was sent.
    done: Receiver<()>,
}

impl Stream {
    /// Begins to send the spans of the run that is being written for this folder.
    pub(crate) fn begin(url: Url, folder: &Path) -> Self {
        let (fared, is_over) = (Arc::<Mutex<Fared>>::default(), Arc::new(AtomicBool::new(false)));
        let (lines, received) = mpsc::sync_channel(QUEUE_MAX);
        let (all, done) = mpsc::channel();
        {
            let (queue, is_over, folder) = (Queue::new(lines, fared.clone()), is_over.clone(), folder.to_owned());
            thread::spawn(move || follow(&folder, queue, &is_over));
        }
        {
            let (url, fared) = (url.clone(), fared.clone());
            thread::spawn(move || {
                deliver(&received, &url, &fared);
                let _ = all.send(());
            });
        }
        Stream { url, fared, is_over, done }
    }

    /// Ends it when the run has ended, and prints how many spans were sent and dropped.
    pub(crate) fn finish(self, screen: &Screen) {
        self.is_over.store(true, Ordering::Relaxed);
        let is_late = self.done.recv_timeout(END_PATIENCE) == Err(RecvTimeoutError::Timeout);
        let Fared { sent, dropped, why } = locked(&self.fared).clone();
        screen.remark(&format!("  {} sent to http://{}{PATH}\n", plural(sent, "span"), self.url));
        if dropped > 0 {
            let why = why.map_or_else(|| "is too slow".to_owned(), |why| why.clone());
            screen.warn(&format!("{} dropped: the collector {why}", plural(dropped, "span")));
        }
        if is_late {
            screen.warn("the collector had not taken the last spans when the run had ended for ten seconds");
        }
    }
}

fn locked(fared: &Mutex<Fared>) -> std::sync::MutexGuard<'_, Fared> {
    fared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Number of spans of a request to a collector.
fn spans(line: &str) -> u64 {
    line.matches("\"startTimeUnixNano\":").count() as u64
}

/// Sends what comes, until nothing more does.
fn deliver(lines: &Receiver<String>, url: &Url, fared: &Mutex<Fared>) {
    for line in lines {
        let taken = post(url, &line);
        let mut fared = locked(fared);
        match taken {
            Ok(()) => fared.sent += spans(&line),
            Err(why) => {
                fared.dropped += spans(&line);
                fared.why.get_or_insert(why);
            }
        }
    }
}

/// Follows the trace of the run to its end.
fn follow(folder: &Path, mut queue: Queue, is_over: &AtomicBool) {
    let following = loop {
        match Following::open(folder) {
            Ok(Some(following)) => break following,
            Ok(None) if !is_over.load(Ordering::Relaxed) => {}
            // It ended before anything of it was written.
            Ok(None) => return,
            Err(error) => return queue.fail(&error),
        }
        pause();
    };
    if let Err(error) = send(following, &mut queue, is_over) {
        queue.fail(&error);
    }
}

fn send(mut following: Following, queue: &mut Queue, is_over: &AtomicBool) -> Result<(), Error> {
    let source = Source::of_followed(&following)?;
    let cannot = |error| Error::Write(PathBuf::from(PATH), error);
    let mut otlp: Option<Otlp<'_>> = None;
    loop {
        // Asked before it is read, so that nothing comes behind the last look.
        let is_last = is_over.load(Ordering::Relaxed);
        let mut items: Vec<Item> = Vec::new();
        let goes_on = following.look(|item| items.push(item))? && !is_last;
        if let (None, Some(last)) = (&otlp, items.last()) {
            otlp = Some(Otlp::live(&source, Began::of_run_at(last.record.at)));
        }
        if let Some(otlp) = &mut otlp {
            items.iter().try_for_each(|item| otlp.record(item, true, queue)).map_err(cannot)?;
            otlp.line(queue).map_err(cannot)?;
            if !goes_on {
                return otlp.end(queue).map(drop).map_err(cannot);
            }
        } else if !goes_on {
            return Ok(());
        }
        pause();
    }
}

/// Passes each line on when it is complete, if there is room.
struct Queue {
    lines: SyncSender<String>,
    fared: Arc<Mutex<Fared>>,
    bytes: Vec<u8>,
}

impl Queue {
    fn new(lines: SyncSender<String>, fared: Arc<Mutex<Fared>>) -> Self {
        Queue { lines, fared, bytes: Vec::new() }
    }

    /// Nothing more can be sent, for this reason.
    fn fail(&self, error: &Error) {
        let mut fared = locked(&self.fared);
        fared.why.get_or_insert_with(|| format!("gets no more: {error}"));
        fared.dropped += 1;
    }
}

impl Write for Queue {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        if bytes.ends_with(b"\n") {
            let line = String::from_utf8(std::mem::take(&mut self.bytes)).map_err(io::Error::other)?;
            if let Err(TrySendError::Full(line) | TrySendError::Disconnected(line)) = self.lines.try_send(line) {
                locked(&self.fared).dropped += spans(&line);
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_beyond_the_queue_are_dropped_and_counted() {
        let (lines, received) = mpsc::sync_channel(2);
        let fared = Arc::<Mutex<Fared>>::default();
        let mut queue = Queue::new(lines, fared.clone());
        let span = r#"{"startTimeUnixNano":"1"}"#;
        for _ in 0..5 {
            // A line comes in pieces; a text that looks like a span is none.
            write!(queue, "{span},").unwrap();
            writeln!(queue, r#"{span}{{"name":"\"startTimeUnixNano\":"}}"#).unwrap();
        }
        assert_eq!(locked(&fared).dropped, 3 * 2);
        assert_eq!(received.try_iter().map(|line| spans(&line)).sum::<u64>(), 2 * 2);
        drop(received);
        writeln!(queue, "{span}").unwrap();
        assert_eq!(locked(&fared).dropped, 7, "no thread takes them any more");
    }
}
