//! `profile-gateway explain`: what a reason means, or the details of an error that was printed.

use std::io::{self, IsTerminal as _, Read as _, Write as _};

use crate::{
    error::explained::{explanation, names, nearest},
    rpc::details,
    text,
};

/// What comes below the list of reasons.
const HOW: &str = "`profile-gateway explain REASON` says what one means, and what to do. Pipe what \
                   `buf curl` printed into it, or the value of grpc-status-details-bin, and it \
                   decodes the details.";
/// More than any status can hold, with room for the output around it.
const MAX_INPUT: u64 = 64 << 20;

/// The explanation of a reason. Without one, the details of the error on standard input, decoded;
/// at a terminal, or if `list` is set, all reasons.
///
/// # Errors
///
/// The inner one, for a person, if there is no such reason; the outer one if standard input cannot
/// be read.
pub fn explain(reason: Option<&str>, list: bool) -> io::Result<Result<String, String>> {
    let Some(reason) = reason else {
        if list {
            return Ok(Ok(names().collect::<Vec<_>>().join("\n")));
        }
        if io::stdin().is_terminal() {
            // Beside the output, so that it can be piped on.
            let _ = writeln!(io::stderr(), "{HOW}\n");
            return Ok(Ok(names().collect::<Vec<_>>().join("\n")));
        }
        let printed = io::read_to_string(io::stdin().take(MAX_INPUT))?;
        return Ok(Ok(details::explain(printed.trim_end())));
    };
    Ok(explanation(reason).map(|explained| explained.to_string()).ok_or_else(|| unknown(reason)))
}

fn unknown(reason: &str) -> String {
    let near = nearest(reason);
    let hint = match near.is_empty() {
        true => "`profile-gateway explain --list` prints all of them".to_owned(),
        false => format!("did you mean {}?", near.join(" or ")),
    };
    format!("{} is not a reason of an error; {hint}", text::quoted(reason))
}
