//! Machine code that may be loaded: loading it is as good as running it.

use bytes::Bytes;
use wasmtime::{Engine, Module};

/// What our own compiler wrote, and nobody has changed since. A value is made where that was checked
/// ([`DiskCache`](super::disk_cache::DiskCache)), or where it came from who checked it (the worker of a
/// [host's process](mod@super::host_main)).
#[derive(Clone)]
pub(super) struct MachineCode(Bytes);

impl MachineCode {
    /// Believes that these bytes are what our own compiler wrote; the caller has made sure of that.
    pub(super) fn believe(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub(super) fn bytes(&self) -> &Bytes {
        &self.0
    }

    /// The module.
    ///
    /// # Errors
    /// If it was compiled by another version or for other settings, or wants more than the engine has.
    pub(super) fn load(&self, engine: &Engine) -> wasmtime::Result<Module> {
        #[expect(unsafe_code, reason = "machine code can only be loaded on trust")]
        // SAFETY: the bytes are in our memory, where nobody changes them, and are what our own compiler wrote: see
        // `believe`. The engine itself refuses code of another version or for other settings.
        unsafe {
            Module::deserialize(engine, &self.0)
        }
    }
}
