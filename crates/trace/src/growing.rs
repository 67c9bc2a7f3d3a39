//! Reading of traces while they are written.

use std::collections::VecDeque;
use std::io::{Read, Seek};

use meshsim_actor::Time;
use serde::de::DeserializeOwned;

use crate::merge::order;
use crate::{ReadError, ReadErrorKind, Reader, Record};

/// Looks without a new record after which a part is no longer waited for.
const SILENT_LOOKS: u32 = 15;
/// Records that are held because a part is waited for. Beyond, they are handed over.
const HELD_MAX: usize = 1 << 20;

/// The traces of the processes of a run that goes on, as far as they are written: their whole chunks, merged by time.
///
/// A record is handed over when all parts have come past its time. A part that has written nothing for some
/// [looks](Self::look) is not waited for: its records come late then, each with the next look.
#[derive(Debug)]
pub struct Growing<R, M, T> {
    parts: Vec<Part<R, M, T>>,
    /// Records that were handed over: the next one's number.
    handed_over: u64,
}

#[derive(Debug)]
struct Part<R, M, T> {
    reader: Reader<R, M, T>,
    held: VecDeque<Record<M, T>>,
    /// Time of its last record.
    until: Time,
    silent: u32,
    has_ended: bool,
}

impl<R, M, T> Default for Growing<R, M, T> {
    fn default() -> Self {
        Growing { parts: Vec::new(), handed_over: 0 }
    }
}

impl<R, M, T> Growing<R, M, T>
where
    R: Read + Seek,
    M: DeserializeOwned,
    T: DeserializeOwned,
{
    /// Adds the trace of a process.
    pub fn add(&mut self, reader: Reader<R, M, T>) {
        let part = Part { reader, held: VecDeque::new(), until: Time::ZERO, silent: 0, has_ended: false };
        self.parts.push(part);
    }

    /// Number of parts.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// True if all parts have been read to the end that their writers gave them, and all records are handed over.
    pub fn has_ended(&self) -> bool {
        self.parts.iter().all(|part| part.has_ended && part.held.is_empty())
    }

    /// Reads what is new, and hands over what has its place, numbered in that order. `is_last`: nothing will come any
    /// more, so that no part is waited for.
    ///
    /// # Errors
    /// If a part cannot be read, for another reason than that it goes on.
    pub fn look(&mut self, is_last: bool, mut take: impl FnMut(Record<M, T>)) -> Result<(), ReadError> {
        for part in &mut self.parts {
            part.read()?;
        }
        let held: usize = self.parts.iter().map(|part| part.held.len()).sum();
        let waits = |part: &&Part<R, M, T>| !part.has_ended && part.silent < SILENT_LOOKS;
        let all = is_last || held > HELD_MAX;
        let until = self.parts.iter().filter(waits).map(|part| part.until).min().filter(|_| !all);
        loop {
            let heads = self
                .parts
                .iter_mut()
                .filter(|part| part.held.front().is_some_and(|head| until.is_none_or(|until| head.at < until)));
            let Some(first) = heads.min_by_key(|part| order(part.held.front())) else { return Ok(()) };
            let Some(record) = first.held.pop_front() else { return Ok(()) };
            take(Record { seq: self.handed_over, ..record });
            self.handed_over += 1;
        }
    }
}

impl<R, M, T> Part<R, M, T>
where
    R: Read + Seek,
    M: DeserializeOwned,
    T: DeserializeOwned,
{
    fn read(&mut self) -> Result<(), ReadError> {
        if self.has_ended {
            return Ok(());
        }
        self.silent = self.silent.saturating_add(1);
        loop {
            match self.reader.next() {
                Some(Ok(record)) => {
                    (self.until, self.silent) = (self.until.max(record.at), 0);
                    self.held.push_back(record);
                }
                Some(Err(ReadError { trouble: ReadErrorKind::CutOff, .. })) => return self.reader.go_on(),
                Some(Err(error)) => return Err(error),
                None => {
                    self.has_ended = true;
                    return Ok(());
                }
            }
        }
    }
}
