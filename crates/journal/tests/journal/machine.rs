//! The file system of the machine, and processes that are killed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use meshsim_journal::{Journal, OpenError, Writer};

/// A file in the working directory of a process that runs the ignored test below on purpose.
const MARK: &str = "is-writer";

/// The program of a process that appends to the journal in its working directory and prints what is durable.
#[test]
#[ignore = "a process of other tests"]
fn process() {
    let Ok(count) = fs::read_to_string(MARK) else { return };
    let (journal, found) = Journal::open(Path::new("disks"), b"process").unwrap();
    let on_durable = |durable: &[(u32, u64)]| {
        let text: String = durable.iter().map(|(key, position)| format!("durable {key} {position}\n")).collect();
        std::io::stdout().write_all(text.as_bytes()).unwrap();
    };
    let writer = Writer::start(journal, on_durable, |error| panic!("{error}")).unwrap();
    let first = found.images.values().map(|image| image.position + 1).max().unwrap_or(0);
    for position in first..first + count.parse::<u64>().unwrap() {
        writer.append((position % 3) as u32, position, image(position)).unwrap();
    }
    writer.close().unwrap();
}

fn image(position: u64) -> Vec<u8> {
    position.to_le_bytes().repeat(20)
}

/// A command that runs [`process`] in a directory, after these words.
fn command(words: &[&str], directory: &Path, count: u64) -> Command {
    fs::write(directory.join(MARK), count.to_string()).unwrap();
    let this = std::env::current_exe().unwrap();
    let words = words.iter().map(|word| word.to_string()).chain([this.to_str().unwrap().to_owned()]);
    let words: Vec<String> =
        words.chain("machine::process --exact --ignored --nocapture".split(' ').map(Into::into)).collect();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).current_dir(directory).stdout(Stdio::piped());
    command
}

#[test]
fn a_process_that_is_killed_loses_nothing_that_it_said_is_durable() {
    let directory = tempfile::tempdir().unwrap();
    let mut last = 0;
    for lines in [1, 5, 20] {
        let mut child = command(&[], directory.path(), u64::MAX >> 20).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let said = output.filter(|line| line.starts_with("durable")).nth(lines).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let said: Vec<u64> = said.split(' ').filter_map(|word| word.parse().ok()).collect();
        let (_, found) = Journal::open(&directory.path().join("disks"), b"process").unwrap();
        let image_found = &found.images[&(said[0] as u32)];
        assert!(image_found.position >= said[1] && said[1] >= last, "{said:?}, {}", image_found.position);
        assert!(found.images.values().all(|found| found.bytes == image(found.position)));
        last = said[1];
    }
}

#[test]
fn a_journal_is_locked_until_it_is_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disks");
    let (mut journal, found) = Journal::open(&path, b"a").unwrap();
    assert_eq!(found, Default::default());
    journal.append(7, 1, b"image").unwrap();
    journal.commit().unwrap();
    journal.compact();
    journal.commit().unwrap();
    assert!(matches!(Journal::open(&path, b"a"), Err(OpenError::Locked)));
    assert!(matches!(Journal::set_aside(&path), Err(OpenError::Locked)));
    drop(journal);
    assert!(matches!(Journal::open(&path, b"b"), Err(OpenError::OtherIdentity { .. })));
    let (_, found) = Journal::open(&path, b"a").unwrap();
    assert_eq!((found.images[&7].position, &*found.images[&7].bytes), (1, &b"image"[..]));
}

#[test]
fn a_damaged_journal_is_set_aside_and_another_one_begins() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disks");
    drop(Journal::open(&path, b"a").unwrap());
    fs::write(path.join("journal"), "not a journal").unwrap();
    let refused = Journal::open(&path, b"a").unwrap_err();
    assert_eq!(refused.to_string(), "the journal is damaged at byte 0: it ends in its head");
    Journal::set_aside(&path).unwrap();
    let (_, found) = Journal::open(&path, b"a").unwrap();
    assert_eq!(found, Default::default());
    assert_eq!(fs::read_to_string(path.join("journal.damaged")).unwrap(), "not a journal");
}

#[test]
fn a_journal_that_is_no_file_or_has_no_parent_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disks");
    fs::create_dir_all(path.join("journal")).unwrap();
    assert!(matches!(Journal::open(&path, b"a"), Err(OpenError::Io(_))));
    assert!(matches!(Journal::open(&path.join("no/where"), b"a"), Err(OpenError::Io(_))));
    fs::remove_dir(path.join("journal")).unwrap();
    // A file behind a link with the name of the next journal stays.
    fs::write(path.join("mine"), "mine").unwrap();
    std::os::unix::fs::symlink("mine", path.join("journal.new")).unwrap();
    Journal::open(&path, b"a").unwrap();
    assert_eq!(fs::read_to_string(path.join("mine")).unwrap(), "mine");
}

#[test]
fn the_order_of_system_calls_is_write_then_sync_then_say() {
    let directory = tempfile::tempdir().unwrap();
    let calls = "trace=mkdir,openat,pwrite64,fdatasync,fsync,rename,renameat,renameat2,write";
    let mut traced = command(&["strace", "-f", "-y", "-s", "40", "-e", calls, "-o", "calls"], directory.path(), 1);
    match traced.output() {
        Err(_) => return println!("skipped: strace is not installed"),
        Ok(output) if !output.status.success() => {
            return println!("skipped: strace fails: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(_) => {}
    }
    let calls = fs::read_to_string(directory.path().join("calls")).unwrap();
    let calls = &calls[calls.find("mkdir(\"disks\"").unwrap_or(0)..];
    let mut lines = calls.lines();
    // In this order; other calls may be between them.
    for words in [
        &["mkdir(\"disks\""][..],
        &["fsync(", "= 0"],
        &["openat(", "disks/journal.new", "O_CREAT"],
        &["pwrite64(", "meshjrn1"],
        &["fdatasync(", "disks/journal.new>", "= 0"],
        &["rename", "disks/journal.new", "disks/journal\"", "= 0"],
        &["fsync(", "/disks>", "= 0"],
        &["pwrite64(", "disks/journal>"],
        &["fdatasync(", "disks/journal>", "= 0"],
        &["write(1<", "durable 0 0"],
    ] {
        let found = lines.any(|line| words.iter().all(|word| line.contains(word)));
        assert!(found, "{words:?} does not follow in:\n{calls}");
    }
    let before_sync = calls.split("durable 0 0").next().unwrap();
    assert_eq!(before_sync.matches("fdatasync(").count(), 2, "{calls}");
}
