//! Lists of jobs, a page at a time or all of them.

use crate::client::Client;
use crate::error::SdkError;
use crate::requests::answered;
use futures_util::Stream;
use futures_util::stream::{self, TryStreamExt};
use jobraft_protocol::{Consistency, JobFilter, JobId, JobPage, JobSummary, Request, Response};

/// Which part of a list, and in which order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Where the page before ended: its [`JobPage::next`].
    pub after: Option<JobId>,
    /// From the oldest on, instead of from the newest back.
    pub oldest_first: bool,
    /// How many in one page; at most [`LIST_JOBS_MAX`](jobraft_protocol::limits::LIST_JOBS_MAX).
    pub limit: u32,
    /// How fresh. A linearizable page makes the cluster write a checkpoint; a stale one is as of the last, seconds ago.
    pub consistency: Consistency,
}

impl Default for Listing {
    /// The newest hundred, linearizable.
    fn default() -> Self {
        Self { after: None, oldest_first: false, limit: 100, consistency: Consistency::Linearizable }
    }
}

impl Client {
    /// One page of the jobs that match. It may hold few jobs, or none, although there are more: see [`JobPage::next`].
    ///
    /// # Errors
    /// [`InvalidArgument`](jobraft_protocol::ErrorCode::InvalidArgument) if the filter is out of its domain.
    pub async fn list_jobs(&self, filter: JobFilter, listing: Listing) -> Result<JobPage, SdkError> {
        let Listing { after, oldest_first, limit, consistency } = listing;
        let request = Request::ListJobs { filter, after, oldest_first, limit, consistency };
        answered!(self.ask(request).await?, Jobs(page))
    }

    /// All jobs that match, page after page. Jobs are in the order of their making, which never changes: none is given
    /// twice or passed over, however they move meanwhile.
    pub fn jobs(&self, filter: JobFilter, listing: Listing) -> impl Stream<Item = Result<JobSummary, SdkError>> {
        let client = self.clone();
        let pages = stream::try_unfold(Some(listing), move |next| {
            let (client, filter) = (client.clone(), filter.clone());
            async move {
                let Some(listing) = next else { return Ok(None) };
                let page = client.list_jobs(filter, listing).await?;
                let next = page.next.map(|after| Listing { after: Some(after), ..listing });
                Ok::<_, SdkError>(Some((stream::iter(page.jobs.into_iter().map(Ok)), next)))
            }
        });
        pages.try_flatten()
    }
}
