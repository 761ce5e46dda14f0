//! A simulated host: a runtime of its own on the world's thread, run from one sleep to the next.
//!
//! The runtime's clock is the environment's, so time stands still while a host runs, and nothing moves it but the
//! world. A host that sleeps has said until when; see [`environment`](super::environment).

use super::environment;
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::task::{Poll, Waker};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// A runtime never sleeps longer, so that each of its sleeps has a deadline.
const SLEEP_MAX: Duration = Duration::from_secs(3_600);

thread_local! {
    /// Of the future that waits for the running host's sleep.
    static WAITING: RefCell<Option<Waker>> = const { RefCell::new(None) };
}

/// A host that is up.
#[derive(Debug)]
pub struct Host {
    runtime: Runtime,
    skew_ns: i64,
    /// When it wants to run next.
    wakes_at_ns: u64,
}

impl Host {
    /// Boots a host whose wall clock is off by `skew_ns`.
    ///
    /// # Errors
    /// If the runtime cannot be made.
    pub fn boot(skew_ns: i64) -> io::Result<Self> {
        environment::set_skew_ns(skew_ns);
        let runtime = Builder::new_current_thread()
            .enable_time()
            .on_thread_park(environment::parking)
            .on_thread_unpark(|| {
                environment::unparked();
                if environment::slept() {
                    WAITING.with_borrow(|waiting| waiting.as_ref().map(Waker::wake_by_ref));
                }
            })
            .on_thread_start(|| panic!("a simulated host started a thread, which the seed does not rule"))
            .build()?;
        runtime.spawn(async {
            loop {
                tokio::time::sleep(SLEEP_MAX).await;
            }
        });
        Ok(Self { runtime, skew_ns, wakes_at_ns: 0 })
    }

    /// Runs until everything waits for a later time or for the network.
    pub fn run(&mut self) {
        environment::set_skew_ns(self.skew_ns);
        let slept = environment::take_sleep();
        debug_assert_eq!(slept, None, "each sleep is of one run");
        self.runtime.block_on(poll_fn(|context| {
            WAITING.set(Some(context.waker().clone()));
            if environment::slept() { Poll::Ready(()) } else { Poll::Pending }
        }));
        WAITING.take();
        let until = environment::take_sleep().expect("the run ended because the runtime would have slept");
        self.wakes_at_ns = until.max(environment::now_ns() + 1);
    }

    /// When it wants to run next, as of its last run.
    #[must_use]
    pub const fn wakes_at_ns(&self) -> u64 {
        self.wakes_at_ns
    }

    /// Lets it run as soon as it can.
    pub fn wake(&mut self) {
        self.wakes_at_ns = 0;
    }

    /// Sets its wall clock: so far from the true one.
    pub fn set_skew_ns(&mut self, skew_ns: i64) {
        self.skew_ns = skew_ns;
    }

    /// Starts a task there; it begins with the next run.
    pub fn spawn<T: Send + 'static>(&mut self, task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.wake();
        self.runtime.spawn(task)
    }

    /// Does something as this host, at once: its clock is read, and what is spawned goes to its runtime.
    pub fn within<T>(&self, act: impl FnOnce() -> T) -> T {
        environment::set_skew_ns(self.skew_ns);
        let _entered = self.runtime.enter();
        act()
    }

    /// Ends it without a word: no task runs again.
    pub fn kill(self) {
        environment::set_skew_ns(self.skew_ns);
        drop(self.runtime);
    }
}
