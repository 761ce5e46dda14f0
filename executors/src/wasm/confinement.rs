//! What a process that runs guests gives up, for good, before it reads anything.
//!
//! Afterwards it computes, reads and writes the pipes that it has, and starts threads. It opens no file and no socket,
//! starts no program and no process, and reaches no other process: a guest that broke out of its sandbox has what the process
//! holds, and nothing else.
//!
//! Landlock would forbid what is forbidden already: without a call that takes a path, no path can be reached.

use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities, set_no_new_privs};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq};
use seccompiler::{SeccompAction, SeccompCmpArgLen, SeccompCondition, SeccompFilter, SeccompRule, TargetArch};
use std::collections::BTreeMap;
use std::io;

/// Descriptors of the process: its pipes, and the first memory of each module that it keeps or runs, as a nameless file.
const DESCRIPTORS_MAX: u64 = 4_096;
/// The first descriptor that is neither stdin, stdout nor stderr.
const FIRST_OTHER: libc::c_uint = 3;

/// What Rust's and C's libraries, tokio and wasmtime ask of the kernel once a program runs, whatever the arguments.
const CALLS: &[libc::c_long] = &[
    // The pipes, and what a module's memory looks like at first (`memfd_create`: a file that has no name).
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_memfd_create,
    libc::SYS_ftruncate,
    // Memory.
    libc::SYS_brk,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    // Threads, which are started by `clone` alone: see `filter`.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Traps are signals.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Time and randomness.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
];

/// What `clone` must not make: anything that a thread does not share with its process.
const NAMESPACES: libc::c_int = libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWUTS;

/// Why a process could not give up what it must not have.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfinementError {
    /// The kernel refused one of the steps.
    #[error("{step}: {source}")]
    Step { step: &'static str, source: io::Error },
    /// There is no filter for this machine, or the kernel takes none.
    #[error("restrict system calls: {0}")]
    Filter(#[from] seccompiler::Error),
}

/// Confines this process, all its threads, until it ends.
///
/// It dies with the thread that started it, has no capabilities, leaves no core file, and has no descriptors but stdin,
/// stdout and stderr: call it first.
pub(super) fn confine() -> Result<(), ConfinementError> {
    let step = |step| move |error: rustix::io::Errno| ConfinementError::Step { step, source: error.into() };
    limit(Resource::Core, 0).map_err(step("forbid core files"))?;
    limit(Resource::Nofile, DESCRIPTORS_MAX).map_err(step("limit descriptors"))?;
    close_others().map_err(|source| ConfinementError::Step { step: "close inherited descriptors", source })?;
    heed_no_requests();
    // A guest that has broken out does not outlive the worker by not looking at stdin.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(step("be bound to the worker's life"))?;
    set_no_new_privs(true).map_err(step("forbid new privileges"))?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .map_err(step("drop capabilities"))?;
    // The C library takes a missing `clone3` for an old kernel and does with `clone`, whose flags a filter can see.
    let no_clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    apply(no_clone3, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS.unsigned_abs()))?;
    apply(permitted()?, SeccompAction::Errno(libc::EPERM.unsigned_abs()), SeccompAction::Allow)
}

fn limit(resource: Resource, max: u64) -> rustix::io::Result<()> {
    // A limit that whoever started us has set lower stays.
    let max = getrlimit(resource).maximum.map_or(max, |hard| hard.min(max));
    setrlimit(resource, Rlimit { current: Some(max), maximum: Some(max) })
}

/// Closes whatever the worker was given by who started it and did not close itself.
fn close_others() -> io::Result<()> {
    #[expect(unsafe_code, reason = "no library closes what it does not know")]
    // SAFETY: nobody in this process uses a descriptor above those three: it has opened none yet.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, FIRST_OTHER, libc::c_uint::MAX, 0) };
    if closed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lets requests to stop pass by: service managers send them to all processes of a service, of which the worker drains, for
/// which this one must live.
fn heed_no_requests() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        #[expect(unsafe_code, reason = "the standard library has no signals")]
        // SAFETY: no code of ours runs when such a signal comes.
        let _ = unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// What may be asked of the kernel; calls with several rules are permitted if one of them holds.
fn permitted() -> Result<BTreeMap<libc::c_long, Vec<SeccompRule>>, seccompiler::Error> {
    let is = |argument, op, value: i64| {
        let value = u64::from_ne_bytes(value.to_ne_bytes());
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)
    };
    let rule = |condition: Result<SeccompCondition, _>| SeccompRule::new(vec![condition?]);
    let thread = i64::from(libc::CLONE_THREAD);
    let mut permitted: BTreeMap<_, _> = CALLS.iter().map(|&call| (call, Vec::new())).collect();
    permitted.insert(libc::SYS_clone3, Vec::new());
    let of_threads = MaskedEq(u64::from((libc::CLONE_THREAD | NAMESPACES).unsigned_abs()));
    permitted.insert(libc::SYS_clone, vec![rule(is(0, of_threads, thread))?]);
    // To itself alone, as `abort` does.
    let own = i64::from(rustix::process::getpid().as_raw_nonzero().get());
    permitted.insert(libc::SYS_tgkill, vec![rule(is(0, Eq, own))?]);
    permitted.insert(libc::SYS_prctl, vec![rule(is(0, Eq, i64::from(libc::PR_SET_NAME)))?]);
    let of_files = [libc::F_GETFD, libc::F_GETFL, libc::F_ADD_SEALS];
    let of_files: Result<Vec<_>, _> = of_files.into_iter().map(|command| rule(is(1, Eq, i64::from(command)))).collect();
    permitted.insert(libc::SYS_fcntl, of_files?);
    Ok(permitted)
}

fn apply(
    rules: BTreeMap<libc::c_long, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    listed: SeccompAction,
) -> Result<(), ConfinementError> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(seccompiler::Error::from)?;
    let filter = SeccompFilter::new(rules, otherwise, listed, arch).map_err(seccompiler::Error::from)?;
    let program: seccompiler::BpfProgram = filter.try_into().map_err(seccompiler::Error::from)?;
    Ok(seccompiler::apply_filter_all_threads(&program)?)
}

#[cfg(test)]
#[path = "confinement_tests.rs"]
mod tests;
