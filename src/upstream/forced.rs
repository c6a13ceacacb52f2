//! A circuit that an operator has forced open or closed.
//!
//! The breaker goes on counting behind it, so the circuit is what it would have been when the
//! lever ends. Forced open, it stops what an open circuit stops: requests that find out or undo
//! what a write did pass, because they end what was begun. Forced closed, it stops nothing; the
//! pause after refused credentials stays, because another try could lock the account.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    breaker::{Asked, Circuit, Ticket},
    cause::Failure,
    client::Upstream,
    refusal,
};
use crate::levers::{BackendLevers, InForce, Lever};

/// What an operator has made of the circuit.
enum Forced {
    Open(Arc<InForce>),
    Closed,
}

impl Upstream {
    /// From here on, these force its circuit.
    pub fn obey(self: &Arc<Self>, levers: &Arc<BackendLevers>) {
        if self.levers.set(Arc::clone(levers)).is_err() {
            return;
        }
        // They outlive it.
        let this = Arc::downgrade(self);
        levers.on_circuit(move || {
            let Some(this) = this.upgrade() else { return false };
            this.publish(Some(match this.forced() {
                Some(Forced::Open(_)) => "an operator has forced it open",
                Some(Forced::Closed) => "an operator has forced it closed",
                None => "an operator forces it no more",
            }));
            true
        });
        self.publish(None);
    }

    fn forced(&self) -> Option<Forced> {
        let lever = self.levers.get()?.circuit()?;
        Some(match lever.lever {
            Lever::CircuitOpen => Forced::Open(lever),
            _ => Forced::Closed,
        })
    }

    /// Refuses a request that the circuit stops. One that `bypasses` it is never stopped.
    pub(super) fn stops(&self, asked: Asked, bypasses: bool, now: Instant) -> Result<(), Failure> {
        // Asked in any case: the breaker notes who asks.
        let wait = self.breaker.wait(asked, now);
        match self.forced() {
            _ if bypasses => Ok(()),
            Some(Forced::Open(lever)) => Err(Failure::local(refusal::forced_open(&lever))),
            Some(Forced::Closed) => Ok(()),
            None => wait.map_or(Ok(()), |wait| Err(Failure::local(refusal::circuit_open(wait)))),
        }
    }

    /// Permission to send a request now, unless the circuit stops it.
    pub(super) fn admit(
        &self,
        asked: Asked,
        bypasses: bool,
        now: Instant,
    ) -> Result<Ticket<'_>, Failure> {
        match self.forced() {
            _ if bypasses => Ok(self.breaker.pass(Some(asked))),
            Some(Forced::Open(lever)) => Err(Failure::local(refusal::forced_open(&lever))),
            Some(Forced::Closed) => Ok(self.breaker.pass(Some(asked))),
            None => {
                let admitted = self.breaker.admit(asked, now);
                admitted.map_err(|wait| Failure::local(refusal::circuit_open(wait)))
            }
        }
    }

    /// The state of the circuit, apart from rejected credentials, and until when it is open.
    pub(super) fn requests_circuit(&self, now: Instant) -> (Circuit, Option<Instant>) {
        match self.forced() {
            Some(Forced::Open(lever)) => (Circuit::Open, Some(lever.ends)),
            Some(Forced::Closed) => (Circuit::Closed, None),
            None => self.breaker.circuit(now),
        }
    }
}
