//! The engine's settings, the same where modules are compiled and where they run: code compiled under others is refused.

use super::config::{MEMORY_BYTES_MAX, WasmLimits};
use sha2::{Digest as _, Sha256};
use std::hash::{Hash, Hasher};
use std::num::NonZeroUsize;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, WasmBacktraceDetails};

/// Tables of one module. Toolchains make one; reference types are used with a second.
const TABLES_MAX: u32 = 4;
/// What the engine keeps of each module's functions, globals and types, for one instance.
const INSTANCE_BYTES_MAX: usize = 1024 * 1024;
/// The unit in which memory grows.
const WASM_PAGE_BYTES: usize = 64 * 1024;
/// Functions named in the message of a trap, innermost first.
const FRAMES_MAX: Option<NonZeroUsize> = NonZeroUsize::new(3);

fn settings() -> Config {
    let mut config = Config::new();
    config.epoch_interruption(true);
    config.wasm_backtrace_max_frames(FRAMES_MAX);
    config.wasm_backtrace_details(WasmBacktraceDetails::Disable);
    // Preview 1 is defined for 32-bit memories, and a command has one.
    config.wasm_memory64(false);
    config.wasm_multi_memory(false);
    config
}

/// The engine that compiles.
pub(super) fn compiling() -> wasmtime::Result<Engine> {
    Engine::new(&settings())
}

/// The engine that runs what was compiled: memory, tables and stacks for `concurrency` guests are reserved at once, so
/// that starting one costs microseconds.
pub(super) fn running(limits: &WasmLimits, concurrency: usize) -> wasmtime::Result<Engine> {
    let slots = u32::try_from(concurrency).unwrap_or(u32::MAX);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_core_instances(slots)
        .total_memories(slots)
        .total_tables(slots.saturating_mul(TABLES_MAX))
        .total_stacks(slots)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .max_memories_per_module(1)
        .max_tables_per_module(TABLES_MAX)
        .table_elements(limits.table_elements)
        // Room for a little more than the largest limit: what a guest gets is decided by its store's limiter, whose
        // refusal has a name.
        .max_memory_size(MEMORY_BYTES_MAX + WASM_PAGE_BYTES)
        .max_unused_warm_slots(slots);
    let mut settings = settings();
    settings
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .max_wasm_stack(limits.stack_bytes)
        // Host calls run on the guest's stack too.
        .async_stack_size(limits.stack_bytes.saturating_add(1024 * 1024));
    Engine::new(&settings)
}

/// A name for all that compiled code depends on but the module: compiler, target, CPU features, settings.
pub(super) fn compatibility(engine: &Engine) -> String {
    struct Sha(Sha256);
    impl Hasher for Sha {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            let hash = self.0.clone().finalize();
            hash.iter().take(8).fold(0, |sum, &byte| (sum << 8) | u64::from(byte))
        }
    }
    let mut sha = Sha(Sha256::new());
    engine.precompile_compatibility_hash().hash(&mut sha);
    format!("{:016x}", sha.finish())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_compiled_is_what_runs() {
        let running = running(&WasmLimits::default(), 1).unwrap();
        assert_eq!(compatibility(&compiling().unwrap()), compatibility(&running));
    }
}
