//! A trace file with a position of its own, so that several readings of one file do not disturb each other.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// A reading of a file, from its beginning. Clones of a file handle share one position; these do not.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    file: Arc<File>,
    at: u64,
}

impl Place {
    pub(crate) fn new(file: Arc<File>) -> Self {
        Place { file, at: 0 }
    }
}

impl Read for Place {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self.file.read_at(buffer, self.at) {
            // A pipe has one position, and one reading.
            Err(error) if error.kind() == io::ErrorKind::NotSeekable => (&*self.file).read(buffer)?,
            other => other?,
        };
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Place {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.file.metadata()?.len().checked_add_signed(by),
        };
        self.at = at.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a place before the file"))?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn two_readings_of_a_file_do_not_disturb_each_other() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"0123456789").unwrap();
        let file = Arc::new(file);
        let [mut a, mut b] = [Place::new(file.clone()), Place::new(file)];
        let mut two = [0; 2];
        a.read_exact(&mut two).unwrap();
        assert_eq!(b.seek(SeekFrom::End(-3)).unwrap(), 7);
        b.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"78");
        a.read_exact(&mut two).unwrap();
        assert_eq!(&two, b"23");
        assert!(a.seek(SeekFrom::Current(-5)).is_err());
    }
}
