//! Tokens: by which hashes clients are known that have no certificate, and what they may do.
//!
//! Nothing that `apply` does to jobs depends on them. Whether a secret counts is a question of the time at which it is shown,
//! which is the asker's to say: on a cluster where nothing happens log time stands still, and tokens expire all the same.

use crate::admission::invalid;
use crate::namespaces::Taken;
use crate::record::{TokenRecord, encode};
use crate::{Core, Event, Outcome, Row, Table};
use jobraft_protocol::{
    Digest, Error, ErrorCode, Grant, LogTime, Namespace, NewToken, TokenChange, TokenName, TokenView, limits,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// All tokens.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens {
    pub(crate) by_name: BTreeMap<TokenName, TokenRecord>,
    /// Of all secrets that may count, the former ones included.
    by_hash: BTreeMap<Digest, TokenName>,
    dirty: BTreeSet<TokenName>,
}

/// What a secret is to the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenStanding<'a> {
    /// It counts.
    Good {
        /// Of which token.
        name: &'a TokenName,
        /// What it permits.
        grant: &'a Grant,
        /// When it ceases to count, unless something is done to it before.
        until: Option<LogTime>,
        /// When it was last noted that the token was used.
        last_used: Option<LogTime>,
    },
    /// It counted once, and the token is still there.
    Ended {
        /// Of which token.
        name: &'a TokenName,
        /// Since when it does not count.
        since: LogTime,
        /// Whether another secret took its place.
        is_former: bool,
    },
    /// There is no such token.
    Unknown,
}

impl Tokens {
    /// Takes a token in, or back; says whether no other has its name or one of its secrets.
    pub(crate) fn insert(&mut self, record: TokenRecord) -> bool {
        let name = record.view.name.clone();
        let mut is_alone = true;
        for hash in [Some(record.hash), record.former].into_iter().flatten() {
            is_alone &= self.by_hash.insert(hash, name.clone()).is_none();
        }
        self.by_name.insert(name, record).is_none() && is_alone
    }

    fn put(&mut self, record: TokenRecord) {
        self.remove(&record.view.name.clone());
        self.insert(record);
    }

    /// Removes a token, if it is there, and marks its row.
    fn remove(&mut self, name: &TokenName) -> Option<TokenRecord> {
        self.dirty.insert(name.clone());
        let record = self.by_name.remove(name)?;
        for hash in [Some(record.hash), record.former].into_iter().flatten() {
            self.by_hash.remove(&hash);
        }
        Some(record)
    }

    /// Removes those of a namespace.
    pub(crate) fn remove_of(&mut self, namespace: &Namespace) {
        let those = self.by_name.keys().filter(|name| namespace.local(name.as_str()).is_some());
        for name in those.cloned().collect::<Vec<_>>() {
            self.remove(&name);
        }
    }

    /// What changed since the last call.
    pub(crate) fn take_rows(&mut self, rows: &mut Vec<Row>) {
        for name in std::mem::take(&mut self.dirty) {
            let body = self.by_name.get(&name).map(encode);
            rows.push(Row { table: Table::Token, key: name.as_str().to_owned(), body });
        }
    }
}

impl Core {
    /// Makes, rotates or revokes a token on behalf of `by`.
    pub(crate) fn change_token(&mut self, change: &TokenChange, by: &str) -> Result<Outcome, Error> {
        match change {
            TokenChange::Create(token) => self.create_token(token, by)?,
            TokenChange::Rotate { name, hash, grace_ms } => self.rotate_token(name, *hash, *grace_ms)?,
            TokenChange::Revoke { name } => {
                self.tokens.by_name.get(name).ok_or_else(|| no_token(name))?;
                self.tokens.remove(name);
            }
        }
        self.events.push(Event::TokenChanged);
        Ok(Outcome::Done)
    }

