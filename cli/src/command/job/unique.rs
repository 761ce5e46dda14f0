//! A job's claim to a key, as flags say it.

use crate::command::value;
use clap::{Args, ValueEnum};
use jobraft_node::config::nearest;
use jobraft_protocol::limits::UNIQUE_PERIOD_MS_MAX;
use jobraft_protocol::{OnConflict, Unique, UniqueKey, UniqueScope};
use std::time::Duration;

/// The flags.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Once only")]
pub(in crate::command) struct UniqueArgs {
    /// A key that at most one job holds at a time, in the whole cluster
    #[arg(long, value_name = "KEY")]
    unique: Option<UniqueKey>,
    /// For how long it holds the key: waiting, started, done, or a time such as 10m [default: done]
    #[arg(long, value_name = "waiting|started|done|DURATION", requires = "unique", value_parser = scope)]
    unique_scope: Option<UniqueScope>,
    /// What happens if another job holds the key [default: existing]
    #[arg(long, value_name = "WHAT", requires = "unique")]
    on_conflict: Option<Conflict>,
}

/// What happens to a job whose key another one holds.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Conflict {
    /// It is refused
    Reject,
    /// It is not enqueued; the other one stands for it
    Existing,
    /// The other one, if it waits, takes over its payload
    ReplacePayload,
    /// The other one, if it waits, takes over its start
    ReplaceStart,
    /// The other one, if it waits, takes over both
    Replace,
}

impl UniqueArgs {
    /// The claim, if one is made.
    pub(in crate::command) fn claim(&self) -> Option<Unique> {
        Some(Unique {
            key: self.unique.clone()?,
            scope: self.unique_scope.unwrap_or_default(),
            on_conflict: self.on_conflict.map(OnConflict::from).unwrap_or_default(),
        })
    }
}

impl From<Conflict> for OnConflict {
    fn from(conflict: Conflict) -> Self {
        let replace = |payload, start| Self::Replace { payload, start };
        match conflict {
            Conflict::Reject => Self::Reject,
            Conflict::Existing => Self::ReturnExisting,
            Conflict::ReplacePayload => replace(true, false),
            Conflict::ReplaceStart => replace(false, true),
            Conflict::Replace => replace(true, true),
        }
    }
}

/// What happens if another job holds the key, by the word that the flag takes.
pub(in crate::command) fn on_conflict(text: &str) -> Result<OnConflict, String> {
    let words: Vec<String> = Conflict::value_variants()
        .iter()
        .filter_map(|known| Some(known.to_possible_value()?.get_name().to_owned()))
        .collect();
    Conflict::from_str(text, false).map(OnConflict::from).map_err(|_| {
        let meant = nearest(text, words.iter().map(String::as_str)).map(|meant| format!("; did you mean {meant:?}?"));
        format!("{text:?} is none of {}{}", words.join(", "), meant.unwrap_or_default())
    })
}

/// For how long a job holds its key: a word or a time.
pub(in crate::command) fn scope(text: &str) -> Result<UniqueScope, String> {
    match text {
        "waiting" => Ok(UniqueScope::Waiting),
        "started" => Ok(UniqueScope::UntilStarted),
        "done" => Ok(UniqueScope::UntilDone),
        _ => {
            let allowed = "is none of waiting, started, done, nor a time of 1 ms to 30 d such as 10m";
            let ms = value::duration(text).map(value::milliseconds).map_err(|_| format!("{text:?} {allowed}"))?;
            if (1..=UNIQUE_PERIOD_MS_MAX).contains(&ms) {
                Ok(UniqueScope::ForMs(ms))
            } else {
                Err(format!("{text:?} {allowed}"))
            }
        }
    }
}

const _: () = assert!(UNIQUE_PERIOD_MS_MAX == Duration::from_secs(30 * 24 * 3_600).as_millis() as u64);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn scopes_are_words_or_a_time() {
        assert_eq!(scope("started").unwrap(), UniqueScope::UntilStarted);
        assert_eq!(scope("10m").unwrap(), UniqueScope::ForMs(600_000));
        for wrong in ["", "forever", "0s", "31days"] {
            let error = scope(wrong).unwrap_err();
            assert!(error.contains("waiting, started, done"), "{error}");
        }
    }

    #[test]
    fn without_a_key_there_is_no_claim() {
        assert!(UniqueArgs::default().claim().is_none());
        let args = UniqueArgs { unique: Some(UniqueKey::new("k").unwrap()), ..UniqueArgs::default() };
        let claim = args.claim().unwrap();
        assert_eq!((claim.scope, claim.on_conflict), (UniqueScope::UntilDone, OnConflict::ReturnExisting));
    }
}
