//! A file that was cut at any length, or changed at any place, is refused, or holds what it held at
//! one of its commits.
//!
//! Some of them are tried with each run; `TORN_FILES=all` tries every length, and a bit of every
//! byte.

use std::{fs, ops::Range};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use tempfile::TempDir;

use super::super::{
    super::{Change, Entry, Store as _, StoreMetrics, Table},
    File,
    database::held,
    fault::Fault,
};

const PAGE: usize = 4096;
/// Commits before the file is looked at.
const COMMITS: u32 = 12;

/// What a store held after each of its commits.
type States = Vec<Vec<Entry>>;

struct Torn {
    image: Vec<u8>,
    states: States,
}

/// A store of a few commits: as its process leaves it, or as it is when the process is killed.
async fn torn(killed: bool) -> Torn {
    let directory = TempDir::new().unwrap();
    let store = File::open(directory.path(), StoreMetrics::default()).unwrap();
    let file = directory.path().join("store.redb");
    let mut states = vec![Vec::new()];
    for n in 0..COMMITS {
        let value = vec![u8::try_from(n).unwrap(); 700];
        // One entry more, and one that changes.
        let put = Change::put(Table::Requests, n.to_be_bytes().to_vec(), value);
        let count = Change::put(Table::Requests, "count", n.to_be_bytes().to_vec());
        store.put(vec![put, count]).wait().await.unwrap();
        states.push(held(&fs::read(&file).unwrap()).ok().unwrap().tables[&Table::Requests].clone());
    }
    let image = fs::read(&file).unwrap();
    store.close();
    let image = if killed { image } else { fs::read(&file).unwrap() };
    assert_eq!(states.last().unwrap().len(), usize::try_from(COMMITS).unwrap() + 1);
    Torn { image, states }
}

/// How many images were refused, were as they should be, and were at an earlier commit.
#[derive(Debug, Default)]
struct Figures {
    refused: usize,
    whole: usize,
    earlier: usize,
}

impl Torn {
    fn look(&self, image: &[u8], figures: &mut Figures, how: &str) {
        match held(image) {
            Err(Fault::Damaged(_) | Fault::Later(..)) => figures.refused += 1,
            Err(Fault::Disk(cause)) => panic!("{how}: not of the file: {cause}"),
            Ok(found) => {
                let found = &found.tables[&Table::Requests];
                match self.states.iter().rposition(|state| state == found) {
                    Some(at) if at + 1 == self.states.len() => figures.whole += 1,
                    Some(_) => figures.earlier += 1,
                    None => panic!("{how}: it never held that"),
                }
            }
        }
    }
}

fn all() -> bool {
    std::env::var("TORN_FILES").is_ok_and(|value| value == "all")
}

/// Each byte of the header and of the beginning of each page, and some of the others.
fn places(bytes: Range<usize>) -> impl Iterator<Item = usize> {
    let wanted = |at: &usize| all() || *at < 400 || at % PAGE < 4 || at.is_multiple_of(509);
    bytes.filter(wanted)
}

fn show(what: &str, figures: &Figures) {
    eprintln!("{what}: {figures:?}");
}

#[tokio::test]
async fn a_file_that_was_cut_anywhere_is_refused_or_at_one_of_its_commits() {
    for killed in [false, true] {
        let torn = torn(killed).await;
        let mut figures = Figures::default();
        for length in places(0..torn.image.len()) {
            torn.look(&torn.image[..length], &mut figures, &format!("cut to {length}"));
        }
        show(if killed { "cut, killed" } else { "cut" }, &figures);
        assert!(figures.refused > 0, "{figures:?}");
        // Nothing that was left in good order is lost without a word.
        assert!(killed || figures.earlier == 0, "{figures:?}");
    }
}

#[tokio::test]
async fn a_file_that_was_changed_anywhere_is_refused_or_at_one_of_its_commits() {
    let mut chance = StdRng::seed_from_u64(14);
    for killed in [false, true] {
        let torn = torn(killed).await;
        let mut figures = Figures::default();
        let mut image = torn.image.clone();
        for at in places(0..torn.image.len()) {
            let bit = chance.random_range(0..8);
            image[at] ^= 1 << bit;
            torn.look(&image, &mut figures, &format!("bit {bit} of byte {at}"));
            image[at] = torn.image[at];
        }
        show(if killed { "changed, killed" } else { "changed" }, &figures);
        assert!(figures.refused > 0 && figures.whole > 0, "{figures:?}");
        assert!(killed || figures.earlier == 0, "{figures:?}");
    }
}

/// The one damage that no checksum of an entry shows: a table that is not there any more could be
/// one that an earlier release did not have. The check of each page, when a file is opened, shows
/// it.
#[tokio::test]
async fn a_table_whose_name_was_changed_is_not_taken_for_one_that_never_was_there() {
    let torn = torn(false).await;
    let name = Table::Requests.name().as_bytes();
    let mut figures = Figures::default();
    for at in 0..torn.image.len() - name.len() {
        if torn.image[at..].starts_with(name) {
            let mut image = torn.image.clone();
            image[at] ^= 1;
            torn.look(&image, &mut figures, &format!("the name at {at}"));
        }
    }
    assert!(figures.refused > 0 && figures.earlier == 0, "{figures:?}");
}
