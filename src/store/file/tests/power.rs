//! The machine loses its power at any write to the disk: of what was written since the last
//! `fdatasync`, any part may be there, and any part not.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use redb::StorageBackend;

use super::super::{
    super::{Change, Kept, Store as _, StoreMetrics, Table},
    File,
    database::{Database, held},
    format::{self, RELEASE},
    found::Found,
};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
const ENTRIES: u32 = 300;

/// A disk, and what is on it after a loss of power at some of the writes to it.
struct Disk {
    state: Mutex<State>,
    /// How many entries were acknowledged.
    kept: AtomicU32,
}

struct State {
    /// As the process sees it.
    seen: Vec<u8>,
    /// As it was at the last `fdatasync`.
    synced: Vec<u8>,
    /// What was written since, by sectors.
    unsynced: Vec<Write>,
    chance: StdRng,
    lost: Vec<Lost>,
    syncs: usize,
}

enum Write {
    Sector(usize, Vec<u8>),
    Length(usize),
}

/// What is left after a loss of power.
struct Lost {
    image: Vec<u8>,
    /// How many entries were acknowledged by then.
    kept: u32,
}

impl Disk {
    fn new(seed: u64) -> Arc<Self> {
        let state = State {
            seen: Vec::new(),
            synced: Vec::new(),
            unsynced: Vec::new(),
            chance: StdRng::seed_from_u64(seed),
            lost: Vec::new(),
            syncs: 0,
        };
        Arc::new(Self { state: Mutex::new(state), kept: AtomicU32::new(0) })
    }

    fn write(&self, write: Write) {
        let mut state = self.state.lock();
        state.seen.apply(&write);
        state.unsynced.push(write);
        self.lose_power(&mut state);
    }

    /// Once in a while, notes what would be left.
    fn lose_power(&self, state: &mut State) {
        if !state.chance.random_ratio(1, 12) {
            return;
        }
        let mut image = state.synced.clone();
        // From nothing of what was written to all of it.
        let part = state.chance.random_range(0..=100);
        for write in &state.unsynced {
            if state.chance.random_range(0..100) < part {
                image.apply(write);
            }
        }
        state.lost.push(Lost { image, kept: self.kept.load(Ordering::Acquire) });
    }
}

trait Image {
    fn apply(&mut self, write: &Write);
}

impl Image for Vec<u8> {
    fn apply(&mut self, write: &Write) {
        match write {
            Write::Length(length) => self.resize(*length, 0),
            Write::Sector(at, bytes) => {
                // The length may be lost too.
                let end = self.len().max(at + bytes.len());
                self.resize(end, 0);
                self[*at..at + bytes.len()].copy_from_slice(bytes);
            }
        }
    }
}

struct Attached(Arc<Disk>);

impl fmt::Debug for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a disk")
    }
}

impl StorageBackend for Attached {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.state.lock().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        out.copy_from_slice(&self.0.state.lock().seen[at..at + out.len()]);
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.write(Write::Length(usize::try_from(length).unwrap()));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.state.lock();
        self.0.lose_power(&mut state);
        state.synced = state.seen.clone();
        state.unsynced.clear();
        state.syncs += 1;
        self.0.lose_power(&mut state);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut at = usize::try_from(offset).unwrap();
        let mut rest = data;
        while !rest.is_empty() {
            let (sector, more) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
            self.0.write(Write::Sector(at, sector.to_vec()));
            (at, rest) = (at + sector.len(), more);
        }
        Ok(())
    }
}

/// A store on a disk.
fn store(disk: &Arc<Disk>) -> File {
    let database = redb::Database::builder().create_with_backend(Attached(Arc::clone(disk)));
    let database = database.unwrap();
    let transaction = database.begin_write().unwrap();
    assert!(format::begin(&transaction, RELEASE).is_ok());
    transaction.commit().unwrap();
    // A new database gets its name when it is whole.
    disk.state.lock().lost.clear();
    File::over((), Database::over(database), Found::default(), StoreMetrics::default()).unwrap()
}

#[tokio::test]
async fn what_was_kept_is_there_after_a_loss_of_power_at_any_write() {
    let disk = Disk::new(14);
    let store = store(&disk);
    let mut number = 0;
    while number < ENTRIES {
        // Alone, or with others.
        let together = 1 + number % 5;
        let put = |n: u32| {
            let value = vec![7; usize::try_from(n).unwrap() % 900];
            store.put(vec![Change::put(Table::Claims, n.to_be_bytes().to_vec(), value)])
        };
        let all: Vec<Kept> = (number..number + together).map(put).collect();
        for kept in all {
            kept.wait().await.unwrap();
            number += 1;
            disk.kept.store(number, Ordering::Release);
        }
    }
    store.close();
    let state = disk.state.lock();
    assert!(state.syncs >= 100 && state.lost.len() > 100, "{} {}", state.syncs, state.lost.len());
    let (mut lost_something, mut between) = (0, 0);
    for Lost { image, kept } in &state.lost {
        let Ok(found) = held(image) else { panic!("refused, with {kept} entries kept") };
        let keys = found.tables[&Table::Claims].iter().map(|(key, _)| key.to_vec());
        let keys: Vec<Vec<u8>> = keys.collect();
        let left = u32::try_from(keys.len()).unwrap();
        // What there is are the first of them, and all that were acknowledged.
        assert!(keys.iter().cloned().eq((0..left).map(|n| n.to_be_bytes().to_vec())));
        assert!(left >= *kept, "{left} of {kept} that were kept");
        lost_something += usize::from(left < number);
        between += usize::from(left > *kept);
    }
    assert!(lost_something > 0 && between > 0, "{lost_something} {between}");
}
