//! How a client command finds its cluster: flags, environment, or a context file.
//!
//! A context file names endpoints and certificates once: `jobraft dev` writes `./jobraft-data/client.toml`, and every
//! client command started in that directory uses it unless told otherwise.

use crate::failure::{Exit, Failure};
use clap::Args;
use jobraft_node::config::{ConfigError, Source};
use jobraft_node::tls::TlsFiles;
use jobraft_protocol::limits::QUEUE_WEIGHT_MAX;
use jobraft_protocol::{Namespace, NodeAddress, QueueName, Signer};
use jobraft_sdk::{Client, ClientConfig, Credential, Pem, SdkError};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fmt::{self, Display};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where `jobraft dev` leaves its context file, seen from where it was started.
pub(crate) const DEFAULT_CONTEXT: &str = "jobraft-data/client.toml";

/// The environment variable that holds a token.
pub(crate) const TOKEN: &str = "JOBRAFT_TOKEN";
/// The environment variable that names a file with one.
pub(crate) const TOKEN_FILE: &str = "JOBRAFT_TOKEN_FILE";

/// The name under which the nodes' logs know this program.
pub(crate) const AGENT: &str = concat!("jobraft-cli/", env!("CARGO_PKG_VERSION"));

/// Which cluster, and as whom.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub(crate) struct ConnectionArgs {
    /// A node of the cluster; repeat it, or separate several by commas
    #[arg(
        long = "endpoint",
        env = "JOBRAFT_ENDPOINTS",
        global = true,
        value_delimiter = ',',
        value_name = "HOST:PORT"
    )]
    endpoints: Vec<NodeAddress>,
    /// The cluster's CA certificate
    #[arg(long, env = "JOBRAFT_CA", global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// This client's certificate
    #[arg(long, env = "JOBRAFT_CERT", global = true, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// This client's private key
    #[arg(long, env = "JOBRAFT_KEY", global = true, value_name = "FILE")]
    key: Option<PathBuf>,
    /// A file with this client's token, which it shows instead of a certificate [env: JOBRAFT_TOKEN_FILE, or
    /// JOBRAFT_TOKEN with the token itself]
    #[arg(long, global = true, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The namespace of what is asked for [default: the one of this client's credential, which for an administrator of
    /// the cluster is `default`]
    #[arg(long, env = "JOBRAFT_NAMESPACE", global = true, value_name = "NAME")]
    namespace: Option<Namespace>,
    /// A file that says all of these [default: ./jobraft-data/client.toml, which `jobraft dev` writes]
    #[arg(long, env = "JOBRAFT_CONTEXT", global = true, value_name = "FILE")]
    context: Option<PathBuf>,
}

/// A context file as it is written.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    #[serde(default)]
    pub(crate) endpoints: Vec<NodeAddress>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) token_file: Option<PathBuf>,
    pub(crate) namespace: Option<Namespace>,
    #[serde(default, skip_serializing)]
    pub(crate) worker: WorkerContext,
}

/// What a context file says about a worker.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WorkerContext {
    #[serde(default)]
    pub(crate) queues: Vec<ServedQueue>,
    pub(crate) concurrency: Option<u16>,
    pub(crate) name: Option<String>,
    pub(crate) lease: Option<String>,
    pub(crate) memory: Option<String>,
    pub(crate) cache_dir: Option<PathBuf>,
    pub(crate) signers: Option<Vec<Signer>>,
    #[serde(default)]
    pub(crate) isolate: bool,
}

/// A queue that a worker serves, as it is written: `emails`, or `emails=3` with its weight.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct ServedQueue {
    pub(crate) name: QueueName,
    /// Its share of the worker's attention; absent: queues that are named first come first.
    pub(crate) weight: Option<u32>,
}

impl FromStr for ServedQueue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, weight) = match text.split_once('=') {
            Some((name, weight)) => (name, Some(weight)),
            None => (text, None),
        };
        let weight = weight.map(|weight| {
            let number = weight.parse().ok().filter(|number| (1..=QUEUE_WEIGHT_MAX).contains(number));
            number.ok_or_else(|| format!("{weight:?} is not a weight: a number from 1 to {QUEUE_WEIGHT_MAX}"))
        });
        Ok(Self { name: QueueName::new(name).map_err(|error| error.to_string())?, weight: weight.transpose()? })
    }
}