    fn create_token(&mut self, token: &NewToken, by: &str) -> Result<(), Error> {
        let NewToken { name, hash, grant, ttl_ms } = token;
        if grant.home().local(name.as_str()).is_none() {
            return Err(invalid(format!("token {name} would be for another namespace than its own")));
        }
        self.check_quota(name.as_str(), Taken::default())?;
        if let Some(record) = self.tokens.by_name.get(name) {
            // Asked once more for want of an answer.
            let is_same = record.hash == *hash && record.view.grant == *grant && record.ttl_ms == *ttl_ms;
            let text = format!("there is a token {name} already: rotate or revoke it, or take another name");
            return if is_same { Ok(()) } else { Err(Error::new(ErrorCode::Conflict, text)) };
        }
        if grant.roles().next().is_none() {
            return Err(invalid(format!("token {name} would have no role and permit nothing")));
        }
        let bounds = limits::TOKEN_TTL_MS_MIN..=limits::TOKEN_TTL_MS_MAX;
        if let Some(ttl) = ttl_ms.filter(|ttl| !bounds.contains(ttl)) {
            let text =
                format!("{ttl} ms is not from {} to {} ms, for which a token counts", bounds.start(), bounds.end());
            return Err(invalid(text));
        }
        if self.tokens.by_name.len() >= limits::TOKENS_MAX {
            let text = format!("the cluster has {} tokens, the most it takes: revoke some", limits::TOKENS_MAX);
            return Err(Error::new(ErrorCode::TooMany, text));
        }
        self.check_secret_is_new(hash)?;
        let view = TokenView {
            name: name.clone(),
            grant: grant.clone(),
            created_at: self.now,
            created_by: by.to_owned(),
            rotated_at: None,
            expires_at: ttl_ms.map(|ttl| self.now.plus_ms(ttl)),
            former_until: None,
            last_used: None,
        };
        self.tokens.put(TokenRecord { view, hash: *hash, former: None, ttl_ms: *ttl_ms });
        Ok(())
    }

    fn rotate_token(&mut self, name: &TokenName, hash: Digest, grace_ms: u64) -> Result<(), Error> {
        let record = self.tokens.by_name.get(name).ok_or_else(|| no_token(name))?;
        if record.hash == hash {
            return Ok(());
        }
        if grace_ms > limits::TOKEN_GRACE_MS_MAX {
            let text =
                format!("the former secret may count for {} ms more, not {grace_ms}", limits::TOKEN_GRACE_MS_MAX);
            return Err(invalid(text));
        }
        self.check_secret_is_new(&hash)?;
        let mut record = record.clone();
        let view = &mut record.view;
        let until = self.now.plus_ms(grace_ms);
        let until = view.expires_at.map_or(until, |end| end.min(until));
        let still_counts = until > self.now;
        view.former_until = still_counts.then_some(until);
        record.former = still_counts.then_some(record.hash);
        view.rotated_at = Some(self.now);
        view.expires_at = record.ttl_ms.map(|ttl| self.now.plus_ms(ttl));
        record.hash = hash;
        self.tokens.put(record);
        Ok(())
    }

    fn check_secret_is_new(&self, hash: &Digest) -> Result<(), Error> {
        if self.tokens.by_hash.contains_key(hash) {
            let text = "this secret is, or was until just now, that of a token: draw another one";
            return Err(Error::new(ErrorCode::Conflict, text));
        }
        Ok(())
    }

    /// Notes that tokens were used. Those that are not there are passed over.
    pub(crate) fn tokens_used(&mut self, tokens: &[TokenName]) -> Outcome {
        for name in tokens {
            if let Some(record) = self.tokens.by_name.get_mut(name) {
                record.view.last_used = Some(self.now);
                self.tokens.dirty.insert(name.clone());
            }
        }
        Outcome::Done
    }

    /// What the secret of this hash is to the cluster at `at`, or at log time, if that is later.
    #[must_use]
    pub fn token(&self, hash: &Digest, at: LogTime) -> TokenStanding<'_> {
        let named = self.tokens.by_hash.get(hash).and_then(|name| self.tokens.by_name.get(name));
        let Some(TokenRecord { view, hash: current, .. }) = named else { return TokenStanding::Unknown };
        let TokenView { name, grant, last_used, .. } = view;
        let is_former = current != hash;
        let until = if is_former { view.former_until } else { view.expires_at };
        match until.filter(|until| *until <= at.max(self.now)) {
            Some(since) => TokenStanding::Ended { name, since, is_former },
            None => TokenStanding::Good { name, grant, until, last_used: *last_used },
        }
    }

    /// What a token permits, whether or not any secret of it counts; `None` if there is none of that name.
    #[must_use]
    pub fn token_grant(&self, name: &TokenName) -> Option<&Grant> {
        self.tokens.by_name.get(name).map(|record| &record.view.grant)
    }

    /// The tokens that follow `after`, by name.
    pub fn tokens(&self, after: Option<&TokenName>) -> impl Iterator<Item = &TokenView> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.tokens.by_name.range::<TokenName, _>((from, Bound::Unbounded)).map(|(_, record)| &record.view)
    }
}

