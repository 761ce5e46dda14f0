//! The cluster's state for jobs: small named values, written together with a completion or not at all.

use crate::admission::invalid;
use crate::namespaces::Taken;
use crate::record::{ValueRecord, encode};
use crate::{Core, Row, Table};
use bytes::Bytes;
use jobraft_protocol::{Error, ErrorCode, Namespace, StateKey, StateValue, StateWrite, limits};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// What a value takes of its namespace's quota besides its own bytes and its key's.
const VALUE_OVERHEAD_BYTES: u64 = 64;

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
    fn put(&mut self, key: StateKey, value: Option<ValueRecord>) {
        self.bytes += value.as_ref().map_or(0, |record| record.value.len());
        let former = match value {
            Some(value) => self.by_key.insert(key, value),
            None => self.by_key.remove(&key),
        };
        self.bytes -= former.map_or(0, |record| record.value.len());
    }

    /// Removes those of a namespace.
    pub(crate) fn remove_of(&mut self, namespace: &Namespace) {
        let those = self.by_key.keys().filter(|key| namespace.local(key.as_str()).is_some());
        for key in those.cloned().collect::<Vec<_>>() {
            self.put(key.clone(), None);
            self.dirty.insert(key);
        }
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
    /// Checks all writes before any is made, in a step that takes also `others` of the namespace's quota, and gives back so
    /// many bytes.
    pub(crate) fn check_writes(&self, writes: &[StateWrite], others: Taken, given_back: u64) -> Result<(), Error> {
        if writes.len() > limits::STATE_WRITES_MAX {
            let text = format!("{} state writes, at most {} at once", writes.len(), limits::STATE_WRITES_MAX);
            return Err(Error::new(ErrorCode::TooMany, text));
        }
        let mut seen = BTreeSet::new();
        let mut count = self.values.by_key.len();
        let mut bytes = self.values.bytes;
        let (mut held, mut freed) = (0, 0);
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
            held += write.value.as_ref().map_or(0, |value| held_bytes(&write.key, value));
            freed += former.map_or(0, |former| held_bytes(&write.key, &former.value));
        }
        if bytes > limits::STATE_BYTES_MAX && bytes > self.values.bytes {
            let text = format!(
                "the values of the cluster's state would have {bytes} bytes, the limit is {}",
                limits::STATE_BYTES_MAX
            );
            return Err(Error::new(ErrorCode::TooLarge, text));
        }
        if let Some(write) = writes.first()
            && held > freed
        {
            let bytes = (others.bytes + held - freed).saturating_sub(given_back);
            self.check_quota(write.key.as_str(), Taken { bytes, ..Taken::default() })?;
        }
        if count > limits::STATE_KEYS_MAX && count > self.values.by_key.len() {
            let text = format!("the cluster's state has {} values, the most it takes", limits::STATE_KEYS_MAX);
            return Err(Error::new(ErrorCode::TooMany, text));
        }
        Ok(())
    }

    /// Puts a value in the place of another, or of none.
    pub(crate) fn put_value(&mut self, key: StateKey, value: Option<ValueRecord>) {
        let held =
            |key: &StateKey, value: Option<&ValueRecord>| value.map_or(0, |record| held_bytes(key, &record.value));
        let former = held(&key, self.values.by_key.get(&key));
        let space = self.index.queues.namespaces.space_of(key.as_str());
        space.value_bytes = space.value_bytes + held(&key, value.as_ref()) - former;
        self.values.put(key, value);
    }

    /// Makes writes that were checked.
    pub(crate) fn write_values(&mut self, writes: &[StateWrite]) {
        for write in writes {
            self.counters.version += 1;
            let (version, written_at) = (self.counters.version, self.now);
            let value = write.value.clone().map(|value| ValueRecord { value, version, written_at });
            self.put_value(write.key.clone(), value);
            self.values.dirty.insert(write.key.clone());
        }
    }

    /// A value of the state.
    #[must_use]
    pub fn state_value(&self, key: &StateKey) -> Option<StateValue> {
        self.values.by_key.get(key).map(|value| view(key, value))
    }

    /// Values of a namespace's state whose full keys begin with `prefix` and come after `after`, by key, at most `max`.
    #[must_use]
    pub fn state_values(
        &self,
        namespace: &Namespace,
        prefix: &str,
        after: Option<&StateKey>,
        max: usize,
    ) -> Vec<StateValue> {
        let after = after.map(StateKey::as_str).filter(|after| *after >= prefix);
        let from = after.map_or(Bound::Included(prefix), Bound::Excluded);
        let values = self.values.by_key.range::<str, _>((from, Bound::Unbounded));
        let values = values.take_while(|(key, _)| key.as_str().starts_with(prefix));
        // A namespace's keys begin as it is called, and so may those of the default one.
        let values = values.filter(|(key, _)| namespace.local(key.as_str()).is_some());
        values.take(max).map(|(key, value)| view(key, value)).collect()
    }
}

/// What a value takes of its namespace's quota.
fn held_bytes(key: &StateKey, value: &Bytes) -> u64 {
    (key.as_str().len() + value.len()) as u64 + VALUE_OVERHEAD_BYTES
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
        assert_eq!(
            core.check_writes(&[write("a", Some(11))], Taken::default(), 0).unwrap_err().code,
            ErrorCode::TooLarge
        );
        core.check_writes(&[write("a", Some(11)), write("b", Some(9))], Taken::default(), 0).unwrap();
        core.values.bytes += 100;
        core.check_writes(&[write("a", Some(9))], Taken::default(), 0).unwrap();
        core.check_writes(&[write("a", None)], Taken::default(), 0).unwrap();
        core.write_values(&[write("a", None)]);
        assert_eq!(core.values.bytes, limits::STATE_BYTES_MAX + 90, "what goes is taken off");
    }
}
