//! A TOML file that can say where in it something stands, so that every error names the file, the line and the key.

use super::suggestion::with_suggestion;
use super::{ConfigError, FILE_BYTES_MAX};
use serde::de::DeserializeOwned;
use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A configuration file's text and where it came from.
#[derive(Clone, Debug)]
pub struct Source {
    file: PathBuf,
    text: String,
}

impl Source {
    /// Reads a file of at most [`FILE_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// If it cannot be read, is too large or is not UTF-8.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let unreadable = |error| ConfigError::Unreadable { file: file.to_owned(), error };
        let mut text = String::new();
        let limit = FILE_BYTES_MAX as u64 + 1;
        File::open(file).and_then(|opened| opened.take(limit).read_to_string(&mut text)).map_err(unreadable)?;
        if text.len() > FILE_BYTES_MAX {
            return Err(ConfigError::TooLarge { file: file.to_owned() });
        }
        Ok(Self { file: file.to_owned(), text })
    }

    /// Text that does not come from a file; `file` is what errors name and what relative paths start from.
    #[must_use]
    pub fn from_text(file: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        Self { file: file.into(), text: text.into() }
    }

    /// The text as a `T`. What `T` does not know is refused if `T` denies unknown fields, and what is nearest to it is told.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] and [`ConfigError::Invalid`].
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        let table = DeTable::parse(&self.text).map_err(|error| ConfigError::Syntax {
            file: self.file.clone(),
            line: self.line(error.span().map_or(0, |span| span.start)),
            message: one_line(error.message()),
        })?;
        toml::from_str(&self.text).map_err(|error| {
            let at = error.span().unwrap_or(0..0);
            let mut key = Vec::new();
            let start = enclosing_key(table.get_ref(), &at, &mut key).unwrap_or(at.start);
            ConfigError::Invalid {
                file: self.file.clone(),
                line: self.line(start),
                key: if key.is_empty() { "(top level)".to_owned() } else { key.join(".") },
                message: with_suggestion(&one_line(error.message())),
            }
        })
    }

    /// An error about the value at `path`; about the nearest section that is there if the key itself is not.
    #[must_use]
    pub fn invalid(&self, path: &[&str], message: impl Into<String>) -> ConfigError {
        let start = DeTable::parse(&self.text).ok().and_then(|table| start_of(table.get_ref(), path)).unwrap_or(0);
        ConfigError::Invalid {
            file: self.file.clone(),
            line: self.line(start),
            key: path.join("."),
            message: message.into(),
        }
    }

    /// A path as written in the file: relative ones start from the file's directory.
    #[must_use]
    pub fn resolve(&self, path: &Path) -> PathBuf {
        self.file.parent().unwrap_or(Path::new("")).join(path)
    }

    fn line(&self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
    }
}

/// Finds the deepest key that `at` lies in; collects its path and returns where it starts.
fn enclosing_key(table: &DeTable<'_>, at: &Range<usize>, path: &mut Vec<String>) -> Option<usize> {
    let within = |span: Range<usize>| span.start <= at.start && at.end <= span.end;
    for (key, value) in table {
        // A section of the form [a.b] has an `a` whose span is not around `b`: look inside tables either way.
        path.push(key.get_ref().to_string());
        if let DeValue::Table(inner) = value.get_ref()
            && let Some(start) = enclosing_key(inner, at, path)
        {
            return Some(start);
        }
        if within(key.span()) || within(value.span()) {
            return Some(key.span().start);
        }
        path.pop();
    }
    None
}

/// Where the last key of `path` that exists starts.
fn start_of(table: &DeTable<'_>, path: &[&str]) -> Option<usize> {
    let (first, rest) = path.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref() == first)?;
    let deeper = value.get_ref().as_table().and_then(|inner| start_of(inner, rest));
    deeper.or_else(|| Some(Spanned::span(key).start))
}

fn one_line(message: &str) -> String {
    message.lines().map(str::trim).collect::<Vec<_>>().join(", ")
}
