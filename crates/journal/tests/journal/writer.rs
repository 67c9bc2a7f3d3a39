//! The thread around a journal.

use std::sync::{Arc, Mutex, mpsc};

use meshsim_journal::{AppendError, IMAGE_BYTES_MAX, Journal, Writer};

use crate::memory::{Call, Fault, Memory};

fn open(memory: &Memory) -> Journal {
    Journal::open_on(memory.clone(), b"run").unwrap().0
}

/// A writer whose first commit has begun and waits for the sender to be dropped; and what it says is durable.
type Said = Arc<Mutex<Vec<Vec<(u32, u64)>>>>;

fn busy(memory: &Memory) -> (Writer, mpsc::Sender<()>, Said) {
    let (said, (release, wait), (begun, begins)) = (Said::default(), mpsc::channel::<()>(), mpsc::channel());
    let heard = said.clone();
    let on_durable = move |durable: &[(u32, u64)]| {
        heard.lock().unwrap().push(durable.to_vec());
        let _ = begun.send(());
        let _ = wait.recv();
    };
    let writer = Writer::start(open(memory), on_durable, |_| ()).unwrap();
    writer.append(0, 0, vec![]).unwrap();
    begins.recv().unwrap();
    (writer, release, said)
}

#[test]
fn all_that_waits_is_in_one_commit_with_the_last_image_of_each_key() {
    let memory = Memory::default();
    let (writer, release, said) = busy(&memory);
    let syncs = |memory: &Memory| memory.calls().iter().filter(|call| **call == Call::Sync).count();
    let before = syncs(&memory);
    for position in 1..=100 {
        writer.append(position % 3, position.into(), vec![position as u8; 10]).unwrap();
    }
    drop(release);
    writer.close().unwrap();
    assert_eq!(syncs(&memory), before + 1);
    assert_eq!(said.lock().unwrap()[1..], [vec![(0, 99), (1, 100), (2, 98)]]);
    let (_, found) = Journal::open_on(memory.crash(|_| 0, 0), b"run").unwrap();
    assert_eq!(found.images[&1].bytes, [100; 10]);
}

#[test]
fn a_position_is_durable_when_it_is_said() {
    let memory = Memory::default();
    let disk = memory.clone();
    let on_durable = move |durable: &[(u32, u64)]| {
        let (_, found) = Journal::open_on(disk.crash(|_| 0, 0), b"run").unwrap();
        assert!(durable.iter().all(|(key, position)| found.images[key].position == *position));
    };
    let writer = Writer::start(open(&memory), on_durable, |error| panic!("{error}")).unwrap();
    for position in 0..200 {
        writer.append(position % 7, position.into(), vec![1; 20]).unwrap();
    }
    writer.close().unwrap();
}

#[test]
fn an_error_is_passed_on_once_and_ends_the_writer() {
    let memory = Memory::default();
    let (told, errors) = mpsc::channel();
    let on_durable = |_: &[(u32, u64)]| panic!("nothing is durable");
    let writer = Writer::start(open(&memory), on_durable, move |error| told.send(error.to_string()).unwrap()).unwrap();
    // The sync after the first write.
    memory.fail(Some(Fault::Call(memory.calls().len() + 1)));
    writer.append(1, 1, vec![1]).unwrap();
    assert_eq!(errors.recv().unwrap(), "the call was to fail");
    assert!(errors.recv().is_err(), "the thread has dropped its end");
    assert!(writer.close().is_err());
}

#[test]
fn a_writer_whose_thread_has_ended_refuses() {
    let memory = Memory::default();
    let writer = Writer::start(open(&memory), |_: &[(u32, u64)]| panic!("as a test"), |_| ()).unwrap();
    writer.append(1, 1, vec![]).unwrap();
    while writer.append(1, 2, vec![]) != Err(AppendError::Closed) {
        std::thread::yield_now();
    }
    assert!(writer.close().is_err());
}

#[test]
fn the_queue_of_a_writer_has_a_bound() {
    let memory = Memory::default();
    let (writer, release, _) = busy(&memory);
    let too_large = IMAGE_BYTES_MAX + 1;
    assert_eq!(writer.append(1, 1, vec![0; too_large]), Err(AppendError::ImageTooLarge(too_large)));
    for key in 0..16 {
        writer.append(key, 1, vec![0; IMAGE_BYTES_MAX]).unwrap();
    }
    assert_eq!(writer.append(16, 1, vec![0]), Err(AppendError::TooManyBytes));
    for key in 0..16 {
        writer.append(key, 2, vec![]).unwrap();
    }
    writer.append(16, 1, vec![0]).unwrap();
    drop(release);
    writer.close().unwrap();
}
