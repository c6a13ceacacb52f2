//! The documents, held to the program: every command in them is run and its output compared, and
//! what they list is what there is.
//!
//! How a page is written so that it can be run is in `docs/contributing-docs.md`. `UPDATE_DOCS=1`
//! writes what the program says now into the pages; `DOCS_PAGE=docs/tour.md` runs one page alone.

mod compare;
mod errors;
pub(crate) mod generated;
mod page;
mod pages;
mod reference;
mod replicas;
mod runbooks;
mod session;
mod shell;
mod tables;

use std::{fmt::Write as _, sync::Arc};

use futures_util::{StreamExt as _, stream};

use self::{page::Page, session::Mismatch};

/// Pages that run at the same time, each with processes of its own.
const AT_ONCE: usize = 2;

#[tokio::test]
async fn commands_do_what_the_documents_say() {
    let wanted = std::env::var("DOCS_PAGE").ok();
    let wanted = |page: &Page| wanted.as_ref().is_none_or(|only| *only == page.path);
    let pages: Vec<Arc<Page>> =
        pages::all().into_iter().filter(|page| wanted(page) && page.runs()).map(Arc::new).collect();
    assert!(!pages.is_empty(), "no page has a command");
    let runs = pages.iter().map(|page| session::run(Arc::clone(page)));
    let mismatches: Vec<Vec<Mismatch>> = stream::iter(runs).buffered(AT_ONCE).collect().await;
    if std::env::var_os("UPDATE_DOCS").is_some_and(|value| value == "1") {
        for (page, mismatches) in pages.iter().zip(&mismatches) {
            pages::update(page, mismatches);
        }
        return;
    }
    let mut report = String::new();
    for (page, mismatch) in
        pages.iter().zip(&mismatches).flat_map(|(p, ms)| ms.iter().map(move |m| (p, m)))
    {
        let _ = writeln!(report, "\n{}", mismatch.told(&page.path));
    }
    assert!(report.is_empty(), "the documents show other output than the program:\n{report}");
}
