//! What caused an error of the HTTP client.

use std::{error::Error, io};

/// What caused an error, one after another.
pub(in crate::upstream) fn causes(
    error: &reqwest::Error,
) -> impl Iterator<Item = &(dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source())
}

/// The causes for the log, without the URL, because a query may contain an id.
pub(in crate::upstream) fn chain(error: &reqwest::Error) -> String {
    let causes: Vec<String> = causes(error).map(ToString::to_string).collect();
    causes.join(": ")
}

/// The cause of this type, also where an error of IO or HTTP/2 wraps it.
pub(super) fn find<'e, E: Error + 'static>(error: &'e (dyn Error + 'static)) -> Option<&'e E> {
    let causes = std::iter::successors(Some(error), |cause| (*cause).source());
    causes.into_iter().find_map(|cause| {
        let mut inner = Some(cause);
        while let Some(cause) = inner {
            if let Some(found) = cause.downcast_ref() {
                return Some(found);
            }
            let io = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            let h2 = || cause.downcast_ref::<h2::Error>().and_then(h2::Error::get_io);
            inner = match io {
                Some(inner) => Some(inner as &(dyn Error + 'static)),
                None => h2().map(|inner| inner as &(dyn Error + 'static)),
            };
        }
        None
    })
}
