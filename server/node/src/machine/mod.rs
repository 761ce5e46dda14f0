//! What a node asks of its machine beyond memory and time: sockets, blocking work, files, a thread for the log.
//!
//! The machine is the real one, with threads and sockets of the operating system, unless a simulation has put its own
//! under the current thread by [`simulate`]. There everything runs on that one thread, in an order that follows from
//! the simulation alone: blocking work is a task that takes simulated time, and so is the log's writer.
//!
//! Nothing here decides anything. Whoever adds a thread, a timer of the operating system or a random number elsewhere
//! takes it from the simulation's reach, which then tells two stories for one seed.

mod file;
mod work;

pub(crate) use file::{File, read, remove_file};
pub(crate) use work::{aside, blocking, both, pause, pipeline};

use crate::consensus::Witness;
use crate::transport::UdpPort;
use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// What a simulated disk is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskWork {
    /// Anything that the node does off its main path: reading a row, a checkpoint, a snapshot.
    Aside,
    /// The log's writer begins a transaction: what comes meanwhile goes with it.
    LogWrite,
    /// A transaction of the log is durable, and nobody knows yet.
    LogWritten,
}

/// A simulated machine, or many: it knows which of them runs.
pub trait Machine {
    /// Binds a UDP port.
    ///
    /// # Errors
    /// As the operating system's.
    fn bind(&self, listen: SocketAddr) -> io::Result<UdpPort>;

    /// How long the disk takes for this.
    fn disk_time(&self, work: DiskWork) -> Duration;

    /// Who sees what the node that is about to start applies.
    fn witness(&self) -> Option<Arc<dyn Witness>>;
}

thread_local! {
    static SIMULATED: RefCell<Option<Rc<dyn Machine>>> = const { RefCell::new(None) };
}

/// From now on, nodes on this thread run on `machine`; on the real one with `None`.
pub fn simulate(machine: Option<Rc<dyn Machine>>) {
    SIMULATED.set(machine);
}

/// The simulated machine of this thread, if it has one.
pub(crate) fn simulated() -> Option<Rc<dyn Machine>> {
    SIMULATED.with_borrow(Clone::clone)
}

/// Whether this thread's machine is simulated.
pub(crate) fn is_simulated() -> bool {
    SIMULATED.with_borrow(Option::is_some)
}
