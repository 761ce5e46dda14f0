//! `jobraft state`: the values that jobs have written.

use crate::connection::{ConnectionArgs, failed};
use crate::failure::{Exit, Failure};
use crate::output::{BytesJson, Mood, Output, Table, human};
use clap::{Args, Subcommand};
use jobraft_protocol::{Consistency, LogTime, StateKey, StateValue};
use serde::Serialize;

/// Characters of a value that fit into a row.
const VALUE_CHARS: usize = 60;
/// Bytes of a value that are looked at for a row.
const VALUE_BYTES: usize = 4 * VALUE_CHARS;

/// See the values that jobs have written together with their completion
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft state list orders/
  jobraft state get orders/last")]
pub(super) struct StateArgs {
    #[command(subcommand)]
    command: StateCommand,
    #[command(flatten)]
    connection: ConnectionArgs,
}

#[derive(Debug, Subcommand)]
enum StateCommand {
    /// Write a value to stdout, as it is
    #[command(after_help = "\
Examples:
  jobraft state get orders/last
  jobraft state get orders/last > value.bin
  jobraft state get orders/last --json | jq .version")]
    Get {
        /// Its key
        // `key` is the file of the client's own key, in every command.
        #[arg(id = "state_key", value_name = "KEY")]
        key: StateKey,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List values by key
    #[command(after_help = "\
Examples:
  jobraft state list
  jobraft state list orders/ --json")]
    List {
        /// Only keys that begin so
        #[arg(default_value = "", hide_default_value = true)]
        prefix: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Serialize)]
struct StateJson {
    key: String,
    #[serde(flatten)]
    value: BytesJson,
    version: u64,
    written_at: String,
}

impl From<&StateValue> for StateJson {
    fn from(state: &StateValue) -> Self {
        Self {
            key: state.key.to_string(),
            value: BytesJson::from(&state.value[..]),
            version: state.version,
            written_at: human::timestamp(state.written_at),
        }
    }
}

impl StateArgs {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let client = self.connection.client().await?;
        let output = Output::new();
        match self.command {
            StateCommand::Get { key, json } => {
                let doing = format!("get {}", human::one_line(key.as_str(), VALUE_CHARS));
                let read = client.state_value(&key, Consistency::Linearizable).await;
                let value = read.map_err(|error| failed(&doing, &error))?.ok_or_else(|| {
                    Failure::new(doing, "there is no value of that key")
                        .exit(Exit::NotFound)
                        .hint("see which there are with `jobraft state list`")
                })?;
                if json { output.json(&StateJson::from(&value)) } else { output.bytes(&value.value) }
            }
            StateCommand::List { prefix, json } => {
                let read = client.state_values(&prefix, Consistency::Linearizable).await;
                let values = read.map_err(|error| failed("list values", &error))?;
                if json {
                    return output.json(&values.iter().map(StateJson::from).collect::<Vec<_>>());
                }
                output.table(table(&values, client.log_time()), "no value matches")
            }
        }
    }
}

fn table(values: &[StateValue], now: LogTime) -> Table {
    let mut table = Table::new(&["KEY", ">VERSION", ">SIZE", "WRITTEN", "VALUE"]);
    for state in values {
        let shown = human::excerpt(&state.value, VALUE_BYTES);
        table.row(
            [
                state.key.to_string(),
                state.version.to_string(),
                human::bytes(state.value.len() as u64),
                human::relative(state.written_at.min(now), now),
                human::one_line(&shown, VALUE_CHARS),
            ]
            .map(|cell| (cell, Mood::Plain)),
        );
    }
    table
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::output::Paint;

    fn value(bytes: &'static [u8]) -> StateValue {
        let key = StateKey::new("orders/last").unwrap();
        StateValue { key, value: bytes.into(), version: 7, written_at: LogTime::from_ms(1_000) }
    }

    #[test]
    fn a_value_is_text_or_hexadecimal() {
        let json = |bytes| serde_json::to_value(StateJson::from(&value(bytes))).unwrap();
        assert_eq!(json(b"17")["value"], "17");
        assert_eq!(json(b"\xff\x00")["value_hex"], "ff00");
        assert_eq!(json(b"17")["version"], 7);
    }

    #[test]
    fn a_value_takes_one_line_of_the_table() {
        let text = table(&[value(b"a\nb\x1b[2J")], LogTime::from_ms(1_000)).render(Paint::never()).unwrap();
        assert_eq!(text.lines().count(), 2, "{text:?}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
    }
}
