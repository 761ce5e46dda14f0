//! What a confined process is refused. It is confined for good, so the test starts its own binary once more.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::confine;
use std::fs;
use std::io;
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Set for the process that is confined.
const CONFINED: &str = "JOBRAFT_TEST_CONFINED";

#[test]
fn confined_process_computes_and_nothing_else() {
    if std::env::var_os(CONFINED).is_some() {
        confined();
    }
    let itself = std::env::current_exe().unwrap();
    let name = "wasm::confinement::tests::confined_process_computes_and_nothing_else";
    let output = Command::new(itself).args(["--exact", name, "--nocapture"]).env(CONFINED, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
}

/// Tries everything, says what was not refused, and ends.
fn confined() -> ! {
    let parent = rustix::process::getppid().unwrap();
    confine().unwrap();
    let mut permitted: Vec<&str> = tries(parent)
        .into_iter()
        .filter(|(_, tried)| tried.as_ref().err().and_then(io::Error::raw_os_error) != Some(libc::EPERM))
        .map(|(what, _)| what)
        .collect();
    // As on an old kernel, so that threads are started by `clone`, whose flags the filter sees.
    let no_clone3 = call(libc::SYS_clone3, [0, 0, 0]).err().and_then(|error| error.raw_os_error());
    if no_clone3 != Some(libc::ENOSYS) {
        permitted.push("start what the filter cannot see");
    }
    // What guests need must work, with the filter on every thread.
    let sum = std::thread::spawn(|| vec![1_u8; 1 << 20].into_iter().map(u64::from).sum::<u64>()).join().unwrap();
    assert_eq!(sum, 1 << 20);
    if std::thread::spawn(|| fs::read("/etc/passwd").is_ok()).join().unwrap() {
        permitted.push("a thread opens a file");
    }
    eprintln!("permitted: {permitted:?}");
    // Last, for nothing comes after it: that program fails.
    let refused = Command::new("/bin/false").exec().raw_os_error() == Some(libc::EPERM);
    std::process::exit(i32::from(!refused || !permitted.is_empty()));
}

fn tries(parent: rustix::process::Pid) -> Vec<(&'static str, io::Result<()>)> {
    let signal = rustix::process::Signal::CONT;
    vec![
        ("open a file", fs::File::open("/etc/passwd").map(drop)),
        ("write a file", fs::write(std::env::temp_dir().join("jobraft-confined"), "")),
        ("list a directory", fs::read_dir("/").map(drop)),
        ("look at a path", fs::metadata("/").map(drop)),
        ("follow a link", fs::read_link("/proc/self/exe").map(drop)),
        ("remove a file", fs::remove_file("/nowhere")),
        ("change the directory", std::env::set_current_dir("/")),
        ("make a socket", call(libc::SYS_socket, [i64::from(libc::AF_INET), i64::from(libc::SOCK_STREAM), 0])),
        ("open a TCP connection", TcpStream::connect("127.0.0.1:9").map(drop)),
        ("open a UDP socket", UdpSocket::bind("127.0.0.1:0").map(drop)),
        ("open a Unix socket", UnixStream::pair().map(drop)),
        ("start a program", Command::new("/bin/true").spawn().map(drop)),
        ("signal another process", rustix::process::kill_process(parent, signal).map_err(io::Error::from)),
        ("fork", call(libc::SYS_clone, [i64::from(libc::SIGCHLD), 0, 0])),
        ("make a namespace", call(libc::SYS_clone, [i64::from(libc::CLONE_THREAD | libc::CLONE_NEWUSER), 0, 0])),
        ("signal a thread of another process", call(libc::SYS_tgkill, [1, 1, 0])),
        ("gain privileges", call(libc::SYS_prctl, [i64::from(libc::PR_SET_KEEPCAPS), 1, 0])),
        ("outlive its worker", call(libc::SYS_prctl, [i64::from(libc::PR_SET_PDEATHSIG), 0, 0])),
        ("have signals sent", call(libc::SYS_fcntl, [0, i64::from(libc::F_SETOWN), 1])),
        ("trace", call(libc::SYS_ptrace, [i64::from(libc::PTRACE_ATTACH), 1, 0])),
        ("read another's memory", call(libc::SYS_process_vm_readv, [1, 0, 0])),
        ("take another's descriptor", call(libc::SYS_pidfd_getfd, [0, 0, 0])),
        ("open another's handle", call(libc::SYS_pidfd_open, [1, 0, 0])),
        ("unshare", call(libc::SYS_unshare, [0, 0, 0])),
        ("mount", call(libc::SYS_mount, [0, 0, 0])),
        ("load BPF", call(libc::SYS_bpf, [0, 0, 0])),
        ("use keys", call(libc::SYS_keyctl, [0, 0, 0])),
        ("use io_uring", call(libc::SYS_io_uring_setup, [1, 0, 0])),
        ("use a device", call(libc::SYS_ioctl, [0, 0, 0])),
        ("be another user", call(libc::SYS_setuid, [0, 0, 0])),
        ("lift a limit", call(libc::SYS_prlimit64, [0, 0, 0])),
    ]
}

fn call(number: libc::c_long, [first, second, third]: [i64; 3]) -> io::Result<()> {
    #[expect(unsafe_code, reason = "no library offers what must not be done")]
    // SAFETY: the call is refused; one that is not gets arguments with which it does nothing to this process' memory.
    let result = unsafe { libc::syscall(number, first, second, third, 0, 0, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
