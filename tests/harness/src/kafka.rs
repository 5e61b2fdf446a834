//! Apache Kafka in JVMs of its own, from the jars that `tools/setup.sh kafka` downloads.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::child::Process;
use crate::jvm::{self, java};
use crate::ports::free_port;
use crate::proxy::{self, Faults};
use crate::{dirs, wait};

const UP_WITHIN: Duration = Duration::from_secs(120);

/// One or more nodes, each broker and controller. Killed when dropped.
#[derive(Debug)]
pub struct KafkaCluster {
    brokers: String,
    proxied: String,
    faults: Faults,
    nodes: Mutex<Vec<Node>>,
    /// The one node that another process has started, and ends.
    attached: Option<u32>,
}

#[derive(Debug)]
struct Node {
    id: usize,
    dir: PathBuf,
    /// More options of its JVM.
    options: Vec<String>,
    process: Option<Process>,
}

/// A cluster of one test, whose nodes end with it: a few of them would take all of the machine. Who borrows the cluster may
/// live longer.
#[derive(Debug)]
pub struct OwnKafka(&'static KafkaCluster);

/// A listener beside those that every node has.
pub(crate) struct Listener {
    pub name: &'static str,
    pub protocol: &'static str,
    pub port: u16,
}

/// Additions to the one node that there is.
#[derive(Default)]
pub(crate) struct Secured {
    pub listeners: Vec<Listener>,
    /// Users, as Kafka's format tool takes them.
    pub users: Vec<String>,
    /// Options of its JVM.
    pub options: Vec<String>,
}

/// The ports of a node.
struct Ports {
    broker: u16,
    controller: u16,
    /// The ports of its proxy: for clients, and towards the node.
    proxy: u16,
    proxied: u16,
}

// === impl KafkaCluster ===

impl KafkaCluster {
    /// The one node that the tests of this binary share; they keep apart by their topics' and clusters' names.
    pub fn shared() -> &'static KafkaCluster {
        static SHARED: LazyLock<KafkaCluster> = LazyLock::new(|| KafkaCluster::start(1));
        &SHARED
    }

    /// Starts `count` nodes on fresh storage, and waits until all have joined.
    pub fn start(count: usize) -> KafkaCluster {
        Self::start_with(count, "")
    }

    /// Starts nodes with more lines in their properties.
    pub fn start_with(count: usize, properties: &str) -> KafkaCluster {
        Self::start_secured(count, properties, &Secured::default())
    }

    pub(crate) fn start_secured(count: usize, properties: &str, secured: &Secured) -> KafkaCluster {
        let Secured { listeners, users, options } = secured;
        let faults = Faults::default();
        let ports: Vec<Ports> = (0..count).map(|_| Ports::with_proxy(&faults)).collect();
        let node = |id| Node { id, dir: dirs::fresh("kafka"), options: options.clone(), process: None };
        let mut nodes: Vec<Node> = (1..=count).map(node).collect();
        for node in &mut nodes {
            node.lay_out(&ports, &(listeners_of(&ports[node.id - 1], listeners) + properties), users);
            node.launch();
        }
        let list = |port: fn(&Ports) -> u16| {
            ports.iter().map(|ports| format!("127.0.0.1:{}", port(ports))).collect::<Vec<_>>().join(",")
        };
        let brokers = list(|ports| ports.broker);
        let proxied = list(|ports| ports.proxy);
        let cluster = KafkaCluster { brokers, proxied, faults, nodes: Mutex::new(nodes), attached: None };
        cluster.wait_for(count);
        cluster
    }

    /// The one node of another process. It has no faults, and is not ended here.
    pub fn attach(brokers: &str, pid: u32) -> KafkaCluster {
        let [brokers, proxied] = [(); 2].map(|()| brokers.to_owned());
        KafkaCluster { brokers, proxied, faults: Faults::default(), nodes: Mutex::default(), attached: Some(pid) }
    }

    /// The settings of every client of the tests.
    pub fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.brokers()).set("client.id", "sandbar-tests");
        // A restarting broker is met often here, and waited for.
        config.set("reconnect.backoff.max.ms", "500");
        // A test that looks whether a topic is there must not make it.
        config.set("allow.auto.create.topics", "false");
        config
    }

    /// The bootstrap servers.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The bootstrap servers for whoever is to meet faults.
    pub fn proxied(&self) -> &str {
        &self.proxied
    }

    /// The faults that the proxies add to requests.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The process id of a node (they count from 1), while it runs.
    pub fn pid(&self, id: usize) -> Option<u32> {
        self.attached.or_else(|| self.nodes()[id - 1].process.as_ref().map(Process::pid))
    }

    /// SIGKILL to a node (they count from 1).
    pub fn kill9(&self, id: usize) {
        self.take(id).kill9();
    }

    /// SIGTERM to a node, and waits until it has ended.
    pub fn stop(&self, id: usize) {
        self.take(id).terminate(UP_WITHIN);
    }

    /// The first segment of a partition on a node (they count from 1), as Kafka keeps it.
    pub fn segment(&self, id: usize, topic: &str, partition: i32) -> PathBuf {
        self.nodes()[id - 1].dir.join(format!("data/{topic}-{partition}/00000000000000000000.log"))
    }

    /// Starts a node again on its data, and waits until it has joined.
    pub fn restart(&self, id: usize) {
        let running = {
            let mut nodes = self.nodes();
            nodes[id - 1].launch();
            nodes.iter().filter(|node| node.process.is_some()).count()
        };
        self.wait_for(running);
    }

    /// Takes one right on a resource from everybody, and no other: `--topic`, its name, `Read`. The cluster has an
    /// authorizer for that.
    pub fn deny(&self, resource: &str, name: &str, operation: &str) {
        self.acl(&["--add", "--allow-principal", "User:*", "--operation", "All", resource, name]);
        self.acl(&["--add", "--deny-principal", "User:*", "--operation", operation, resource, name]);
    }

    /// Gives the rights on a resource back.
    pub fn allow(&self, resource: &str, name: &str) {
        self.acl(&["--remove", "--force", resource, name]);
    }

    /// Changes ACLs, as `kafka-acls.sh` does.
    pub fn acl(&self, args: &[&str]) {
        self.tool("org.apache.kafka.tools.AclCommand", args);
    }

    /// Runs one of Kafka's tools.
    pub(crate) fn tool(&self, class: &str, args: &[&str]) {
        let mut command = java(&jvm::SMALL);
        command.args([class, "--bootstrap-server", self.brokers()]).args(args);
        let output = command.output().expect("java is on the PATH (tools/setup.sh kafka)");
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn nodes(&self) -> MutexGuard<'_, Vec<Node>> {
        self.nodes.lock().expect("no test panics while it holds the nodes")
    }

    fn take(&self, id: usize) -> Process {
        self.nodes()[id - 1].process.take().expect("the node runs")
    }

    /// Waits until `count` brokers are in the metadata, and none of our processes has ended.
    fn wait_for(&self, count: usize) {
        let client: BaseConsumer = self.client().create().expect("a valid configuration");
        wait::until(&format!("Kafka with {count} node(s)"), UP_WITHIN, || {
            for node in self.nodes().iter_mut() {
                node.assert_alive();
            }
            let metadata = client.fetch_metadata(None, Duration::from_secs(2)).map_err(|error| error.to_string())?;
            let seen = metadata.brokers().len();
            if seen == count { Ok(()) } else { Err(format!("{seen} node(s) are up")) }
        });
    }
}

