//! Which requests the workload makes: a list that does not compile until a new request has its place.

use jobraft_protocol::Request;

/// Who makes a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// These clients.
    Here,
    /// Whoever makes the faults: it changes the cluster itself.
    ByFaults,
}

/// Who makes this request.
pub(super) const fn made(request: &Request) -> Made {
    match request {
        Request::Enqueue { .. }
        | Request::RegisterWorker { .. }
        | Request::Lease { .. }
        | Request::Subscribe { .. }
        | Request::AddCredits { .. }
        | Request::Unsubscribe { .. }
        | Request::Extend { .. }
        | Request::Checkpoint { .. }
        | Request::Complete { .. }
        | Request::Fail { .. }
        | Request::Release { .. }
        | Request::Disconnect { .. }
        | Request::Act { .. }
        | Request::ListJobs { .. }
        | Request::Configure { .. }
        | Request::GetSettings { .. }
        | Request::ListWorkers { .. }
        | Request::ListState { .. }
        | Request::GetJob { .. }
        | Request::ListQueues { .. }
        | Request::ListGroups { .. }
        | Request::ClusterStatus
        | Request::CreateBatch { .. }
        | Request::SealBatch { .. }
        | Request::GetBatch { .. }
        | Request::ListBatches { .. }
        | Request::ListSchedules { .. }
        | Request::GetSchedule { .. }
        | Request::RunSchedule { .. }
        | Request::Heartbeat { .. }
        | Request::OrderWorker { .. }
        | Request::ChangeToken { .. }
        | Request::ListTokens { .. }
        | Request::ChangeSecret { .. }
        | Request::ListSecrets { .. }
        | Request::GetSecrets { .. }
        | Request::ChangeNamespace { .. }
        | Request::ListNamespaces { .. }
        | Request::GetState { .. }
        | Request::ListModules { .. }
        | Request::ResolveModule { .. } => Made::Here,
        Request::AddNode { .. } | Request::RemoveNode { .. } | Request::TransferLeader { .. } => Made::ByFaults,
    }
}
