//! The node that is attacked: a process of its own that says on demand what it has allocated.

use crate::MIB;
use crate::allocations;
use crate::honest::Honest;
use jobraft_node::Node;
use jobraft_node::config::{AuditConfig, LogConfig, NodeConfig};
use jobraft_node::tls::{CertificateAuthority, Credentials, Overwrite, TlsFiles};
use jobraft_node::transport::Endpoint;
use jobraft_protocol::{Grant, NodeAddress, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// A test that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(120);
/// Where the process of the node finds its certificate, and keeps its data.
const HOME: &str = "JOBRAFT_HOSTILE_HOME";
/// What begins the lines that it writes; the test harness writes others.
const SAYS: &str = "node: ";

/// One attack at a time.
static TURN: Mutex<()> = Mutex::new(());

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("the test hangs")
}

/// A node under attack. Its process ends with it.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    home: TempDir,
    authority: CertificateAuthority,
    /// What the node held before anybody came.
    calm: usize,
    process: Child,
    orders: Option<ChildStdin>,
    says: BufReader<ChildStdout>,
    _turn: MutexGuard<'static, ()>,
}

impl Target {
    pub(crate) fn start() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let home = TempDir::new().unwrap();
        let authority = CertificateAuthority::create(home.path(), 1).unwrap();
        let pair = authority.issue_node(NodeId(1), &["127.0.0.1".to_owned()], 1).unwrap();
        pair.write(home.path(), "node-1", Overwrite::Replace).unwrap();
        let mut process = Command::new(env::current_exe().unwrap())
            .args(["target::the_node", "--exact", "--ignored", "--nocapture"])
            .env(HOME, home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (orders, says) = (process.stdin.take(), BufReader::new(process.stdout.take().unwrap()));
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut target = Self { address, home, authority, calm: 0, process, orders, says, _turn: turn };
        target.address = target.hear().parse().unwrap();
        target
    }

    /// What the node says next.
    fn hear(&mut self) -> String {
        loop {
            let mut line = String::new();
            assert!(self.says.read_line(&mut line).unwrap() > 0, "the node's process has ended");
            if let Some((_, said)) = line.trim_end().split_once(SAYS) {
                return said.to_owned();
            }
        }
    }

    fn ask(&mut self, order: &str) -> usize {
        writeln!(self.orders.as_mut().unwrap(), "{order}").unwrap();
        self.hear().parse().unwrap()
    }

    /// The attack begins: the most that the node holds is measured from here on.
    pub(crate) fn begin(&mut self) {
        self.calm = self.ask("mark");
    }

    /// Waits until the most that the node ever held is the same for a while: it holds all that it is going to.
    pub(crate) async fn until_it_stops_growing(&mut self) {
        let mut before = 0;
        for _ in 0..100 {
            let peak = self.ask("peak");
            if peak == before {
                return;
            }
            before = peak;
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    }

    /// At no time since the attack began has the node held more than `bound` bytes beyond what it held before.
    pub(crate) fn held_at_most(&mut self, attack: &str, bound: usize) {
        let peak = self.ask("peak").saturating_sub(self.calm);
        println!("{attack}: {:.1} MiB at most, the bound is {} MiB", peak as f64 / MIB as f64, bound / MIB);
        assert!(peak <= bound, "{attack}: the node held {peak} bytes, the bound is {bound}");
    }

    /// The credentials of a client.
    pub(crate) fn credentials(&self, name: &str) -> Credentials {
        let pair = self.authority.issue_client(name, Grant::admin(), 1).unwrap();
        self.keep(&pair, name)
    }

    /// The credentials of a node that is no member.
    pub(crate) fn node_credentials(&self, id: u64) -> Credentials {
        let pair = self.authority.issue_node(NodeId(id), &["127.0.0.1".to_owned()], 1).unwrap();
        self.keep(&pair, &format!("node-{id}"))
    }

    fn keep(&self, pair: &jobraft_node::tls::IssuedPair, stem: &str) -> Credentials {
        pair.write(self.home.path(), stem, Overwrite::Replace).unwrap();
        Credentials::load(&TlsFiles::in_directory(self.home.path(), stem)).unwrap()
    }

    /// An honest client.
    pub(crate) async fn honest(&self) -> Honest {
        let credentials = self.credentials("honest");
        let endpoint = Endpoint::bind(SocketAddr::from(([127, 0, 0, 1], 0)), &credentials).unwrap();
        Honest::connect(endpoint, self.address).await
    }

    /// Files of modules that came in part.
    pub(crate) fn unfinished_uploads(&self) -> usize {
        fn count(directory: &Path) -> usize {
            let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
            let unfinished = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with(".incoming-");
            entries.map(|entry| entry.path()).map(|path| count(&path) + usize::from(unfinished(&path))).sum()
        }
        count(&self.home.path().join("data"))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // The end of its input ends it; should it hang, it is killed.
        drop(self.orders.take());
        for _ in 0..100 {
            if matches!(self.process.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The process of the node. Started by [`Target::start`]; by itself it does nothing.
#[test]
#[ignore = "the node of the other tests, which start it"]
fn the_node() {
    let Some(home) = env::var_os(HOME).map(PathBuf::from) else { return };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let advertise: NodeAddress = "127.0.0.1:1".parse().unwrap();
    let config = NodeConfig {
        node_id: NodeId(1),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        advertise: advertise.clone(),
        data_dir: home.join("data"),
        cluster: "test".to_owned(),
        initial_members: BTreeMap::from([(NodeId(1), advertise)]),
        tls: TlsFiles::in_directory(&home, "node-1"),
        log: LogConfig::default(),
        audit: AuditConfig::off(),
        key_file: None,
        secrets_key_file: None,
        signers: BTreeSet::new(),
    };
    let node = runtime.block_on(async {
        let node = Node::start(config).await.unwrap();
        soon(node.consensus().leadership().wait_for(|now| now.is_leader)).await.unwrap();
        node
    });
    println!("\n{SAYS}{}", node.listen_addr());
    for order in std::io::stdin().lines() {
        let order = order.unwrap();
        if order == "mark" {
            allocations::mark();
        }
        let (live, peak) = allocations::live_and_peak();
        println!("{SAYS}{}", if order == "peak" { peak } else { live });
    }
    // Nobody wants its data: it need not stop in order.
    std::process::exit(0);
}