// === impl OwnKafka ===

impl OwnKafka {
    /// Starts a node with more lines in its properties.
    pub fn start_with(properties: &str) -> OwnKafka {
        Self::of(KafkaCluster::start_with(1, properties))
    }

    pub(crate) fn of(cluster: KafkaCluster) -> OwnKafka {
        OwnKafka(Box::leak(Box::new(cluster)))
    }

    pub fn cluster(&self) -> &'static KafkaCluster {
        self.0
    }
}

impl Drop for OwnKafka {
    fn drop(&mut self) {
        self.0.nodes().clear();
    }
}

// === impl Ports ===

impl Ports {
    /// With the proxy, which listens from now on.
    fn with_proxy(faults: &Faults) -> Ports {
        let [broker, controller, proxy, proxied] = [(); 4].map(|()| free_port());
        let listener = TcpListener::bind(("127.0.0.1", proxy)).expect("the port is free");
        proxy::start(listener, SocketAddr::from(([127, 0, 0, 1], proxied)), faults.clone());
        Ports { broker, controller, proxy, proxied }
    }
}

/// Beside the listener of `server.properties` one that advertises the proxy, and others. (The last of a name counts.)
fn listeners_of(ports: &Ports, others: &[Listener]) -> String {
    let Ports { broker, controller, proxy, proxied } = ports;
    let local = |name: &str, port: &u16| format!("{name}://127.0.0.1:{port}");
    let [own, behind, before] = [("PLAINTEXT", broker), ("PROXIED", proxied), ("PROXIED", proxy)].map(|(n, p)| local(n, p));
    let more: String = others.iter().map(|other| format!(",{}", local(other.name, &other.port))).collect();
    let protocols: String = others.iter().map(|other| format!(",{}:{}", other.name, other.protocol)).collect();
    format!(
        "\nlisteners={own},{behind}{more},{}\nadvertised.listeners={own},{before}{more}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}\n",
        local("CONTROLLER", controller)
    )
}