impl TryFrom<String> for ServedQueue {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl Display for ServedQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.weight {
            Some(weight) => write!(f, "{}={weight}", self.name),
            None => self.name.fmt(f),
        }
    }
}

/// Where the cluster is and who this client is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    pub(crate) endpoints: Vec<NodeAddress>,
    pub(crate) ca: PathBuf,
    pub(crate) credential: Credential,
    pub(crate) namespace: Option<Namespace>,
}

impl Context {
    /// Reads a context file; its relative paths start from its directory.
    pub(crate) fn load(file: &Path) -> Result<Self, ConfigError> {
        let source = Source::read(file)?;
        let mut context: Self = source.parse()?;
        let Self { ca, cert, key, token_file, worker, .. } = &mut context;
        for path in [ca, cert, key, token_file, &mut worker.cache_dir].into_iter().flatten() {
            *path = source.resolve(path);
        }
        Ok(context)
    }
}

impl Context {
    /// The context of a client that has these files.
    pub(crate) fn of(endpoints: Vec<NodeAddress>, files: TlsFiles) -> Self {
        let TlsFiles { ca, cert, key, .. } = files;
        Self { endpoints, ca: Some(ca), cert: Some(cert), key: Some(key), ..Self::default() }
    }

    /// Writes a context file for clients that start anywhere.
    pub(crate) fn write(&self, file: &Path) -> Result<(), Failure> {
        let doing = || format!("write {}", file.display());
        let text = toml::to_string(self).map_err(|error| Failure::new(doing(), error))?;
        std::fs::write(file, text).map_err(|error| Failure::new(doing(), error))
    }
}

impl ConnectionArgs {
    /// The context file: the one that was named, else the default one if it is there.
    pub(crate) fn context(&self) -> Result<Context, Failure> {
        let file = match &self.context {
            Some(file) => file.clone(),
            // All flags given: nothing is missing that a file could say.
            None if self.complete()? => return Ok(Context::default()),
            None if Path::new(DEFAULT_CONTEXT).exists() => {
                self.check_default_context()?;
                DEFAULT_CONTEXT.into()
            }
            None => return Ok(Context::default()),
        };
        Context::load(&file).map_err(|error| Failure::usage("read the context", error))
    }

    fn complete(&self) -> Result<bool, Failure> {
        let has_certificate = self.cert.is_some() && self.key.is_some();
        Ok(!self.endpoints.is_empty() && self.ca.is_some() && (has_certificate || self.token()?.is_some()))
    }

    /// A token of the environment is shown to nobody whom a directory names in which one happens to be: unlike a key it would
    /// be theirs.
    fn check_default_context(&self) -> Result<(), Failure> {
        if self.token_file.is_none() && self.token()?.is_some() {
            let cause = format!("the token of the environment is not for whomever {DEFAULT_CONTEXT} here names");
            return Err(Failure::usage("find the cluster", cause)
                .hint("name the cluster with --context, or with --endpoint and --ca; or unset JOBRAFT_TOKEN and JOBRAFT_TOKEN_FILE"));
        }
        Ok(())
    }

    /// Flags and environment first, then the context.
    pub(crate) fn resolve(&self, context: &Context) -> Result<Connection, Failure> {
        let endpoints = if self.endpoints.is_empty() { &context.endpoints } else { &self.endpoints };
        if endpoints.is_empty() {
            return Err(missing("which cluster to ask", "--endpoint HOST:PORT"));
        }
        Ok(Connection {
            endpoints: endpoints.clone(),
            ca: either(&self.ca, &context.ca, "the cluster's CA certificate", "--ca FILE")?,
            credential: self.credential(context)?,
            namespace: self.namespace.clone().or_else(|| context.namespace.clone()),
        })
    }

    /// Whatever stands on the command line or in the environment comes before what is in the context, of either kind.
    fn credential(&self, context: &Context) -> Result<Credential, Failure> {
        let has_certificate = self.cert.is_some() || self.key.is_some();
        let is_in_context = || context.token_file.clone().map(Pem::File).filter(|_| !has_certificate);
        let given = self.token()?;
        match given.clone().or_else(is_in_context) {
            Some(_) if has_certificate => Err(ambiguous("by a certificate or its key, and by a token")),
            Some(_) if given.is_none() && (context.cert.is_some() || context.key.is_some()) => {
                Err(ambiguous("in the context: with cert or key, and with token_file"))
            }
            Some(token) => Ok(Credential::Token(token)),
            None => Ok(Credential::Certificate {
                cert: either(&self.cert, &context.cert, "this client's certificate", "--cert FILE")?.into(),
                key: either(&self.key, &context.key, "this client's private key", "--key FILE")?.into(),
            }),
        }
    }

