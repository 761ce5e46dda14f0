//! Where a new secret goes: to stdout, or into a file that only its owner reads.

use crate::connection;
use crate::failure::Failure;
use crate::output::Output;
use clap::Args;
use jobraft_protocol::{TokenName, TokenSecret};
use jobraft_sdk::SdkError;
use serde::Serialize;
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

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
    file: Option<&'a Path>,
}

/// A place for a secret, that there is before the secret: it is shown only once.
pub(super) struct Place {
    args: SecretArgs,
    /// Takes the place of the file that was named when the secret is in it.
    file: Option<NamedTempFile>,
    may_replace: bool,
}

impl SecretArgs {
    /// Makes sure that a secret can be written.
    pub(super) fn prepare(self, may_replace: bool) -> Result<Place, Failure> {
        let file = self.out.as_deref().map(|path| {
            let doing = || format!("write {}", path.display());
            if path.is_dir() || !may_replace && path.exists() {
                let what = if path.is_dir() { "it is a directory" } else { "there is such a file already" };
                return Err(Failure::usage(doing(), what).hint("name another file with --out"));
            }
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            // Of mode 600.
            NamedTempFile::new_in(directory).map_err(|error| Failure::usage(doing(), error))
        });
        Ok(Place { file: file.transpose()?, args: self, may_replace })
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
        let path = self.args.out.as_deref();
        if let (Some(path), Some(mut file)) = (path, self.file) {
            let written = writeln!(file, "{text}").and_then(|()| file.as_file().sync_all());
            let keep = if self.may_replace { NamedTempFile::persist } else { NamedTempFile::persist_noclobber };
            let kept = written.and_then(|()| keep(file, path).map_err(|error| error.error));
            kept.map_err(|error| {
                Failure::new(format!("write {}", path.display()), error)
                    .hint(format!("the secret is lost: make another one with `jobraft token rotate {name}`"))
            })?;
        }
        match path {
            _ if self.args.json => {
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
