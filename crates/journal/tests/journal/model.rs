//! The content that a journal may have after a crash.

use std::collections::BTreeMap;

use meshsim_journal::{Found, Journal, OpenError};

use crate::memory::Memory;

/// All that was appended, and what was acknowledged of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    /// By position, which is different for each image.
    appended: BTreeMap<u64, (u32, Vec<u8>)>,
    /// The last position of each key.
    last: BTreeMap<u32, u64>,
    /// The last position of each key that a commit acknowledged.
    acknowledged: BTreeMap<u32, u64>,
}

impl Model {
    /// Opens a journal and checks what is found.
    pub(crate) fn open(&mut self, memory: &Memory) -> Result<Journal, OpenError> {
        let (journal, found) = Journal::open_on(memory.clone(), b"model")?;
        self.check(&found);
        // The content of an opened journal is durable, so it counts as acknowledged.
        self.acknowledged = found.images.iter().map(|(key, image)| (*key, image.position)).collect();
        self.last = self.acknowledged.clone();
        Ok(journal)
    }

    pub(crate) fn check(&self, found: &Found) {
        for (key, image) in &found.images {
            let appended = self.appended.get(&image.position);
            assert_eq!(appended, Some(&(*key, image.bytes.clone())), "nothing else is taken for content");
        }
        for (key, position) in &self.acknowledged {
            let image = found.images.get(key).unwrap_or_else(|| panic!("key {key} is lost: {found:?}"));
            assert!(image.position >= *position, "key {key}: {} was acknowledged, and {image:?} found", position);
        }
    }

    pub(crate) fn append(&mut self, journal: &mut Journal, key: u32, image: &[u8]) {
        let position = self.appended.len() as u64;
        if journal.append(key, position, image).is_ok() {
            self.appended.insert(position, (key, image.to_vec()));
            self.last.insert(key, position);
        }
    }

    /// The last image of a key.
    pub(crate) fn image(&self, key: u32) -> Vec<u8> {
        self.last.get(&key).map_or(Vec::new(), |position| self.appended[position].1.clone())
    }

    /// Commits; false if that fails.
    pub(crate) fn commit(&mut self, journal: &mut Journal) -> bool {
        let committed = journal.commit().is_ok();
        if committed {
            self.acknowledged = self.last.clone();
        }
        committed
    }
}