    /// The token, if there is one on the command line or in the environment.
    fn token(&self) -> Result<Option<Pem>, Failure> {
        match &self.token_file {
            Some(file) => Ok(Some(Pem::File(file.clone()))),
            None => token_of_environment(|name| std::env::var_os(name)),
        }
    }

    /// Whether a cluster was named on the command line or in the environment.
    pub(crate) fn is_given(&self) -> bool {
        !self.endpoints.is_empty() || self.context.is_some()
    }

    /// Where to connect to.
    pub(crate) fn connection(&self) -> Result<Connection, Failure> {
        self.resolve(&self.context()?)
    }

    /// Connects to the cluster.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        self.connection()?.connect().await
    }
}

impl Connection {
    /// Of a client that has these files.
    pub(crate) fn of(endpoints: Vec<NodeAddress>, files: TlsFiles) -> Self {
        let TlsFiles { ca, cert, key, .. } = files;
        let credential = Credential::Certificate { cert: cert.into(), key: key.into() };
        Self { endpoints, ca, credential, namespace: None }
    }

    /// The SDK's settings.
    pub(crate) fn config(&self) -> ClientConfig {
        let of = ClientConfig::of(self.endpoints.clone(), self.ca.clone().into(), self.credential.clone());
        ClientConfig { namespace: self.namespace.clone(), ..of.agent(AGENT) }
    }

    /// Connects.
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        Client::connect(self.config()).await.map_err(|error| failed("connect to the cluster", &error))
    }
}

/// What the variables of this process say, as `read` reads them.
fn token_of_environment(read: impl Fn(&str) -> Option<OsString>) -> Result<Option<Pem>, Failure> {
    let read = |name| read(name).filter(|value| !value.is_empty());
    match (read(TOKEN), read(TOKEN_FILE)) {
        (Some(_), Some(_)) => Err(ambiguous("by JOBRAFT_TOKEN and by JOBRAFT_TOKEN_FILE")),
        (Some(text), None) => Ok(Some(Pem::Bytes(text.into_encoded_bytes()))),
        (None, file) => Ok(file.map(|file| Pem::File(file.into()))),
    }
}

fn either(
    flag: &Option<PathBuf>,
    known: &Option<PathBuf>,
    what: &'static str,
    option: &'static str,
) -> Result<PathBuf, Failure> {
    flag.clone().or_else(|| known.clone()).ok_or_else(|| missing(what, option))
}

fn ambiguous(how: &str) -> Failure {
    Failure::usage("find the cluster", format!("who this client is, is said twice {how}"))
        .hint("a client has a certificate and its key, or a token: leave the other out")
}

fn missing(what: &str, option: &str) -> Failure {
    Failure::usage("find the cluster", format!("nothing says {what}: {option} is missing")).hint(
        "start a cluster for development with `jobraft dev`, or name one with --endpoint, --ca, --cert and --key, or \
               --token-file",
    )
}

