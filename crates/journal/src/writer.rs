//! A thread around a journal, for a host that must not wait for a disk.

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

use crate::error::AppendError;
use crate::images::Image;
use crate::{IMAGE_BYTES_MAX, IMAGES_BYTES_MAX, Journal, KEYS_MAX};

/// The near end of a thread that owns a journal.
///
/// The queue has a bound, and no caller waits for the disk: the next image of a key takes the place of one that waits.
/// The thread takes all images that wait, commits them together, and reports their positions. When a writer is dropped,
/// its thread still writes the images that wait; [`close`](Self::close) returns after that.
#[derive(Debug)]
pub struct Writer {
    queue: Closing,
    thread: JoinHandle<io::Result<()>>,
}

impl Writer {
    /// Starts the thread. After each commit it calls `on_durable` with the keys of the commit, each with the position of
    /// its durable image; an image whose place another one took is not mentioned. After an error it calls `on_error`,
    /// and ends.
    ///
    /// # Errors
    /// If the system has no more threads.
    pub fn start(
        journal: Journal,
        on_durable: impl FnMut(&[(u32, u64)]) + Send + 'static,
        on_error: impl FnOnce(&io::Error) + Send + 'static,
    ) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let taken = Closing(queue.clone());
        let run = move || write(journal, &taken.0, on_durable).inspect_err(on_error);
        let thread = thread::Builder::new().name("journal".to_owned()).spawn(run)?;
        Ok(Writer { queue: Closing(queue), thread })
    }

    /// Gives a key its next image.
    ///
    /// # Errors
    /// If a bound is reached, or the thread has ended.
    pub fn append(&self, key: u32, position: u64, image: Vec<u8>) -> Result<(), AppendError> {
        self.queue.0.put(key, Image { position, bytes: image })
    }

    /// Writes the images that wait, and returns when the thread has ended.
    ///
    /// # Errors
    /// If a commit has failed, now or before, or a bound of the journal was reached.
    pub fn close(self) -> io::Result<()> {
        let Writer { queue, thread } = self;
        drop(queue);
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread of the journal has panicked")))
    }
}

/// The thread of a writer.
fn write(mut journal: Journal, queue: &Queue, mut on_durable: impl FnMut(&[(u32, u64)])) -> io::Result<()> {
    while let Some(images) = queue.take() {
        let mut durable = Vec::with_capacity(images.len());
        for (key, image) in images {
            journal.append(key, image.position, &image.bytes).map_err(io::Error::other)?;
            durable.push((key, image.position));
        }
        journal.commit()?;
        on_durable(&durable);
    }
    Ok(())
}

/// The images that wait for a commit.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    /// An image came, or no more will.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    images: BTreeMap<u32, Image>,
    bytes: u64,
    is_closed: bool,
}

/// One side of a queue. When it is dropped, nothing more enters the queue, also if the thread panicked.
#[derive(Debug)]
struct Closing(Arc<Queue>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.waiting().is_closed = true;
        self.0.changed.notify_one();
    }
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn put(&self, key: u32, image: Image) -> Result<(), AppendError> {
        let mut waiting = self.waiting();
        let former = waiting.images.get(&key).map(|image| image.bytes.len() as u64);
        let bytes = waiting.bytes - former.unwrap_or(0) + image.bytes.len() as u64;
        let refused = match () {
            () if waiting.is_closed => AppendError::Closed,
            () if image.bytes.len() > IMAGE_BYTES_MAX => AppendError::ImageTooLarge(image.bytes.len()),
            () if former.is_none() && waiting.images.len() == KEYS_MAX => AppendError::TooManyKeys,
            () if bytes > IMAGES_BYTES_MAX => AppendError::TooManyBytes,
            () => {
                waiting.bytes = bytes;
                waiting.images.insert(key, image);
                self.changed.notify_one();
                return Ok(());
            }
        };
        Err(refused)
    }

    /// Waits for images, and takes all; none when the queue is closed and empty.
    fn take(&self) -> Option<BTreeMap<u32, Image>> {
        let mut waiting = self.waiting();
        while waiting.images.is_empty() {
            if waiting.is_closed {
                return None;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
        waiting.bytes = 0;
        Some(mem::take(&mut waiting.images))
    }
}
