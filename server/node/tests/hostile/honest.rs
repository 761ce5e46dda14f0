//! A client that keeps to the protocol while another one attacks.

use crate::target::soon;
use jobraft_node::transport::{Endpoint, FrameReceiver, FrameSender, Protocol};
use jobraft_protocol::{
    ClientFrame, ClientHello, Consistency, EnqueueOutcome, Error, JobId, LogTime, NewJob, Request, Response,
    ServerFrame, ServerHello, StreamOpen, Task, WorkerId, WorkerInfo,
};
use std::net::SocketAddr;

pub(crate) struct Honest {
    sender: FrameSender,
    receiver: FrameReceiver,
    time: LogTime,
    number: u64,
    _endpoint: Endpoint,
}

impl Honest {
    pub(crate) async fn connect(endpoint: Endpoint, to: SocketAddr) -> Self {
        // Refused for a moment is served the next: floods are turned away before anybody knows who is who.
        let connection = loop {
            match soon(endpoint.connect(&to.into(), Protocol::Client)).await {
                Ok(connection) => break connection,
                Err(error) => assert!(error.is_retryable(), "{error}"),
            }
        };
        let (mut sender, mut receiver) = connection.open().await.unwrap();
        sender.send(&StreamOpen::Session(ClientHello::new("honest"))).await.unwrap();
        let hello = soon(receiver.recv::<Result<ServerHello, Error>>()).await.unwrap().unwrap().unwrap();
        Self { sender, receiver, time: hello.time, number: 0, _endpoint: endpoint }
    }

    pub(crate) async fn ask(&mut self, request: Request) -> Result<Response, Error> {
        self.number += 1;
        soon(self.sender.send(&ClientFrame { id: self.number, request })).await.unwrap();
        loop {
            match soon(self.receiver.recv()).await.unwrap().expect("the session goes on") {
                ServerFrame::Reply { id, result } if id == self.number => return result,
                ServerFrame::Reply { .. } | ServerFrame::Push(_) => {}
            }
        }
    }

    pub(crate) async fn enqueue(&mut self, queue: &str, payload: usize) -> JobId {
        let mut random = [0x68; 10];
        random[2..].copy_from_slice(&(self.number + 1).to_be_bytes());
        let id = JobId::new(self.time, random);
        let task = Task::Handler("t".parse().unwrap());
        let job = NewJob::new(id, queue.parse().unwrap(), task, vec![7; payload]);
        let answer = self.ask(Request::Enqueue { jobs: vec![job], all_or_none: false }).await;
        assert_eq!(answer, Ok(Response::Enqueued(vec![EnqueueOutcome::Created])));
        id
    }

    pub(crate) async fn register(&mut self) -> WorkerId {
        match self
            .ask(Request::RegisterWorker { info: WorkerInfo { name: "w".to_owned(), ..WorkerInfo::default() } })
            .await
        {
            Ok(Response::Registered(worker)) => worker,
            other => panic!("{other:?}"),
        }
    }

    /// Does small and large work of each kind: a client that is served.
    pub(crate) async fn works(&mut self) {
        for payload in [10, 200_000] {
            let job = self.enqueue("honest", payload).await;
            let read = self.ask(Request::GetJob { job, consistency: Consistency::Linearizable, wait_ms: 0 }).await;
            assert!(matches!(&read, Ok(Response::Job(view)) if view.payload.len() == payload), "{read:.200?}");
        }
    }
}
