//! What many ask for at the same time goes in one request.
//!
//! While [`UNDER_WAY_MAX`] requests of a kind are under way, what else is asked for collects: the busier a client is, the
//! fewer requests it makes for each job, and one who asks alone waits for nobody. Each answer goes to its own asker. When
//! a request fails as a whole, each of its askers asks again alone: nobody is refused for what another one asked.

use crate::client::Client;
use crate::clock::after;
use crate::error::SdkError;
use crate::sync::lock;
use jobraft_protocol::limits::BULK_BYTES_MAX;
use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Requests of a kind under way at once, each with as much as waited.
const UNDER_WAY_MAX: usize = 4;
/// What one request brings at most: less than it may, so that one is on its way while another is dealt with.
const TOGETHER_MAX: usize = 256;

/// What can be asked for together with others of its kind. To ask twice does no more than to ask once.
pub(crate) trait Joined: Clone + Send + 'static {
    /// What one is answered.
    type Answer: Send + 'static;

    /// Where those of this client wait.
    fn queue(client: &Client) -> &Together<Self>;

    /// What it takes of a request, about.
    fn weight_bytes(&self) -> usize;

    /// Asks for all of these in one request; the answers are in their order, as many as these.
    fn ask(
        client: &Client,
        all: Vec<Self>,
        timeout: Duration,
    ) -> impl Future<Output = Result<Vec<Self::Answer>, SdkError>> + Send;
}

/// Those of one kind that wait at one client.
pub(crate) struct Together<T: Joined>(Mutex<Queue<T>>);

struct Queue<T: Joined> {
    waiting: VecDeque<Waiting<T>>,
    under_way: usize,
}

struct Waiting<T: Joined> {
    one: T,
    until: Instant,
    answer: oneshot::Sender<Result<T::Answer, Failed>>,
}

/// Why there is no answer.
enum Failed {
    /// The asker's own request failed.
    Alone(SdkError),
    /// The request that it went with failed as a whole.
    Together {
        /// It may have been done all the same.
        maybe_done: bool,
    },
}

impl<T: Joined> Default for Together<T> {
    fn default() -> Self {
        Self(Mutex::new(Queue { waiting: VecDeque::new(), under_way: 0 }))
    }
}

impl<T: Joined> fmt::Debug for Together<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Together").finish_non_exhaustive()
    }
}

/// Asks for `one`, with whatever else of its kind is asked for at the same time. It takes no longer than `timeout`, or than
/// those that were asked for before may take.
pub(crate) async fn ask<T: Joined>(client: &Client, one: T, timeout: Duration) -> Result<T::Answer, SdkError> {
    let until = after(timeout);
    let (answer, answered) = oneshot::channel();
    if T::queue(client).add(Waiting { one: one.clone(), until, answer }) {
        client.router().io().spawn(carry::<T>(client.clone()));
    }
    let mut answer = match answered.await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(Failed::Alone(error))) => Err(error),
        // Apart, for this is rare, and thousands wait here at once.
        Ok(Err(Failed::Together { maybe_done })) => Box::pin(ask_alone(client, one, until, maybe_done)).await,
        Err(_) => Box::pin(ask_alone(client, one, until, true)).await,
    };
    if let Err(SdkError::Timeout { after, .. }) = &mut answer {
        *after = timeout;
    }
    answer
}

async fn ask_alone<T: Joined>(
    client: &Client,
    one: T,
    until: Instant,
    maybe_done: bool,
) -> Result<T::Answer, SdkError> {
    let mut answers = T::ask(client, vec![one], until.saturating_duration_since(Instant::now())).await;
    if let Err(SdkError::Timeout { outcome_unknown, .. }) = &mut answers {
        *outcome_unknown |= maybe_done;
    }
    answers?.pop().ok_or_else(|| SdkError::Protocol("it answered nothing".to_owned()))
}

/// Makes requests for as long as anything waits.
async fn carry<T: Joined>(client: Client) {
    while let Some(load) = T::queue(&client).take() {
        let timeout = load
            .iter()
            .map(|waiting| waiting.until)
            .min()
            .map_or(Duration::ZERO, |until| until.saturating_duration_since(Instant::now()));
        let (all, askers): (Vec<T>, Vec<_>) = load.into_iter().map(|waiting| (waiting.one, waiting.answer)).unzip();
        let answers: Vec<_> = match T::ask(&client, all, timeout).await {
            Ok(answers) => answers.into_iter().map(Ok).collect(),
            Err(error) if askers.len() == 1 => vec![Err(Failed::Alone(error))],
            Err(error) => {
                tracing::debug!(%error, together = askers.len(), "not done together: each asks alone");
                let maybe_done = error.outcome_unknown();
                askers.iter().map(|_| Err(Failed::Together { maybe_done })).collect()
            }
        };
        for (asker, answer) in askers.into_iter().zip(answers) {
            // Whoever asked may have gone.
            let _ = asker.send(answer);
        }
    }
}

impl<T: Joined> Together<T> {
    /// Whether a further request may be made for it.
    fn add(&self, waiting: Waiting<T>) -> bool {
        let mut queue = lock(&self.0);
        queue.waiting.push_back(waiting);
        let may_carry = queue.under_way < UNDER_WAY_MAX;
        queue.under_way += usize::from(may_carry);
        may_carry
    }

    /// What goes in the next request, those who asked first; `None` if that one is not made.
    fn take(&self) -> Option<Vec<Waiting<T>>> {
        let mut queue = lock(&self.0);
        let (mut load, mut bytes) = (Vec::new(), 0);
        while load.len() < TOGETHER_MAX
            && let Some(next) = queue.waiting.pop_front()
        {
            // Nobody waits for it any more.
            if next.answer.is_closed() {
                continue;
            }
            bytes += next.one.weight_bytes();
            if bytes > BULK_BYTES_MAX && !load.is_empty() {
                queue.waiting.push_front(next);
                break;
            }
            load.push(next);
        }
        if load.is_empty() {
            queue.under_way -= 1;
            return None;
        }
        Some(load)
    }
}
