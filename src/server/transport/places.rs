//! The places of a port: how many connections it has, of each peer and in all.
//!
//! A client that cannot get a place takes that of a connection that does nothing: one that has not
//! sent a request yet, or one without calls. So a client that only connects keeps no other out, and
//! takes no more than the places of its own peer.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{closing::Closing, pulse::Moment};
use crate::caller::CallerId;

/// The part of all places that connections without a request may keep while others are idle.
const SILENT: usize = 4;
/// How many connections are looked at, at most, to find one that can go.
const LOOKS: usize = 64;
/// How often a full port looks again whether a connection has become idle.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How many connections a port takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlaceLimits {
    pub all: usize,
    pub per_peer: usize,
    /// Whether a newcomer may take the place of a connection with calls, where all have some. Calls
    /// are so short there that it rarely comes to that.
    pub busy_too: bool,
}

/// The places of a port; a handle.
#[derive(Debug, Clone)]
pub(super) struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: PlaceLimits,
    held: Mutex<Held>,
    freed: Notify,
}

/// A connection's place, which it holds until this is dropped or another one takes it.
#[derive(Debug)]
pub(super) struct Place {
    shared: Arc<Shared>,
    id: u64,
    taken: CancellationToken,
    made_room: Option<Full>,
}

/// What is full: there is no place without another connection's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The peer has all that it may have.
    Peer,
    /// The port has all that it takes.
    Port,
}

impl Places {
    pub(super) fn new(limits: PlaceLimits) -> Self {
        let held = Mutex::new(Held { busy_too: limits.busy_too, ..Held::default() });
        Self(Arc::new(Shared { limits, held, freed: Notify::new() }))
    }

    /// A place for a connection of this peer. An error says what is full, with calls on each
    /// connection.
    pub(super) fn take(&self, peer: CallerId, closing: &Arc<Closing>) -> Result<Place, Full> {
        let Self(shared) = self;
        let PlaceLimits { all, per_peer, .. } = shared.limits;
        let mut held = shared.held.lock();
        let of_peer = held.peers.get(&peer).map_or(0, Line::len);
        let mut made_room = None;
        if of_peer >= per_peer {
            made_room = Some(Full::Peer);
            if !held.make_room(Some(peer), per_peer) {
                return Err(Full::Peer);
            }
        }
        if held.connections.len() >= all {
            made_room = Some(Full::Port);
            if !held.make_room(None, all) {
                return Err(Full::Port);
            }
        }
        let taken = CancellationToken::new();
        let id = held.add(peer, Arc::clone(closing), taken.clone());
        Ok(Place { shared: Arc::clone(shared), id, taken, made_room })
    }

    /// Waits until a place may be free.
    pub(super) async fn freed(&self) {
        let _ = timeout(LOOK_AGAIN, self.0.freed.notified()).await;
    }

    /// Closes a connection that does nothing, if there is one.
    pub(super) fn make_room(&self) {
        self.0.held.lock().make_room(None, self.0.limits.all);
    }
}

impl Place {
    /// The first request of the connection has arrived.
    pub(super) fn is_known(&self) {
        self.shared.held.lock().is_known(self.id);
    }

    /// What was full, so that another connection had to make room.
    pub(super) fn made_room(&self) -> Option<Full> {
        self.made_room
    }

    /// Whether another connection may take the place although calls run on this one.
    pub(super) fn is_lost_when_busy(&self) -> bool {
        self.shared.limits.busy_too
    }

    /// Waits until another connection has taken the place.
    pub(super) async fn taken(&self) {
        self.taken.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.held.lock().remove(self.id);
        self.shared.freed.notify_one();
    }
}

#[derive(Debug, Default)]
struct Held {
    busy_too: bool,
    next: u64,
    connections: HashMap<u64, Connection>,
    all: Line,
    peers: HashMap<CallerId, Line>,
}