/// What the SDK reports, with the exit code and the hint that fit.
pub(crate) fn failed(doing: impl Into<String>, error: &SdkError) -> Failure {
    match error {
        SdkError::Refused(refusal) => Failure::refused(doing, refusal),
        SdkError::Unauthenticated(refusal) => Failure::refused(doing, refusal),
        SdkError::Unreachable(_) => Failure::from_error(doing, error)
            .exit(Exit::Unavailable)
            .hint("start a cluster for development with `jobraft dev`, or name another one with --endpoint"),
        SdkError::Timeout { .. } | SdkError::OutcomeUnknown { .. } => Failure::from_error(doing, error)
            .exit(Exit::Unavailable)
            .hint("see who is there with `jobraft cluster status`; a majority of the voters must be up"),
        SdkError::NoEndpoint | SdkError::Tls(_) | SdkError::Invalid(_) | SdkError::Name(_) | SdkError::File { .. } => {
            Failure::from_error(doing, error).exit(Exit::Usage)
        }
        _ => Failure::from_error(doing, error),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_queue_may_have_a_weight() {
        let queue: ServedQueue = "urgent=3".parse().unwrap();
        assert_eq!((queue.name.as_str(), queue.weight, queue.to_string()), ("urgent", Some(3), "urgent=3".to_owned()));
        assert_eq!("urgent".parse::<ServedQueue>().unwrap().weight, None);
        for wrong in ["", "=3", "urgent=", "urgent=0", "urgent=1001", "urgent=-1", "a b=1"] {
            assert!(wrong.parse::<ServedQueue>().is_err(), "{wrong:?}");
        }
    }

    fn context() -> Context {
        let text = "endpoints = [\"127.0.0.1:1\"]\nca = \"ca.crt\"\ncert = \"/c.crt\"\nkey = \"c.key\"\n";
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("client.toml");
        std::fs::write(&file, text).unwrap();
        let mut context = Context::load(&file).unwrap();
        assert_eq!(context.ca.as_deref(), Some(&*directory.path().join("ca.crt")));
        context.ca = Some("ca.crt".into());
        context.key = Some("c.key".into());
        context
    }

    #[test]
    fn context_fills_what_flags_leave_out() {
        let args = ConnectionArgs { cert: Some("mine.crt".into()), ..ConnectionArgs::default() };
        let connection = args.resolve(&context()).unwrap();
        let Credential::Certificate { cert, .. } = connection.credential else { panic!("{:?}", connection.credential) };
        assert_eq!(cert, "mine.crt".into());
        assert_eq!(connection.ca, Path::new("ca.crt"));
        assert_eq!(connection.endpoints[0].as_str(), "127.0.0.1:1");
    }

    #[test]
    fn a_token_comes_before_what_the_context_says_and_is_not_mixed_with_a_certificate() {
        let token = |file: &str| Credential::Token(Pem::File(file.into()));
        let args = ConnectionArgs { token_file: Some("mine".into()), ..ConnectionArgs::default() };
        assert_eq!(args.resolve(&context()).unwrap().credential, token("mine"));
        let failure = ConnectionArgs { cert: Some("c".into()), ..args }.resolve(&context()).unwrap_err();
        assert_eq!(failure.exit_code(), Exit::Usage);
        assert!(failure.to_string().contains("said twice"), "{failure}");

        let args = ConnectionArgs::default();
        let both = Context { token_file: Some("theirs".into()), ..context() };
        let failure = args.resolve(&both).unwrap_err();
        assert!(failure.to_string().contains("token_file"), "{failure}");
        let theirs = Context { cert: None, key: None, ..both };
        assert_eq!(args.resolve(&theirs).unwrap().credential, token("theirs"));
        let args = ConnectionArgs { cert: Some("c".into()), key: Some("k".into()), ..args };
        let Credential::Certificate { .. } = args.resolve(&theirs).unwrap().credential else { panic!("a flag counts") };
    }

    #[test]
    fn the_environment_has_a_token_or_names_its_file() {
        let of = |token: Option<&'static str>, file: Option<&'static str>| {
            token_of_environment(|name| if name == TOKEN { token } else { file }.map(OsString::from))
        };
        assert_eq!(of(Some(""), None).unwrap(), None);
        assert_eq!(of(Some("jrt_1"), Some("")).unwrap(), Some(Pem::Bytes(b"jrt_1".to_vec())));
        assert_eq!(of(None, Some("f")).unwrap(), Some(Pem::File("f".into())));
        assert!(of(Some("jrt_1"), Some("f")).unwrap_err().to_string().contains("JOBRAFT_TOKEN_FILE"));
    }

    #[test]
    fn missing_setting_is_named_with_its_flag() {
        let args = ConnectionArgs::default();
        let failure = args.resolve(&Context { key: None, ..context() }).unwrap_err();
        assert_eq!(failure.exit_code(), Exit::Usage);
        assert!(failure.to_string().contains("--key"), "{failure}");
        let failure = args.resolve(&Context::default()).unwrap_err();
        assert!(failure.to_string().contains("--endpoint"), "{failure}");
    }

    #[test]
    fn unknown_key_in_a_context_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("client.toml");
        std::fs::write(&file, "endpoint = \"127.0.0.1:1\"\n").unwrap();
        let error = Context::load(&file).unwrap_err().to_string();
        assert!(error.contains("client.toml, line 1, key `endpoint`"), "{error}");
    }

    #[test]
    fn samples_are_valid() {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config");
        let [client, worker] = ["client.toml", "worker.toml"].map(|name| Context::load(&config.join(name)).unwrap());
        assert_eq!((client.endpoints.len(), worker.endpoints.len()), (3, 3));
        assert_eq!(worker.worker.queues[0].name.as_str(), "default");
    }
}
