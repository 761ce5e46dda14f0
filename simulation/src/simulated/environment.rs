//! Time and randomness of this process, which the simulation decides while a simulated host runs.
//!
//! The standard library, tokio, rustls, ring and the rest ask the C library for the time and for random bytes. This
//! module stands in for the C library's symbols: on a thread that simulates, they answer from virtual time, the running
//! host's wall clock and the seed; on any other thread they ask the kernel. So the code under test is the code that
//! ships, without a seam for each clock and each random number.
//!
//! It also sees when a host's runtime goes to sleep, and until when: tokio then waits on a futex with a deadline. Such a
//! wait returns at once here; that deadline is how the world knows when to run the host next.

#![expect(unsafe_code, reason = "symbols of the C library are replaced")]

use libc::{c_char, c_int, c_long, c_uint, c_void, clockid_t, size_t, ssize_t, timespec};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Monotonic time at the beginning of a simulation: far enough from zero for those who subtract.
const MONOTONIC_START_NS: u64 = 100_000 * SECOND_NS;
/// The true wall clock at the beginning of a simulation: 1 March 2026.
const WALL_START_NS: u64 = 1_772_323_200 * SECOND_NS;
/// Nanoseconds of a second.
pub const SECOND_NS: u64 = 1_000_000_000;

struct State {
    active: Cell<bool>,
    now_ns: Cell<u64>,
    skew_ns: Cell<i64>,
    random: Cell<u64>,
    parking: Cell<bool>,
    asleep_until_ns: Cell<Option<u64>>,
}

thread_local! {
    static STATE: State = const {
        State {
            active: Cell::new(false),
            now_ns: Cell::new(0),
            skew_ns: Cell::new(0),
            random: Cell::new(0),
            parking: Cell::new(false),
            asleep_until_ns: Cell::new(None),
        }
    };
}

/// Simulates on this thread until dropped.
#[derive(Debug)]
pub struct Environment(());

impl Environment {
    /// Virtual time begins, at zero; all randomness of this thread follows from `seed`.
    #[must_use]
    pub fn begin(seed: u64) -> Self {
        STATE.with(|state| {
            state.now_ns.set(0);
            state.skew_ns.set(0);
            state.random.set(seed ^ 0x6a6f_6272_6166_7421);
            state.active.set(true);
        });
        Self(())
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        STATE.with(|state| state.active.set(false));
    }
}

/// Sets virtual time, since the beginning.
pub fn set_now_ns(now_ns: u64) {
    STATE.with(|state| state.now_ns.set(now_ns));
}

/// Virtual time, since the beginning.
#[must_use]
pub fn now_ns() -> u64 {
    STATE.with(|state| state.now_ns.get())
}

/// Sets how far the wall clock of the host that runs now is from the true one.
pub fn set_skew_ns(skew_ns: i64) {
    STATE.with(|state| state.skew_ns.set(skew_ns));
}

/// The runtime is about to sleep; [`unparked`] follows.
pub fn parking() {
    STATE.with(|state| state.parking.set(true));
}

/// The runtime wakes, or would not sleep.
pub fn unparked() {
    STATE.with(|state| state.parking.set(false));
}

/// Takes until when the runtime would have slept, if it would have.
#[must_use]
pub fn take_sleep() -> Option<u64> {
    STATE.with(|state| state.asleep_until_ns.take())
}

/// Whether the runtime would have slept since the last [`take_sleep`].
#[must_use]
pub fn slept() -> bool {
    STATE.with(|state| state.asleep_until_ns.get().is_some())
}

fn fill(bytes: &mut [u8]) {
    STATE.with(|state| {
        for chunk in bytes.chunks_mut(8) {
            // SplitMix64.
            let next = state.random.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
            state.random.set(next);
            let mut mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            chunk.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..chunk.len()]);
        }
    });
}

fn is_active() -> bool {
    STATE.try_with(|state| state.active.get()).unwrap_or(false)
}

/// The C library's own function.
fn real(cache: &AtomicUsize, name: &'static std::ffi::CStr) -> usize {
    let known = cache.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    // SAFETY: the name is a C string, and looking up a symbol has no other condition.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr().cast::<c_char>()) } as usize;
    assert!(found != 0, "the C library has no {name:?}");
    cache.store(found, Ordering::Relaxed);
    found
}