#[derive(Debug)]
struct Connection {
    peer: CallerId,
    closing: Arc<Closing>,
    taken: CancellationToken,
    /// Its place in the lines.
    turn: u64,
    known: bool,
    /// What it had done when it was last looked at.
    seen: Moment,
}

/// Connections by turn. The first are the first to go.
#[derive(Debug, Default)]
struct Line {
    /// Those that have not sent a request.
    silent: BTreeMap<u64, u64>,
    known: BTreeMap<u64, u64>,
}

impl Line {
    fn len(&self) -> usize {
        self.silent.len() + self.known.len()
    }

    fn part(&mut self, known: bool) -> &mut BTreeMap<u64, u64> {
        if known { &mut self.known } else { &mut self.silent }
    }
}

impl Held {
    fn add(&mut self, peer: CallerId, closing: Arc<Closing>, taken: CancellationToken) -> u64 {
        self.next += 1;
        let (id, turn, seen) = (self.next, self.next, Moment::default());
        let connection = Connection { peer, closing, taken, turn, known: false, seen };
        self.connections.insert(id, connection);
        self.all.silent.insert(turn, id);
        self.peers.entry(peer).or_default().silent.insert(turn, id);
        id
    }

    fn remove(&mut self, id: u64) -> Option<Connection> {
        let connection = self.connections.remove(&id)?;
        let Connection { peer, turn, known, .. } = connection;
        self.all.part(known).remove(&turn);
        if let Some(line) = self.peers.get_mut(&peer) {
            line.part(known).remove(&turn);
            if line.len() == 0 {
                self.peers.remove(&peer);
            }
        }
        Some(connection)
    }

    fn is_known(&mut self, id: u64) {
        let now = self.connections.get(&id).map(|connection| connection.closing.pulse.now());
        self.requeue(id, true, now);
    }

    /// Lets a connection go to the end of the lines.
    fn requeue(&mut self, id: u64, known: bool, seen: Option<Moment>) {
        self.next += 1;
        let turn = self.next;
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let (before, was_known) = (connection.turn, connection.known);
        (connection.turn, connection.known) = (turn, known);
        connection.seen = seen.unwrap_or(connection.seen);
        let peer = self.peers.get_mut(&connection.peer);
        for line in [Some(&mut self.all), peer].into_iter().flatten() {
            line.part(was_known).remove(&before);
            line.part(known).insert(turn, id);
        }
    }

    /// Takes the place of a connection of this peer, or of any, that does nothing. `limit` is how
    /// many places there are.
    fn make_room(&mut self, peer: Option<CallerId>, limit: usize) -> bool {
        let Some(id) = self.weakest(peer, limit) else { return false };
        let Some(connection) = self.remove(id) else { return false };
        connection.taken.cancel();
        true
    }

    /// The oldest connection without a request, if they are many. Otherwise one without a call
    /// since it was last looked at, or with the fewest: a client that has just connected needs a
    /// moment for its first request.
    fn weakest(&mut self, peer: Option<CallerId>, limit: usize) -> Option<u64> {
        let line = match peer {
            Some(peer) => self.peers.get(&peer)?,
            None => &self.all,
        };
        let oldest = line.silent.values().next().copied();
        if line.silent.len() > limit / SILENT {
            return oldest;
        }
        let looked_at: Vec<u64> = line.known.values().take(LOOKS).copied().collect();
        let busy = looked_at.first().copied().filter(|_| self.busy_too);
        let mut idle: Option<(u64, u64)> = None;
        for id in looked_at {
            let Some(connection) = self.connections.get(&id) else { continue };
            let (now, seen) = (connection.closing.pulse.now(), connection.seen);
            let calls = now.calls_since(seen);
            if now.is_idle() && calls == 0 {
                return Some(id);
            }
            if now.is_idle() && idle.is_none_or(|(fewest, _)| calls < fewest) {
                idle = Some((calls, id));
            }
            self.requeue(id, true, Some(now));
        }
        idle.map(|(_, id)| id).or(oldest).or(busy)
    }
}

#[cfg(test)]
mod tests;
