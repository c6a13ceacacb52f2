//! How much work it is to read and compare what an upstream sends: as much as that is long.

use std::{
    cell::Cell,
    hash::{Hash, Hasher},
};

use serde_json::json;

use crate::{
    dialect::{
        endpoint::{
            decode::{self, Identified, nested},
            steps,
        },
        recorder::reply,
    },
    model::object::work,
};

thread_local! {
    static LOOKS: Cell<usize> = const { Cell::new(0) };
}

/// How often something was compared, in this thread, while this ran.
fn looks<T>(run: impl FnOnce() -> T) -> usize {
    let before = LOOKS.get();
    run();
    LOOKS.get() - before
}

/// Something whose comparisons are counted.
#[derive(Clone)]
struct Counted(String);

impl Counted {
    fn text(&self) -> &str {
        LOOKS.set(LOOKS.get() + 1);
        &self.0
    }
}

impl Identified for Counted {
    fn id(&self) -> &str {
        self.text()
    }
}

impl PartialEq for Counted {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text()
    }
}

impl Eq for Counted {}

impl Hash for Counted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text().hash(state);
    }
}

const MANY: usize = 1000;

#[test]
fn each_part_of_a_profile_is_compared_with_few_others() {
    let list = json!((0..MANY).map(|id| json!({ "id": id })).collect::<Vec<_>>());
    let read = || {
        let each = nested(|members| Some((Counted(members["id"].to_string()), true)));
        let (found, whole) = each(&list).unwrap();
        assert_eq!((found.len(), whole), (MANY, true));
    };
    let looks = looks(read);
    assert!(looks <= 8 * MANY, "{looks}");
}

#[test]
fn each_part_of_two_profiles_is_compared_with_few_others() {
    let parts = |from: usize| -> Vec<Counted> {
        (from..from + MANY).map(|id| Counted(id.to_string())).collect()
    };
    let (had, wanted) = (parts(0), parts(MANY / 2));
    let compare = || {
        assert_eq!(steps::without(&had, &wanted).count(), MANY / 2);
        assert_eq!(steps::without(&wanted, &had).next().unwrap().0, MANY.to_string());
    };
    let looks = looks(compare);
    assert!(looks <= 16 * MANY, "{looks}");
}

#[test]
fn each_member_of_a_list_is_looked_at_a_few_times() {
    let members: Vec<String> = (0..MANY).map(|n| format!(r#""m{n}":{n},"id":1"#)).collect();
    let body = reply(200, format!("[{{{}}}]", members.join(",")));
    for looked_at in [
        work::members(|| decode::list(&body).ok().unwrap()),
        work::members(|| decode::one(&body, "1").unwrap()),
    ] {
        assert!(looked_at <= 16 * MANY, "{looked_at}");
    }
}
