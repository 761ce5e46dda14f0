//! Namespaces of this run's own: whatever is mounted or networked in them is gone with its last process, however this one
//! ends. Nothing on the machine is changed, and nothing is left to clean up.
#![expect(unsafe_code, reason = "namespaces are entered by system calls that std does not wrap")]

use super::verdict::Trouble;
use std::ffi::CStr;
use std::fs;
use std::io;
use std::process::{Command, Stdio};

/// The proof that this process lives in namespaces of its own.
#[derive(Debug)]
pub struct Sandbox(());

impl Sandbox {
    /// Moves this process into mount and network namespaces of its own; as an ordinary user into a user namespace too.
    /// To be called before there is a second thread: threads that are there stay where they are.
    ///
    /// # Errors
    /// [`Trouble::NotPermitted`] where the machine refuses; it says what.
    pub fn enter() -> Result<Self, Trouble> {
        // SAFETY: takes nothing, changes nothing.
        let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
        if user == 0 {
            unshare(libc::CLONE_NEWNS | libc::CLONE_NEWNET)
                .map_err(|error| refused("mount and network namespaces", &error))?;
        } else {
            unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWNET)
                .map_err(|error| refused("namespaces to a user who is not root (try sudo)", &error))?;
            let mapped = fs::write("/proc/self/setgroups", "deny")
                .and_then(|()| fs::write("/proc/self/uid_map", format!("0 {user} 1")))
                .and_then(|()| fs::write("/proc/self/gid_map", format!("0 {group} 1")));
            mapped.map_err(|error| refused("a map of users (try sudo)", &error))?;
        }
        mount(c"none", c"/", None, libc::MS_REC | libc::MS_PRIVATE)
            .map_err(|error| refused("private mounts", &error))?;
        // Names of network namespaces and locks of iptables live there.
        mount(c"tmpfs", c"/run", Some(c"tmpfs"), 0).map_err(|error| refused("a private /run", &error))?;
        run("ip", &["link", "set", "lo", "up"])
            .map_err(|error| Trouble::NotPermitted(format!("{error}; this run needs `ip` of iproute2")))?;
        Ok(Self(()))
    }
}

fn refused(what: &str, error: &io::Error) -> Trouble {
    Trouble::NotPermitted(format!("this machine refuses {what}: {error}"))
}

fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: takes no pointers.
    done(unsafe { libc::unshare(flags) })
}

fn mount(source: &CStr, target: &CStr, kind: Option<&CStr>, flags: libc::c_ulong) -> io::Result<()> {
    let kind = kind.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: all pointers are to strings that end with NUL and live through the call, or null where that is allowed.
    done(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind, flags, std::ptr::null()) })
}

fn done(code: libc::c_int) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Runs a tool of the system to its end.
///
/// # Errors
/// If it is not there or fails; with the command and what it said.
pub fn run(program: &str, arguments: &[&str]) -> Result<String, Trouble> {
    let command = || format!("{program} {}", arguments.join(" "));
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| Trouble::machine(&format!("run `{}`", command()), error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Trouble::machine(&format!("run `{}`", command()), said.trim().lines().next().unwrap_or("it said nothing")))
}
