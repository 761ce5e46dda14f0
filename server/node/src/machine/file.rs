//! Files that are no databases, read and written from tasks.
//!
//! On a real machine tokio's threads do it; a simulated one does it on the spot, since it has but one thread.

use super::is_simulated;
use bytes::BytesMut;
use std::io::{self, Read, Write};
use std::path::Path;
use tokio::fs;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// An open file.
#[derive(Debug)]
pub(crate) enum File {
    Threads(fs::File),
    OnTheSpot(std::fs::File),
}

impl File {
    /// Opens a file to be read.
    pub(crate) async fn open(path: &Path) -> io::Result<Self> {
        if is_simulated() {
            return std::fs::File::open(path).map(Self::OnTheSpot);
        }
        fs::File::open(path).await.map(Self::Threads)
    }

    /// Makes a file to be written, or empties it.
    pub(crate) async fn create(path: &Path) -> io::Result<Self> {
        if is_simulated() {
            return std::fs::File::create(path).map(Self::OnTheSpot);
        }
        fs::File::create(path).await.map(Self::Threads)
    }

    /// A file that is open.
    pub(crate) fn from_std(file: std::fs::File) -> Self {
        if is_simulated() { Self::OnTheSpot(file) } else { Self::Threads(fs::File::from_std(file)) }
    }

    /// Reads into the room that `buffer` has; zero bytes at the file's end.
    pub(crate) async fn read_buf(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        match self {
            Self::Threads(file) => file.read_buf(buffer).await,
            Self::OnTheSpot(file) => {
                let (before, room) = (buffer.len(), buffer.capacity() - buffer.len());
                buffer.resize(before + room, 0);
                let read = file.read(&mut buffer[before..])?;
                buffer.truncate(before + read);
                Ok(read)
            }
        }
    }

    /// Writes all of `bytes`.
    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Threads(file) => file.write_all(bytes).await,
            Self::OnTheSpot(file) => file.write_all(bytes),
        }
    }

    /// Makes durable what was written.
    pub(crate) async fn sync_all(&mut self) -> io::Result<()> {
        match self {
            Self::Threads(file) => {
                file.flush().await?;
                file.sync_all().await
            }
            Self::OnTheSpot(file) => file.sync_all(),
        }
    }
}

/// All bytes of a file.
pub(crate) async fn read(path: &Path) -> io::Result<Vec<u8>> {
    if is_simulated() { std::fs::read(path) } else { fs::read(path).await }
}

/// Removes a file.
pub(crate) async fn remove_file(path: &Path) -> io::Result<()> {
    if is_simulated() { std::fs::remove_file(path) } else { fs::remove_file(path).await }
}
