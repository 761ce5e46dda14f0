//! The cluster's state for jobs: small named values, written together with a completion or not at all.

use crate::admission::invalid;
use crate::record::{ValueRecord, encode};
use crate::{Core, Row, Table};
use jobraft_protocol::{Error, ErrorCode, StateKey, StateValue, StateWrite, limits};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// All values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    pub(crate) by_key: BTreeMap<StateKey, ValueRecord>,
    /// Of all values together.
    bytes: usize,
    dirty: BTreeSet<StateKey>,
}

impl Values {
    /// Puts a value in the place of another, or of none.
    pub(crate) fn put(&mut self, key: StateKey, value: Option<ValueRecord>) {
        self.bytes += value.as_ref().map_or(0, |record| record.value.len());
        let former = match value {
            Some(value) => self.by_key.insert(key, value),
            None => self.by_key.remove(&key),
        };
        self.bytes -= former.map_or(0, |record| record.value.len());
    }

    /// What changed since the last call.
    pub(crate) fn take_rows(&mut self, rows: &mut Vec<Row>) {
        for key in std::mem::take(&mut self.dirty) {
            let body = self.by_key.get(&key).map(encode);
            rows.push(Row { table: Table::State, key: key.as_str().to_owned(), body });
        }
    }
}

impl Core {
    /// Checks all writes before any is made.
    pub(crate) fn check_writes(&self, writes: &[StateWrite]) -> Result<(), Error> {
        if writes.len() > limits::STATE_WRITES_MAX {
            let text = format!("{} state writes, at most {} at once", writes.len(), limits::STATE_WRITES_MAX);
            return Err(Error::new(ErrorCode::TooMany, text));
        }
        let mut seen = BTreeSet::new();
        let mut count = self.values.by_key.len();
        let mut bytes = self.values.bytes;
        for (place, write) in writes.iter().enumerate() {
            let former = self.values.by_key.get(&write.key);
            let checked = if seen.insert(&write.key) {
                check_write(write, former)
            } else {
                Err(invalid("the key is written twice in one completion".to_owned()))
            };
            checked.map_err(|mut error| {
                error.message = format!("state write {place} ({}): {}", write.key, error.message);
                error
            })?;
            count += usize::from(former.is_none() && write.value.is_some());
            bytes += write.value.as_ref().map_or(0, |value| value.len());
            bytes -= former.map_or(0, |former| former.value.len());
        }
        if bytes > limits::STATE_BYTES_MAX && bytes > self.values.bytes {
            let text = format!(
                "the values of the cluster's state would have {bytes} bytes, the limit is {}",
                limits::STATE_BYTES_MAX
            );
            return Err(Error::new(ErrorCode::TooLarge, text));
        }
        if count > limits::STATE_KEYS_MAX && count > self.values.by_key.len() {
            let text = format!("the cluster's state has {} values, the most it takes", limits::STATE_KEYS_MAX);
            return Err(Error::new(ErrorCode::TooMany, text));
        }
        Ok(())
    }

    /// Makes writes that were checked.
    pub(crate) fn write_values(&mut self, writes: &[StateWrite]) {
        for write in writes {
            self.counters.version += 1;
            let (version, written_at) = (self.counters.version, self.now);
            let value = write.value.clone().map(|value| ValueRecord { value, version, written_at });
            self.values.put(write.key.clone(), value);
            self.values.dirty.insert(write.key.clone());
        }
    }

    /// A value of the cluster's state.
    #[must_use]
    pub fn state_value(&self, key: &StateKey) -> Option<StateValue> {
        self.values.by_key.get(key).map(|value| view(key, value))
    }

    /// Values of the cluster's state whose keys begin with `prefix` and come after `after`, by key, at most `max`.
    #[must_use]
    pub fn state_values(&self, prefix: &str, after: Option<&StateKey>, max: usize) -> Vec<StateValue> {
        let after = after.filter(|after| after.as_str() >= prefix).map(Bound::Excluded);
        let first = StateKey::new(prefix).ok();
        let from = after.or(first.as_ref().map(Bound::Included)).unwrap_or(Bound::Unbounded);
        let values = self.values.by_key.range::<StateKey, _>((from, Bound::Unbounded));
        values.take_while(|(key, _)| key.as_str().starts_with(prefix)).take(max).map(|(k, v)| view(k, v)).collect()
    }
}

fn check_write(write: &StateWrite, former: Option<&ValueRecord>) -> Result<(), Error> {
    let bytes = write.value.as_ref().map_or(0, |value| value.len());
    if bytes > limits::STATE_VALUE_BYTES_MAX {
        let text = format!("the value has {bytes} bytes, the limit is {}", limits::STATE_VALUE_BYTES_MAX);
        return Err(Error::new(ErrorCode::TooLarge, text));
    }
    let version = former.map_or(0, |value| value.version);
    match write.if_version {
        Some(wanted) if wanted != version => {
            let text = format!("its version is {version}, not {wanted}: read it again");
            Err(Error::new(ErrorCode::Conflict, text))
        }
        _ => Ok(()),
    }
}

fn view(key: &StateKey, value: &ValueRecord) -> StateValue {
    let ValueRecord { value, version, written_at } = value;
    StateValue { key: key.clone(), value: value.clone(), version: *version, written_at: *written_at }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn values_beyond_their_bytes_are_refused_unless_they_become_less() {
        let write = |key: &str, bytes: Option<usize>| StateWrite {
            key: key.parse().unwrap(),
            value: bytes.map(|bytes| vec![0; bytes].into()),
            if_version: None,
        };
        let mut core = Core::new();
        core.write_values(&[write("a", Some(10)), write("b", Some(10))]);
        // As if the others were large.
        core.values.bytes += limits::STATE_BYTES_MAX - 20;
        assert_eq!(core.check_writes(&[write("a", Some(11))]).unwrap_err().code, ErrorCode::TooLarge);
        core.check_writes(&[write("a", Some(11)), write("b", Some(9))]).unwrap();
        core.values.bytes += 100;
        core.check_writes(&[write("a", Some(9))]).unwrap();
        core.check_writes(&[write("a", None)]).unwrap();
        core.write_values(&[write("a", None)]);
        assert_eq!(core.values.bytes, limits::STATE_BYTES_MAX + 90, "what goes is taken off");
    }
}
