//! Modules: up and down on streams of their own, checked by digest on both ends.

use crate::client::{Client, backoff};
use crate::error::SdkError;
use crate::executor::ModuleSource;
use crate::frames::{FrameReader, ReadError, encode};
use crate::requests::answered;
use crate::session::{CallError, Session};
use bytes::Bytes;
use jobraft_protocol::limits::{CHUNK_BYTES, MODULE_BYTES_MAX};
use jobraft_protocol::{
    Consistency, Digest, Error, ErrorCode, ModuleManifest, ModuleName, ModuleRef, ModuleSignature, Namespace, Request,
    Response, Retry, StreamOpen,
};
use sha2::{Digest as _, Sha256};
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::{Duration, Instant};

/// How long a transfer may stand still, and how long a quorum may take to make an upload durable.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long transfers are begun anew.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(120);

impl Client {
    /// Lists the modules.
    ///
    /// # Errors
    /// If the cluster does not answer.
    pub async fn modules(&self, consistency: Consistency) -> Result<Vec<ModuleManifest>, SdkError> {
        answered!(self.ask(Request::ListModules { consistency }).await?, Modules(modules))
    }

    /// What a name or digest stands for.
    ///
    /// # Errors
    /// [`ErrorCode::ModuleUnknown`] if there is none.
    pub async fn resolve_module(&self, module: ModuleRef) -> Result<ModuleManifest, SdkError> {
        answered!(self.ask(Request::ResolveModule { module }).await?, Module(manifest))
    }

    /// Uploads a module and points `name` to it; returns once a quorum holds it. `progress` learns how many bytes of
    /// how many are on their way; it begins anew when the upload does, because the leader changed. Uploading the same
    /// bytes again is safe.
    ///
    /// # Errors
    /// [`ErrorCode::ModuleInvalid`], [`ErrorCode::TooLarge`] and the like, or [`SdkError::Timeout`].
    pub async fn upload_module(
        &self,
        bytes: Bytes,
        name: Option<ModuleName>,
        progress: impl FnMut(u64, u64) + Send,
    ) -> Result<ModuleManifest, SdkError> {
        self.upload_signed_module(bytes, name, Vec::new(), progress).await
    }

    /// The same of a module that somebody has signed. Signatures are added to those that it has: uploading the same bytes with
    /// others signs it again.
    ///
    /// # Errors
    /// As [`upload_module`](Self::upload_module), and [`ErrorCode::InvalidArgument`] if a signature is not of these bytes.
    pub async fn upload_signed_module(
        &self,
        bytes: Bytes,
        name: Option<ModuleName>,
        signatures: Vec<ModuleSignature>,
        mut progress: impl FnMut(u64, u64) + Send,
    ) -> Result<ModuleManifest, SdkError> {
        let size = bytes.len() as u64;
        if size > MODULE_BYTES_MAX {
            let text = format!("a module of {size} bytes exceeds the limit of {MODULE_BYTES_MAX}");
            return Err(SdkError::TooLarge(text));
        }
        let open = StreamOpen::Upload {
            digest: digest_of(&bytes),
            size,
            name,
            signatures,
            namespace: self.config().namespace.clone(),
        };
        let deadline = Instant::now() + TRANSFER_TIMEOUT;
        let mut pauses = backoff();
        loop {
            let failure = match self.router().session().await {
                Ok(session) => match upload(&session, &open, &bytes, &mut progress).await {
                    Ok(manifest) => return Ok(manifest),
                    Err(error) => self.transfer_failed("upload module", &session, error)?,
                },
                Err(error) => error,
            };
            pause(failure, deadline, &mut pauses).await?;
        }
    }

    /// Uploads the module in a file, as [`upload_module`](Self::upload_module) does.
    ///
    /// # Errors
    /// [`SdkError::File`] if it cannot be read, else as there.
    pub async fn upload_module_file(
        &self,
        path: &Path,
        name: Option<ModuleName>,
        progress: impl FnMut(u64, u64) + Send,
    ) -> Result<ModuleManifest, SdkError> {
        let unreadable = |source| SdkError::File { path: path.to_owned(), source };
        let size = tokio::fs::metadata(path).await.map_err(unreadable)?.len();
        if size > MODULE_BYTES_MAX {
            let path = path.display();
            return Err(SdkError::TooLarge(format!("{path} has {size} bytes, a module at most {MODULE_BYTES_MAX}")));
        }
        let bytes = tokio::fs::read(path).await.map_err(unreadable)?;
        self.upload_module(bytes.into(), name, progress).await
    }

    /// Downloads a module; its bytes are what its digest says.
    ///
    /// # Errors
    /// [`ErrorCode::ModuleUnknown`] if there is none, [`SdkError::DigestMismatch`] if other bytes came.
    pub async fn download_module(&self, module: ModuleRef) -> Result<(ModuleManifest, Bytes), SdkError> {
        let deadline = Instant::now() + TRANSFER_TIMEOUT;
        let mut pauses = backoff();
        loop {
            let failure = match self.router().session().await {
                Ok(session) => match download(&session, &module, self.config().namespace.clone()).await {
                    Ok(found) => return Ok(found),
                    Err(Transfer::Local(error)) => return Err(error),
                    Err(error) => self.transfer_failed("download module", &session, error)?,
                },
                Err(error) => error,
            };
            pause(failure, deadline, &mut pauses).await?;
        }
    }