/// The time.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn clock_gettime(clock: clockid_t, time: *mut timespec) -> c_int {
    static REAL: AtomicUsize = AtomicUsize::new(0);
    type Real = unsafe extern "C" fn(clockid_t, *mut timespec) -> c_int;
    let ns = match clock {
        _ if !is_active() => None,
        libc::CLOCK_REALTIME | libc::CLOCK_REALTIME_COARSE => {
            let skew = STATE.with(|state| state.skew_ns.get());
            Some((WALL_START_NS + now_ns()).saturating_add_signed(skew))
        }
        libc::CLOCK_MONOTONIC | libc::CLOCK_MONOTONIC_RAW | libc::CLOCK_MONOTONIC_COARSE | libc::CLOCK_BOOTTIME => {
            Some(MONOTONIC_START_NS + now_ns())
        }
        _ => None,
    };
    match ns {
        Some(ns) => {
            let tv_sec = i64::try_from(ns / SECOND_NS).unwrap_or(i64::MAX);
            let tv_nsec = i64::try_from(ns % SECOND_NS).unwrap_or(0);
            // SAFETY: the caller gives room for the answer, as with the real function.
            unsafe { time.write(timespec { tv_sec, tv_nsec }) };
            0
        }
        // SAFETY: the symbol is the C library's function of this type; the caller's arguments are passed on.
        None => unsafe { std::mem::transmute::<usize, Real>(real(&REAL, c"clock_gettime"))(clock, time) },
    }
}

/// Random bytes.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getrandom(buffer: *mut c_void, bytes: size_t, flags: c_uint) -> ssize_t {
    static REAL: AtomicUsize = AtomicUsize::new(0);
    type Real = unsafe extern "C" fn(*mut c_void, size_t, c_uint) -> ssize_t;
    if is_active() {
        // SAFETY: the caller gives so many bytes of room.
        fill(unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), bytes) });
        return ssize_t::try_from(bytes).unwrap_or(ssize_t::MAX);
    }
    // SAFETY: the symbol is the C library's function of this type; the caller's arguments are passed on.
    unsafe { std::mem::transmute::<usize, Real>(real(&REAL, c"getrandom"))(buffer, bytes, flags) }
}

/// Makes nothing durable: simulated disks keep account of that themselves, and a real one would take its time.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fsync(file: c_int) -> c_int {
    static REAL: AtomicUsize = AtomicUsize::new(0);
    type Real = unsafe extern "C" fn(c_int) -> c_int;
    if is_active() {
        return 0;
    }
    // SAFETY: the symbol is the C library's function of this type; the caller's argument is passed on.
    unsafe { std::mem::transmute::<usize, Real>(real(&REAL, c"fsync"))(file) }
}

/// Makes nothing durable, as [`fsync`].
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdatasync(file: c_int) -> c_int {
    static REAL: AtomicUsize = AtomicUsize::new(0);
    type Real = unsafe extern "C" fn(c_int) -> c_int;
    if is_active() {
        return 0;
    }
    // SAFETY: the symbol is the C library's function of this type; the caller's argument is passed on.
    unsafe { std::mem::transmute::<usize, Real>(real(&REAL, c"fdatasync"))(file) }
}

/// Any system call: here those by which the standard library gets random bytes, and sleeps.
///
/// The real one takes as many arguments as are given. On the machines that this is for, further ones are passed in
/// registers like these, and what is not read does no harm.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    static REAL: AtomicUsize = AtomicUsize::new(0);
    type Real = unsafe extern "C" fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long;
    if is_active() && number == libc::SYS_getrandom {
        let bytes = size_t::try_from(b).unwrap_or(0);
        // SAFETY: the caller gives so many bytes of room.
        fill(unsafe { std::slice::from_raw_parts_mut(a as *mut u8, bytes) });
        return b;
    }
    if is_active() && number == libc::SYS_futex && STATE.with(|state| state.parking.get()) {
        let deadline = d as *const timespec;
        // SAFETY: a wait gives a deadline or none.
        let until = unsafe { deadline.as_ref() }.map_or(u64::MAX, |deadline| {
            let ns = u64::try_from(deadline.tv_sec).unwrap_or(0) * SECOND_NS;
            (ns + u64::try_from(deadline.tv_nsec).unwrap_or(0)).saturating_sub(MONOTONIC_START_NS)
        });
        let wait = c_int::try_from(b).unwrap_or(0) & !(libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME);
        if wait == libc::FUTEX_WAIT || wait == libc::FUTEX_WAIT_BITSET {
            STATE.with(|state| state.asleep_until_ns.set(Some(until)));
            // SAFETY: this thread's own error number.
            unsafe { *libc::__errno_location() = libc::ETIMEDOUT };
            return -1;
        }
    }
    // SAFETY: the symbol is the C library's function of this type; the caller's arguments are passed on.
    unsafe { std::mem::transmute::<usize, Real>(real(&REAL, c"syscall"))(number, a, b, c, d, e, f) }
}