// === impl Node ===

impl Node {
    /// Writes the node's properties and formats its storage.
    fn lay_out(&self, ports: &[Ports], more: &str, users: &[String]) {
        let replicas = ports.len().min(3);
        let voter = |(i, ports): (usize, &Ports)| format!("{}@127.0.0.1:{}", i + 1, ports.controller);
        let voters: Vec<String> = ports.iter().enumerate().map(voter).collect();
        let properties = include_str!("../../../tools/kafka/server.properties")
            .replace("@ID@", &self.id.to_string())
            .replace("@PORT@", &ports[self.id - 1].broker.to_string())
            .replace("@CONTROLLER_PORT@", &ports[self.id - 1].controller.to_string())
            .replace("@VOTERS@", &voters.join(","))
            .replace("@DATA@", self.dir.join("data").to_str().expect("the path is UTF-8"))
            .replace("@REPLICAS@", &replicas.to_string())
            .replace("@IN_SYNC@", &(replicas / 2 + 1).to_string());
        let properties = properties + more;
        fs::write(self.properties(), properties).expect("target is writable");
        let output = java(&jvm::SMALL)
            .arg("-Xmx256m")
            .args(["kafka.tools.StorageTool", "format", "-t", "sandbar-tests-kafka-00", "-c"])
            .arg(self.properties())
            .args(users.iter().flat_map(|user| ["--add-scram", user]))
            .output()
            .expect("java is on the PATH (tools/setup.sh kafka)");
        assert!(output.status.success(), "Kafka's storage: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn launch(&mut self) {
        assert!(self.process.is_none(), "node {} runs already", self.id);
        let mut command = java(&["-Xms256m", "-Xmx768m", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]);
        command.args(&self.options).arg("kafka.Kafka").arg(self.properties());
        self.process = Some(Process::start("kafka", command, &self.log()));
    }

    fn assert_alive(&mut self) {
        let ended = self.process.as_mut().and_then(Process::ended);
        assert!(ended.is_none(), "Kafka ended ({ended:?}):\n{}", dirs::tail(&self.log(), 40));
    }

    fn properties(&self) -> PathBuf {
        self.dir.join("server.properties")
    }

    fn log(&self) -> PathBuf {
        self.dir.join("log")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.process = None;
        dirs::discard(&self.dir);
    }
}
