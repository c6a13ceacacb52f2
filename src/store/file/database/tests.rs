//! Formats, and what is done after a failure.

use bytes::Bytes;
use redb::ReadableTable as _;
use tempfile::TempDir;

use super::{super::values::unguarded, *};

fn put(database: &mut Database, key: &'static str, value: &'static str) {
    database.commit(&[&Change::put(Table::Claims, key, value)]).unwrap();
}

/// A later format: claims have two dots more.
fn dotted(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    let mut claims = transaction.open_table(bytewise(Table::Claims))?;
    let all: Vec<(Vec<u8>, Vec<u8>)> = claims
        .iter()?
        .map(|entry| entry.map(|(key, value)| (key.value().into(), value.value().into())))
        .collect::<Result<_, _>>()?;
    for (key, value) in all {
        let value = [unguarded(Table::Claims, &key, &value).unwrap(), b".."].concat();
        let value = guarded_value(Table::Claims, &key, &value);
        claims.insert(key.as_slice(), value.as_slice())?;
    }
    Ok(())
}

fn failing(_: &WriteTransaction) -> Result<(), redb::Error> {
    Err(redb::Error::Corrupted("on purpose".to_owned()))
}

#[test]
fn an_earlier_format_becomes_the_one_of_this_release_step_by_step_or_not_at_all() {
    let directory = TempDir::new().unwrap();
    let (mut database, _) = Database::open(directory.path()).unwrap();
    put(&mut database, "key", "value");
    database.close().unwrap();
    let fails = Release { format: 3, migrations: &[dotted, failing] };
    assert!(opened(directory.path(), fails).is_err());
    let later = Release { format: 3, migrations: &[dotted, dotted] };
    for _ in 0..2 {
        let Ok((_, found)) = opened(directory.path(), later) else { panic!() };
        let claims = &found.tables[&Table::Claims];
        assert_eq!(claims[0], (Bytes::from("key"), Bytes::from("value....")));
    }
    let error = Database::open(directory.path()).err().unwrap().to_string();
    assert!(error.contains("by a later release: its format is 3"), "{error}");
}

#[test]
fn each_format_has_a_step_that_leads_to_it() {
    assert_eq!(RELEASE.migrations.len() as u64, RELEASE.format - 1);
}

#[test]
fn what_could_not_be_written_is_tried_with_the_file_opened_again() {
    let directory = TempDir::new().unwrap();
    let (mut database, _) = Database::open(directory.path()).unwrap();
    put(&mut database, "key", "before");
    // As a failure leaves it.
    database.open = Err(Unavailable::new("its disk fails", "on purpose"));
    put(&mut database, "key", "after");
    database.close().unwrap();
    let (_, found) = Database::open(directory.path()).unwrap();
    assert_eq!(found.tables[&Table::Claims][0].1, "after");
}

#[test]
fn a_table_that_an_earlier_release_did_not_have_is_empty_and_can_be_filled() {
    let directory = TempDir::new().unwrap();
    let (mut database, _) = Database::open(directory.path()).unwrap();
    let Ok(open) = &database.open else { panic!() };
    let transaction = open.begin_write().unwrap();
    assert!(transaction.delete_table(bytewise(Table::Claims)).unwrap());
    transaction.commit().unwrap();
    database.close().unwrap();
    let found = |directory: &TempDir| Database::open(directory.path()).unwrap();
    (database, _) = found(&directory);
    put(&mut database, "key", "value");
    database.close().unwrap();
    assert_eq!(found(&directory).1.tables[&Table::Claims].len(), 1);
}

#[test]
fn a_file_that_is_not_there_any_more_takes_nothing_until_it_is_put_back() {
    let (directory, aside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let (mut database, _) = Database::open(directory.path()).unwrap();
    put(&mut database, "key", "before");
    let (path, kept) = (within(directory.path(), NAME), within(aside.path(), NAME));
    fs::rename(&path, &kept).unwrap();
    let change = Change::put(Table::Claims, "key", "meanwhile");
    for _ in 0..2 {
        let error = database.commit(&[&change]).unwrap_err().to_string();
        assert!(error.contains("its file was removed or replaced"), "{error}");
    }
    // Nor is another one in its place the store.
    Database::open(directory.path()).unwrap().0.close().unwrap();
    database.commit(&[&change]).unwrap_err();
    fs::rename(&kept, &path).unwrap();
    put(&mut database, "key", "after");
    database.close().unwrap();
    let (_, found) = Database::open(directory.path()).unwrap();
    assert_eq!(found.tables[&Table::Claims][0].1, "after");
}
