//! Where a new secret goes: to stdout, or into a file that only its owner reads.

use crate::command::private::PrivateFile;
use crate::connection;
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use jobraft_protocol::{TokenName, TokenSecret};
use jobraft_sdk::SdkError;
use serde::Serialize;
use std::path::PathBuf;

/// Where to.
#[derive(Args, Debug)]
pub(super) struct SecretArgs {
    /// Write the secret to this file, which only you can read, instead of to stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct SecretJson<'a> {
    name: &'a TokenName,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
}

/// A place for a secret, that there is before the secret: it is shown only once.
pub(super) struct Place {
    /// `None`: stdout.
    file: Option<PrivateFile>,
    json: bool,
}

impl SecretArgs {
    /// Makes sure that a secret can be written.
    pub(super) fn prepare(self, may_replace: bool) -> Result<Place, Failure> {
        let file = self.out.map(|path| {
            let doing = format!("write {}", path.display());
            PrivateFile::prepare(path, may_replace)
                .map_err(|error| Failure::usage(doing, error).hint("name another file with --out"))
        });
        Ok(Place { file: file.transpose()?, json: self.json })
    }
}

/// The failure of what may have been done all the same, whereupon there is a secret that nobody has.
pub(super) fn failed(doing: String, error: &SdkError, remedy: &str) -> Failure {
    let failure = connection::failed(doing, error);
    if error.outcome_unknown() { failure.hint(format!("its secret is lost if it was done: {remedy}")) } else { failure }
}

impl Place {
    /// Hands the secret over, and says `what` was done.
    pub(super) fn take(self, name: &TokenName, secret: &TokenSecret, what: &str) -> Result<(), Failure> {
        let output = Output::new();
        let text = secret.reveal();
        let path = self.file.as_ref().map(|file| file.path().to_owned());
        if let Some(file) = self.file {
            let doing = format!("write {}", file.path().display());
            file.fill(&format!("{text}\n")).map_err(|error| {
                Failure::new(doing, error)
                    .hint(format!("the secret is lost: make another one with `jobraft token rotate {name}`"))
            })?;
        }
        match path {
            path if self.json => {
                let token = path.is_none().then_some(text);
                output.json(&SecretJson { name, token, file: path })
            }
            Some(path) => output.line(format!("{what}; its secret is in {}", path.display())),
            None => {
                // First what cannot be said again.
                output.line(text)?;
                output.note(format!("{what}; its secret is shown only this once"))
            }
        }
    }
}
