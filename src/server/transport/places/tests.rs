//! Who gets a place, and who loses one.

use std::net::{IpAddr, Ipv4Addr};

use super::*;

const ONE: CallerId = peer(1);
const OTHER: CallerId = peer(2);

const fn peer(last: u8) -> CallerId {
    CallerId::Network { address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)), bits: 32 }
}

/// A connection and its place.
struct Client(Place, Arc<Closing>);

impl Client {
    fn has_its_place(&self) -> bool {
        !self.0.taken.is_cancelled()
    }

    /// Sends a request, which is answered.
    fn calls(&self) {
        self.begins();
        self.1.pulse.end();
    }

    /// Sends a request that is not answered yet.
    fn begins(&self) {
        if self.1.pulse.begin() {
            self.0.is_known();
        }
    }
}

fn limits(all: usize, per_peer: usize) -> PlaceLimits {
    PlaceLimits { all, per_peer, busy_too: false }
}

fn client(places: &Places, peer: CallerId) -> Result<Client, Full> {
    let closing = Arc::default();
    places.take(peer, &closing).map(|place| Client(place, closing))
}

fn clients(places: &Places, peer: CallerId, count: usize) -> Vec<Client> {
    (0..count).map(|_| client(places, peer).unwrap()).collect()
}

fn with_their_places(clients: &[Client]) -> usize {
    clients.iter().filter(|client| client.has_its_place()).count()
}

fn held(places: &Places) -> usize {
    let held = places.0.held.lock();
    let of_peers: usize = held.peers.values().map(Line::len).sum();
    assert_eq!((held.all.len(), of_peers), (held.connections.len(), held.connections.len()));
    held.connections.len()
}

#[test]
fn a_newcomer_takes_the_place_of_the_oldest_that_sends_nothing() {
    let places = Places::new(limits(8, 8));
    let silent = clients(&places, ONE, 8);
    let newcomer = client(&places, ONE).unwrap();
    assert!(newcomer.has_its_place() && !silent[0].has_its_place());
    assert_eq!((with_their_places(&silent), held(&places)), (7, 8));
    // What has no place any more gives none back.
    drop(silent);
    assert_eq!(held(&places), 1);
    drop(newcomer);
    assert_eq!((held(&places), places.0.held.lock().peers.len()), (0, 0));
}

#[test]
fn one_peer_takes_only_its_own_places() {
    let places = Places::new(limits(8, 4));
    let victims = clients(&places, ONE, 3);
    let greedy = clients(&places, OTHER, 100);
    assert_eq!((with_their_places(&victims), with_their_places(&greedy)), (3, 4));
    for one in &greedy[96..] {
        one.begins();
    }
    assert!(matches!(client(&places, OTHER), Err(Full::Peer)));
    assert!(client(&places, ONE).is_ok());
}

#[test]
fn a_connection_with_calls_keeps_its_place() {
    let places = Places::new(limits(4, 4));
    let busy = clients(&places, ONE, 4);
    busy.iter().for_each(Client::begins);
    assert!(matches!(client(&places, OTHER), Err(Full::Port)));
    busy[2].1.pulse.end();
    let newcomer = client(&places, OTHER).unwrap();
    assert!(newcomer.has_its_place() && !busy[2].has_its_place());
    assert_eq!(with_their_places(&busy), 3);
}

#[test]
fn one_that_has_been_idle_for_long_goes_before_one_that_has_just_connected() {
    let places = Places::new(limits(8, 8));
    let idle = clients(&places, ONE, 8);
    idle.iter().for_each(Client::calls);
    let first = client(&places, ONE).unwrap();
    let second = client(&places, ONE).unwrap();
    assert!(first.has_its_place() && second.has_its_place());
    assert_eq!(with_their_places(&idle), 6);
    // But those that only connect get no more than their part.
    let many = clients(&places, ONE, 100);
    assert!(with_their_places(&idle) >= 5, "{}", with_their_places(&idle));
    assert_eq!(with_their_places(&many) + with_their_places(&idle), 8);
}

#[test]
fn among_idle_ones_the_one_without_a_call_since_the_last_look_goes() {
    let places = Places::new(limits(4, 4));
    let idle = clients(&places, ONE, 4);
    idle.iter().for_each(Client::calls);
    // All four have been looked at, and one is gone.
    let newcomer = client(&places, ONE).unwrap();
    newcomer.calls();
    let left: Vec<&Client> = idle.iter().filter(|client| client.has_its_place()).collect();
    assert_eq!(left.len(), 3);
    left[0].calls();
    let _next = client(&places, ONE).unwrap();
    assert!(left[0].has_its_place() && newcomer.has_its_place());
}

#[test]
fn however_many_are_busy_few_are_looked_at() {
    let places = Places::new(limits(1000, 1000));
    let busy = clients(&places, ONE, 1000);
    busy.iter().for_each(Client::begins);
    busy[999].1.pulse.end();
    // It is found after some looks, each of them short.
    let looks = (1..).find(|_| client(&places, OTHER).is_ok()).unwrap();
    assert_eq!(looks, 1000_usize.div_ceil(LOOKS));
}

#[test]
fn where_calls_are_short_a_newcomer_takes_a_place_whatever_the_others_do() {
    let places = Places::new(PlaceLimits { busy_too: true, ..limits(4, 2) });
    let mut busy = clients(&places, ONE, 2);
    busy.extend(clients(&places, OTHER, 2));
    busy.iter().for_each(Client::begins);
    let newcomer = client(&places, ONE).unwrap();
    assert!(newcomer.has_its_place() && !busy[0].has_its_place());
    assert_eq!(with_their_places(&busy), 3);
}

#[test]
fn one_that_calls_often_stays_before_one_that_called_a_few_times() {
    let places = Places::new(limits(8, 8));
    let often = client(&places, ONE).unwrap();
    let rarely = clients(&places, ONE, 7);
    (0..100).for_each(|_| often.calls());
    rarely.iter().for_each(Client::calls);
    rarely.iter().for_each(Client::calls);
    for _ in 0..5 {
        client(&places, ONE).unwrap().calls();
        (0..100).for_each(|_| often.calls());
    }
    assert!(often.has_its_place());
}
