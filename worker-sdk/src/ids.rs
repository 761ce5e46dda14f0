//! Ids for new jobs: in the order in which they were made, also within a millisecond, so that whoever goes by ids goes by
//! that order. The twelve bits behind the time count (RFC 9562, section 6.2, method 1), the others are random.

use crate::sync::lock;
use jobraft_protocol::{JobId, LogTime};
use std::sync::Mutex;

/// How far the bits that count go.
const COUNT_MAX: u16 = 0x0fff;
/// Where the count of a millisecond begins at most: half of the bits are left for it.
const FIRST_MAX: u16 = COUNT_MAX / 2;

/// Mints ids; each is greater than all before.
#[derive(Debug, Default)]
pub(crate) struct JobIds {
    /// Time in milliseconds and count of the last one.
    last: Mutex<(u64, u16)>,
}

impl JobIds {
    /// An id made at `now`, or, where so many were made at once that the bits do not suffice, a little later.
    pub(crate) fn next(&self, now: LogTime) -> JobId {
        let mut random: [u8; 10] = rand::random();
        let (at, count) = {
            let mut last = lock(&self.last);
            *last = match *last {
                (at, count) if at >= now.as_ms() && count < COUNT_MAX => (at, count + 1),
                (at, _) => (now.as_ms().max(at + 1), u16::from_be_bytes([random[0], random[1]]) & FIRST_MAX),
            };
            *last
        };
        random[..2].copy_from_slice(&count.to_be_bytes());
        JobId::new(LogTime::from_ms(at), random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_id_is_greater_than_all_before_whatever_the_clock_says() {
        let (ids, mut last) = (JobIds::default(), None);
        for step in 0..20_000_u64 {
            let now = LogTime::from_ms(1_700_000_000_000 + step / 9_000 - u64::from(step % 7 == 0));
            let id = ids.next(now);
            assert!(last.replace(id) < Some(id), "{last:?} {id}");
            assert!(id.is_version_7() && id.minted_at().ms_since(now) < 20, "{id}");
        }
    }
}
