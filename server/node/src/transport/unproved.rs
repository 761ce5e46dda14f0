//! Connections that have not shown who they are: how many there may be, and which of them give way to later ones.
//!
//! Who is let in shows a token within a round trip. Of those that do not, the oldest gives way: of the same source first, so
//! that a crowd from there is its own nuisance, and of all when there are too many. Nobody is turned away at the door.

use jobraft_protocol::limits::{UNPROVED_MAX, UNPROVED_PER_ADDRESS_MAX};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;

/// All of them.
#[derive(Clone, Default)]
pub(super) struct Unproved(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    next: u64,
    /// In the order in which they came.
    waiting: BTreeMap<u64, (IpAddr, CancellationToken)>,
}

/// The place of one of them, until it is dropped.
pub(super) struct Place {
    all: Unproved,
    number: u64,
    gone: CancellationToken,
}

impl Unproved {
    /// Takes one in; another may have to go for that.
    pub(super) fn enter(&self, from: IpAddr) -> Place {
        let source = source(from);
        let mut state = self.lock();
        let of_source = state.waiting.iter().filter(|(_, (other, _))| *other == source);
        let goes = if of_source.clone().count() >= UNPROVED_PER_ADDRESS_MAX {
            of_source.map(|(number, _)| *number).next()
        } else if state.waiting.len() >= UNPROVED_MAX {
            state.waiting.keys().next().copied()
        } else {
            None
        };
        if let Some((_, gone)) = goes.and_then(|number| state.waiting.remove(&number)) {
            gone.cancel();
        }
        state.next += 1;
        let (number, gone) = (state.next, CancellationToken::new());
        state.waiting.insert(number, (source, gone.clone()));
        Place { all: self.clone(), number, gone }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Waits until it has to give way.
    pub(super) async fn gone(&self) {
        self.gone.cancelled().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.lock().waiting.remove(&self.number);
    }
}

/// From where it came, as far as that is not one's own to choose: networks of IPv6 give everybody 2^64 addresses.
pub(super) fn source(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => v6
            .to_ipv4_mapped()
            .map_or_else(|| IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))), IpAddr::V4),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(number.into())
    }

    fn is_gone(place: &Place) -> bool {
        place.gone.is_cancelled()
    }

    #[test]
    fn the_oldest_of_a_source_gives_way_to_the_next_from_there() {
        let all = Unproved::default();
        let other = all.enter(address(2));
        let places: Vec<Place> = (0..=UNPROVED_PER_ADDRESS_MAX).map(|_| all.enter(address(1))).collect();
        assert!(is_gone(&places[0]) && !places[1..].iter().any(is_gone) && !is_gone(&other));
        drop(places);
        assert_eq!(all.lock().waiting.len(), 1);
    }

    #[test]
    fn the_oldest_of_all_gives_way_when_there_are_too_many() {
        let all = Unproved::default();
        let places: Vec<Place> = (0..=u32::try_from(UNPROVED_MAX).unwrap()).map(|n| all.enter(address(n))).collect();
        assert!(is_gone(&places[0]) && !places[1..].iter().any(is_gone));
        assert_eq!(all.lock().waiting.len(), UNPROVED_MAX);
    }

    #[test]
    fn a_network_of_ipv6_is_one_source() {
        let of = |text: &str| source(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::9"));
        assert_ne!(of("2001:db8:1:2::9"), of("2001:db8:1:3::9"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