    /// The error with which to go on trying, or else the one to give up with.
    fn transfer_failed(
        &self,
        request: &'static str,
        session: &std::sync::Arc<Session>,
        error: Transfer,
    ) -> Result<SdkError, SdkError> {
        match error {
            Transfer::Local(error) => Err(error),
            Transfer::Call(CallError::Refused(error)) => {
                if error.code.retry() == Retry::Never {
                    return Err(SdkError::Refused(error));
                }
                self.router().refused(session, &error);
                Ok(SdkError::Refused(error))
            }
            Transfer::Call(CallError::Lost { reason, sent }) => {
                Ok(SdkError::Timeout { request, after: STALL_TIMEOUT, outcome_unknown: sent, last: Some(reason) })
            }
        }
    }
}

impl ModuleSource for Client {
    fn fetch(&self, digest: Digest) -> Pin<Box<dyn Future<Output = Result<Bytes, Error>> + Send + '_>> {
        Box::pin(async move {
            match self.download_module(ModuleRef::Digest(digest)).await {
                Ok((_, bytes)) => Ok(bytes),
                Err(SdkError::Refused(error)) => Err(error),
                Err(SdkError::DigestMismatch { .. }) => {
                    Err(Error::new(ErrorCode::DigestMismatch, "the downloaded bytes do not have the module's digest"))
                }
                Err(error) => Err(Error::new(ErrorCode::Unavailable, error.to_string())),
            }
        })
    }
}

async fn pause(
    failure: SdkError,
    deadline: Instant,
    pauses: &mut impl Iterator<Item = Duration>,
) -> Result<(), SdkError> {
    match pauses.next() {
        Some(pause) if failure.retryable() && Instant::now() + pause < deadline => {
            tokio::time::sleep(pause).await;
            Ok(())
        }
        _ => Err(failure),
    }
}

enum Transfer {
    Call(CallError),
    Local(SdkError),
}

fn lost(error: impl std::fmt::Display) -> Transfer {
    Transfer::Call(CallError::Lost { reason: error.to_string(), sent: true })
}

/// Bounds one step of a transfer.
async fn step<T, E: std::fmt::Display>(future: impl Future<Output = Result<T, E>>) -> Result<T, Transfer> {
    match tokio::time::timeout(STALL_TIMEOUT, future).await {
        Ok(outcome) => outcome.map_err(lost),
        Err(_) => Err(lost("the transfer stood still")),
    }
}

async fn open_stream(session: &Session, open: &StreamOpen) -> Result<(quinn::SendStream, FrameReader), Transfer> {
    let frame = encode(open).map_err(|error| Transfer::Local(SdkError::TooLarge(error.to_string())))?;
    let (mut send, receive) = step(session.connection.open_bi()).await?;
    // Modules give way to requests.
    let _ = send.set_priority(-1);
    step(send.write_all(&frame)).await?;
    Ok((send, FrameReader::new(receive)))
}

async fn answer(receive: &mut FrameReader) -> Result<ModuleManifest, Transfer> {
    let answer: Result<ModuleManifest, Error> = step(receive.next()).await?;
    answer.map_err(|error| Transfer::Call(CallError::Refused(error)))
}

async fn upload(
    session: &Session,
    open: &StreamOpen,
    bytes: &Bytes,
    progress: &mut (impl FnMut(u64, u64) + Send),
) -> Result<ModuleManifest, Transfer> {
    let (mut send, mut receive) = open_stream(session, open).await?;
    let mut sent = 0;
    progress(0, bytes.len() as u64);
    while sent < bytes.len() {
        let end = bytes.len().min(sent + CHUNK_BYTES);
        let written = tokio::time::timeout(STALL_TIMEOUT, send.write_chunk(bytes.slice(sent..end))).await;
        match written {
            Ok(Ok(())) => {}
            // The node wants no more: its answer says why.
            Ok(Err(quinn::WriteError::Stopped(_))) => return answer(&mut receive).await,
            Ok(Err(error)) => return Err(lost(error)),
            Err(_) => return Err(lost("the upload stood still")),
        }
        sent = end;
        progress(sent as u64, bytes.len() as u64);
    }
    let _ = send.finish();
    answer(&mut receive).await
}

async fn download(
    session: &Session,
    module: &ModuleRef,
    namespace: Option<Namespace>,
) -> Result<(ModuleManifest, Bytes), Transfer> {
    let (mut send, mut receive) =
        open_stream(session, &StreamOpen::Download { module: module.clone(), namespace }).await?;
    let _ = send.finish();
    let manifest = answer(&mut receive).await?;
    let broken = |text: String| Transfer::Local(SdkError::Protocol(text));
    if manifest.size > MODULE_BYTES_MAX {
        return Err(broken(format!("it announced a module of {} bytes", manifest.size)));
    }
    if let ModuleRef::Digest(wanted) = module
        && *wanted != manifest.digest
    {
        return Err(broken(format!("it answered module {} instead of {wanted}", manifest.digest)));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = step::<_, ReadError>(receive.raw()).await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() as u64 > manifest.size {
            return Err(broken("it sent more of a module than it announced".to_owned()));
        }
    }
    if (bytes.len() as u64) < manifest.size {
        return Err(lost("the download ended early"));
    }
    let actual = digest_of(&bytes);
    if actual != manifest.digest {
        return Err(Transfer::Local(SdkError::DigestMismatch { expected: manifest.digest, actual }));
    }
    Ok((manifest, bytes.into()))
}

pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}
