//! What only a leader does outside the log: hand ready jobs to those who wait for them, tell workers what concerns them,
//! note which of them are alive, let time move on, and read the calendar of the schedules.
//!
//! What must hold: nothing here is needed to know what is true. A new leader starts with nothing but the state, its
//! workers come back to it, and every job is offered again. An idle cluster does nothing but wake up once a second.
//! Jobs that were leased for somebody who has gone are given back at once.

mod demands;
mod dispatcher;
mod end_watch;
mod foresight;
mod heard;
mod hints;
mod news;
mod orders;
mod outgoing;
mod schedules;
mod strides;
mod timers;
mod timetable;
mod wish;

#[cfg(test)]
mod demands_tests;

pub(crate) use demands::DemandId;
pub use dispatcher::Dispatcher;
pub(crate) use end_watch::{EndWatch, Watched};
pub(crate) use orders::give_back;
pub(crate) use outgoing::{Outgoing, RoomHeld};
pub(crate) use strides::Strides;
pub(crate) use wish::Wish;

use std::sync::{Mutex, MutexGuard, PoisonError};

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