fn no_token(name: &TokenName) -> Error {
    Error::new(ErrorCode::NotFound, format!("there is no token {name}"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::{Command, Entry};
    use jobraft_protocol::ClientRole;

    const HOUR: u64 = 3_600_000;

    fn apply(core: &mut Core, at: u64, command: Command) -> Result<Outcome, Error> {
        let entry = Entry { at: LogTime::from_ms(at), commands: vec![command], ..Entry::default() };
        core.apply(&entry).outcomes.remove(0)
    }

    fn change(core: &mut Core, at: u64, change: TokenChange) -> Result<Outcome, ErrorCode> {
        apply(core, at, Command::ChangeToken { change, by: "alice".to_owned() }).map_err(|error| error.code)
    }

    fn hash(number: u8) -> Digest {
        Digest([number; 32])
    }

    fn new(name: &str, number: u8, ttl_ms: Option<u64>) -> TokenChange {
        let grant = Grant::new([ClientRole::Producer]);
        TokenChange::Create(NewToken { name: name.parse().unwrap(), hash: hash(number), grant, ttl_ms })
    }

    fn rotate(name: &str, number: u8, grace_ms: u64) -> TokenChange {
        TokenChange::Rotate { name: name.parse().unwrap(), hash: hash(number), grace_ms }
    }

    fn revoke(name: &str) -> TokenChange {
        TokenChange::Revoke { name: name.parse().unwrap() }
    }

    /// The secrets of those from 1 to 9 that count.
    fn good(core: &Core, at: u64) -> Vec<u8> {
        let is_good = |n: &u8| matches!(core.token(&hash(*n), LogTime::from_ms(at)), TokenStanding::Good { .. });
        (1..=9).filter(is_good).collect()
    }

    #[test]
    fn a_token_counts_until_it_expires_by_whichever_time_is_later() {
        let mut core = Core::new();
        change(&mut core, 1_000, new("ci", 1, Some(HOUR))).unwrap();
        change(&mut core, 1_000, new("app", 2, None)).unwrap();
        assert_eq!(good(&core, 0), [1, 2]);
        assert_eq!(good(&core, 1_000 + HOUR - 1), [1, 2]);
        assert_eq!(good(&core, 1_000 + HOUR), [2], "the asker's clock says so");
        apply(&mut core, 1_000 + HOUR, Command::TokensUsed { tokens: vec![] }).unwrap();
        assert_eq!(good(&core, 0), [2], "log time says so");
        let (name, since) = (&"ci".parse().unwrap(), LogTime::from_ms(1_000 + HOUR));
        let ended = TokenStanding::Ended { name, since, is_former: false };
        assert_eq!(core.token(&hash(1), LogTime::ZERO), ended);
    }

    #[test]
    fn the_secret_before_counts_for_as_long_as_it_was_given_and_no_longer_than_it_would_have() {
        let mut core = Core::new();
        change(&mut core, 0, new("ci", 1, Some(HOUR))).unwrap();
        change(&mut core, 10, rotate("ci", 2, 100)).unwrap();
        assert_eq!((good(&core, 109), good(&core, 110)), (vec![1, 2], vec![2]));
        assert_eq!(good(&core, 10 + HOUR), [0; 0], "the other secret counts as long as the first one did");
        // Twice within its grace: the one before the one before is done for.
        change(&mut core, 20, rotate("ci", 3, 100)).unwrap();
        assert_eq!(good(&core, 20), [2, 3]);
        change(&mut core, 30, rotate("ci", 4, 0)).unwrap();
        assert_eq!(good(&core, 30), [4]);
        change(&mut core, 30 + HOUR - 50, rotate("ci", 5, HOUR)).unwrap();
        assert_eq!((good(&core, 29 + HOUR), good(&core, 30 + HOUR)), (vec![4, 5], vec![5]));
        // One that has expired can be rotated, and does not come back by that.
        change(&mut core, 3 * HOUR, rotate("ci", 6, HOUR)).unwrap();
        assert_eq!(good(&core, 0), [6]);
    }

    #[test]
    fn a_revoked_token_is_unknown_at_once_with_all_its_secrets() {
        let mut core = Core::new();
        change(&mut core, 0, new("ci", 1, None)).unwrap();
        change(&mut core, 0, rotate("ci", 2, HOUR)).unwrap();
        change(&mut core, 0, revoke("ci")).unwrap();
        assert_eq!(core.token(&hash(1), LogTime::ZERO), TokenStanding::Unknown);
        assert_eq!(core.token(&hash(2), LogTime::ZERO), TokenStanding::Unknown);
        assert_eq!(change(&mut core, 0, revoke("ci")), Err(ErrorCode::NotFound));
        assert_eq!(change(&mut core, 0, rotate("ci", 3, 0)), Err(ErrorCode::NotFound));
        change(&mut core, 0, new("ci", 1, None)).unwrap();
    }

    #[test]
    fn what_is_asked_twice_is_done_once_and_what_is_taken_is_refused() {
        let mut core = Core::new();
        change(&mut core, 0, new("ci", 1, None)).unwrap();
        let before = core.state_hash();
        change(&mut core, 0, new("ci", 1, None)).unwrap();
        assert_eq!(core.state_hash(), before);
        for (change_to, code) in [
            (new("ci", 2, None), ErrorCode::Conflict),
            (new("ci", 1, Some(HOUR)), ErrorCode::Conflict),
            (new("app", 1, None), ErrorCode::Conflict),
            (new("app", 2, Some(0)), ErrorCode::InvalidArgument),
            (new("app", 2, Some(u64::MAX)), ErrorCode::InvalidArgument),
            (rotate("ci", 2, u64::MAX), ErrorCode::InvalidArgument),
            (
                TokenChange::Create(NewToken {
                    name: "app".parse().unwrap(),
                    hash: hash(2),
                    grant: Grant::new([]),
                    ttl_ms: None,
                }),
                ErrorCode::InvalidArgument,
            ),
        ] {
            assert_eq!(change(&mut core, 0, change_to.clone()), Err(code), "{change_to:?}");
            assert_eq!(core.state_hash(), before, "{change_to:?} changed something");
        }
        change(&mut core, 0, rotate("ci", 2, HOUR)).unwrap();
        let rotated = core.state_hash();
        change(&mut core, 5, rotate("ci", 2, 0)).unwrap();
        assert_eq!(good(&core, 5), [1, 2], "asked again, it is as it was");
        assert_eq!(change(&mut core, 5, rotate("ci", 1, 0)), Err(ErrorCode::Conflict), "its own former secret");
        assert_ne!(rotated, before);
    }

    #[test]
    fn tokens_survive_a_checkpoint_and_those_that_are_gone_stay_gone() {
        let mut core = Core::new();
        change(&mut core, 0, new("ci", 1, Some(HOUR))).unwrap();
        change(&mut core, 0, new("gone", 3, None)).unwrap();
        let first = core.take_changes().encode(Err).unwrap();
        change(&mut core, 7, rotate("ci", 2, 100)).unwrap();
        change(&mut core, 7, revoke("gone")).unwrap();
        apply(&mut core, 9, Command::TokensUsed { tokens: vec!["ci".parse().unwrap(), "no".parse().unwrap()] })
            .unwrap();
        let second = core.take_changes().encode(Err).unwrap();
        let mut rows = BTreeMap::new();
        for row in first.rows.into_iter().chain(second.rows) {
            match row.body {
                Some(body) => rows.insert((row.table, row.key), body),
                None => rows.remove(&(row.table, row.key)),
            };
        }
        let mut restore = Core::restore(&second.header).unwrap();
        for ((table, key), body) in &rows {
            restore.row(*table, key, body).unwrap();
        }
        let restored = restore.finish().unwrap();
        assert_eq!(restored.state_hash(), core.state_hash());
        assert_eq!((good(&restored, 106), good(&restored, 107)), (vec![1, 2], vec![2]));
        assert_eq!(restored.tokens(None).next().unwrap().last_used, Some(LogTime::from_ms(9)));

        let mut restore = Core::restore(&second.header).unwrap();
        let body = &rows[&(Table::Token, "ci".to_owned())];
        restore.row(Table::Token, "ci", body).unwrap();
        restore.row(Table::Token, "other", body).unwrap_err();
    }

    #[test]
    fn tokens_are_bounded_and_listed_by_name() {
        let mut core = Core::new();
        for number in 0..limits::TOKENS_MAX {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
            let TokenChange::Create(token) = new(&format!("t{number:05}"), 0, None) else { unreachable!() };
            change(&mut core, 0, TokenChange::Create(NewToken { hash: Digest(bytes), ..token })).unwrap();
        }
        assert_eq!(change(&mut core, 0, new("more", 9, None)), Err(ErrorCode::TooMany));
        let after = "t09997".parse().unwrap();
        let names: Vec<&str> = core.tokens(Some(&after)).map(|view| view.name.as_str()).collect();
        assert_eq!(names, ["t09998", "t09999"]);
    }
}
