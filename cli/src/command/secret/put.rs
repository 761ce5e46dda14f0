//! `jobraft secret put`: makes a secret, or gives one another value.

use super::granted::GrantedArgs;
use crate::command::confirm::at_terminal;
use crate::connection::{ConnectionArgs, failed};
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use jobraft_protocol::limits::SECRET_BYTES_MAX;
use jobraft_protocol::{SecretName, SecretValue};
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

/// Make a secret, or give one another value
///
/// The value is read from stdin, or from a file, without the end of its last line; at a terminal it is asked for and not shown. It
/// never stands on the command line, which all users of a machine can see. Without --module another value goes to where the former
/// one went, and a new secret to nobody; with it, --module and --queue together say anew to whose jobs it is given.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  jobraft secret put STRIPE_KEY --module billing --from-file stripe.key
  jobraft secret put DB_PASSWORD --module report --module import --queue 'nightly/*'
  jobraft secret put STRIPE_KEY")]
pub(super) struct PutArgs {
    /// Its name, which is that of an environment variable
    name: SecretName,
    #[command(flatten)]
    granted: GrantedArgs,
    /// Read the value from here
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
}

impl PutArgs {
    pub(super) async fn run(self, connection: &ConnectionArgs) -> Result<(), Failure> {
        let Self { name, granted, from_file } = self;
        let doing = format!("put secret {name}");
        let value = match from_file {
            Some(file) => {
                let text = File::open(&file).and_then(read);
                text.map_err(|error| Failure::usage(format!("read {}", file.display()), error))?
            }
            None if at_terminal() => {
                let asked = rpassword::prompt_password(format!("Value of {name}: "));
                asked.map_err(|error| Failure::new("ask for the value", error))?
            }
            None => read(io::stdin()).map_err(|error| Failure::usage("read the value from stdin", error))?,
        };
        let value = SecretValue::new(value).map_err(|error| Failure::usage(&doing, error))?;
        let client = connection.client().await?;
        let grant = Some(granted.grant()).filter(|grant| !grant.modules.is_empty());
        client.put_secret(name.clone(), value, grant).await.map_err(|error| failed(doing, &error))?;
        Output::new().line(format!("put secret {name}"))
    }
}

/// The text without the end of its last line, read no further than a value could be.
fn read(from: impl Read) -> io::Result<String> {
    let mut text = String::new();
    from.take(SECRET_BYTES_MAX as u64 + 2).read_to_string(&mut text)?;
    let end = text.strip_suffix('\n').map(|text| text.strip_suffix('\r').unwrap_or(text).len());
    text.truncate(end.unwrap_or(text.len()));
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_value_is_read_without_the_end_of_its_last_line() {
        for (text, value) in
            [("hunter2\n", "hunter2"), ("a\r\nb\r\n", "a\r\nb"), ("a\n\n", "a\n"), ("a", "a"), ("", "")]
        {
            assert_eq!(read(text.as_bytes()).unwrap(), value);
        }
        assert_eq!(read("x".repeat(1 << 20).as_bytes()).unwrap().len(), SECRET_BYTES_MAX + 2);
    }
}
