//! Asks the Sentinels which server is the primary.

use tokio::time::timeout;

use super::{
    SENTINEL,
    failure::Failure,
    fault::{Fault, Writes},
    open::{Credentials, open, places},
    tls::Tls,
};
use crate::shared::settings::{Address, Sentinels};

/// The Sentinels, and how they are asked.
pub(super) struct Watchers {
    pub(super) sentinels: Sentinels,
    pub(super) master: String,
}

impl Watchers {
    /// The address of the primary, by the first of them that knows it. They may be wrong: the
    /// server is asked for its role, too.
    pub(super) async fn primary(
        &self,
        tls: Option<&Tls>,
        credentials: &Credentials,
    ) -> Result<Address, Failure> {
        let mut told: Option<Failure> = None;
        let mut reached = false;
        for sentinel in self.sentinels.addresses() {
            let late = |_| Err(Failure::new(Fault::ConnectTimeout, "no answer in time"));
            let asked =
                timeout(SENTINEL, self.ask(sentinel, tls, credentials)).await.unwrap_or_else(late);
            let failure = match asked {
                Ok(primary) => return Ok(primary),
                Err(failure) => failure,
            };
            // One that answers says more than one that is away.
            let answers = failure.fault.facts().writes == Writes::Refused;
            if answers || !reached {
                let detail = format_args!("the Sentinel at {sentinel}: {failure}");
                told = Some(Failure::new(failure.fault, detail));
            }
            reached |= answers;
        }
        let told = told.unwrap_or_else(|| Failure::new(Fault::SentinelsUnreachable, ""));
        match reached {
            true => Err(told),
            false => Err(told.with_fault(Fault::SentinelsUnreachable)),
        }
    }

    async fn ask(
        &self,
        sentinel: &Address,
        tls: Option<&Tls>,
        credentials: &Credentials,
    ) -> Result<Address, Failure> {
        let mut failure = Failure::new(Fault::NameNotResolved, "no address");
        for place in places(sentinel).await? {
            match open(&place, tls, credentials, 0).await {
                Ok(mut opened) => {
                    let mut command = redis::cmd("SENTINEL");
                    command.arg("GET-MASTER-ADDR-BY-NAME").arg(&self.master);
                    let answer: Option<(String, u16)> = command
                        .query_async(&mut opened.connection)
                        .await
                        .map_err(|error| Failure::of_first_answer(&error))?;
                    let (host, port) = answer.ok_or_else(|| self.unknown())?;
                    return Ok(Address::Tcp(host, port));
                }
                Err(told) => failure = told,
            }
        }
        Err(failure)
    }

    fn unknown(&self) -> Failure {
        Failure::new(Fault::MasterUnknown, format_args!("master is {}", self.master))
    }
}
