//! The one table of error codes. Each code names a failure, and has a page under `docs/errors/`.
//!
//! E0xx: a request was refused. E1xx: a guest failed, or cannot be had. E2xx: the host, or the log or disk below it, failed.
//! A code is never reused for another failure, and every code has its page (a test checks both ways).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Heads the first section of every page.
const MEANING: &str = "## What happened\n";

/// One row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub code: Code,
    /// The code in answers, headers and logs: `E014`.
    pub text: &'static str,
    /// The HTTP status of an answer with this code.
    pub status: u16,
    pub title: &'static str,
    /// The remedy for the user.
    pub hint: &'static str,
    /// The code's page (Markdown), which the host serves.
    pub page: &'static str,
}

// === impl Entry ===

impl Entry {
    /// The meaning of the code: the first section of its page.
    pub fn meaning(&self) -> &'static str {
        let (_, rest) = self.page.split_once(MEANING).expect("a test finds it in every page");
        rest.split("\n## ").next().unwrap_or(rest).trim()
    }
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal, $title:literal, $hint:literal;)*) => {
        /// A kind of failure.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code { $($(#[$doc])* $name,)* }

        /// Every code, in ascending order.
        pub const TABLE: &[Entry] = &[
            $(Entry {
                code: Code::$name,
                text: $text,
                status: $status,
                title: $title,
                hint: $hint,
                page: include_str!(concat!("../../../docs/errors/", $text, ".md")),
            },)*
        ];
    };
}

codes! {
    BadName = "E001", 400, "A name in the URL is not valid",
        "use 1 to 63 of a-z, 0-9 and '-', with a letter or digit at both ends; topics follow Kafka's rule";
    NoRoute = "E002", 404, "There is no such route", "/openapi.json lists every route";
    Method = "E003", 405, "The route does not accept this method", "use a method of the Allow header";
    BodyTooLarge = "E004", 413, "The request's body is too large",
        "send less, or raise the limit that the message names";
    BodyCutOff = "E005", 400, "The request's body ended early",
        "send it again; if it returns, check the client and the proxies in between";
    ContentType = "E006", 415, "The route does not accept the body's content type", "set the Content-Type header";
    Malformed = "E007", 400, "The body cannot be read", "correct the named place; unknown fields are refused";
    Conflict = "E008", 409, "The transform is at another revision than the request expects",
        "GET the transform, compare, and repeat with If-Match set to its ETag";
    Internal = "E009", 500, "Sandbar failed: this is a bug", "report it with the request id and the host's log";
    NotWasm = "E010", 422, "The module is not WebAssembly", "send the .wasm file that the build wrote";
    CoreModule = "E011", 422, "The module is a core module, not a component",
        "build it with `sandbar build`, or wrap it with `wasm-tools component new`";
    WrongWorld = "E012", 422, "The module was built for another version of the Sandbar world",
        "rebuild it with the sandbar-sdk version that fits this host";
    MissingExport = "E013", 422, "The module lacks an export that a transform must have",
        "build it with sandbar-sdk and mark the function with #[transform]";
    ForbiddenImport = "E014", 422, "The module imports something that transforms may not use",
        "remove the dependency that needs it: a transform has no network, files, clock or randomness";
    ModuleTooLarge = "E015", 413, "The module is too large",
        "build it with optimisation and without debug information, or raise the limit that the message names";
    ModuleInvalid = "E016", 422, "The module is not valid WebAssembly",
        "rebuild it; `wasm-tools validate` shows the same error";
    CompileTime = "E017", 422, "The module takes too long to compile",
        "split its largest function, or build it with optimisation";
    CompileMemory = "E018", 422, "The module takes too much memory to compile",
        "split its largest function, or build it with optimisation";
    Init = "E019", 422, "The transform's init refused its configuration",
        "correct `config` in the spec as the message says, which is the module's own; if it fails with every config, correct the \
         module's init";
    Spec = "E020", 422, "The spec is not valid", "correct the listed fields";
    TopicMissing = "E021", 422, "A topic of the spec does not exist", "create the topic, or correct its name";
    ModuleMissing = "E022", 422, "The spec names a module that was never uploaded",
        "deploy it with its file (`sandbar deploy`); over HTTP: upload it first (POST /v1/modules), or send it with the spec as \
         multipart/form-data";
    NoTransform = "E023", 404, "There is no such transform", "`sandbar list` (GET /v1/transforms) lists all transforms";
    NoModule = "E024", 404, "There is no such module", "GET /v1/modules lists all modules";
    NoTopic = "E025", 404, "There is no such topic", "`sandbar topics list` shows all topics, with --brokers those of Kafka";
    TopicInternal = "E026", 403, "The topic is Sandbar's own",
        "read its content through the API's other routes, and use another topic for your records";
    Record = "E027", 400, "A record cannot be read", "correct the named record; docs/api.md shows the form";
    Query = "E028", 400, "A query parameter or header is not valid", "correct the named parameter or header";
    TopicDiffers = "E029", 409, "The topic exists with other settings",
        "use the topic as it is, or choose another name";
    Partition = "E030", 404, "The topic has no such partition", "`sandbar topics describe` shows the partitions";
    Multipart = "E031", 400, "The form is not as expected",
        "send one part `spec` (JSON or YAML) and one part `module` (the .wasm file)";
    Busy = "E032", 503, "The host has too many requests of this kind", "retry in a moment";
    NotRunning = "E033", 409, "The transform is not in a state that allows this", "look at the transform's status";
    NoRevision = "E034", 404, "There is no such revision", "`sandbar revisions` (GET .../revisions) lists the kept revisions";
    RevisionModule = "E035", 409, "The revision's module is no longer stored",
        "deploy the module again from its file (`sandbar deploy`), or upload it (POST /v1/modules) and repeat the rollback";
    KeyReused = "E036", 422, "The idempotency key was used for another request", "use a new key for each new request";
    Cycle = "E037", 422, "The transform would feed itself through others",
        "break the named path, or set allow_cycle: true if the cycle is intended";
    Contended = "E038", 503, "Other hosts kept changing the catalog", "nothing was changed: repeat the request";
    OffsetsInUse = "E040", 409, "The transform's offsets are in use",
        "pause it first: `sandbar pause` (POST .../pause); after an input was created again, wait for a moment";
    Offsets = "E041", 422, "The offsets are not valid",
        "correct the listed offsets; `sandbar offsets get` (GET .../offsets) shows the range of each partition";
    TrialLimit = "E042", 422, "The dry run went over its limits", "send fewer or smaller records";
    LogsTime = "E043", 503, "The search of the logs took too long",
        "ask for less with since=10m, or follow new lines only";
    ModuleStructure = "E044", 422, "The module's structure goes over a limit",
        "split the named part, or build the module with a tool that docs/modules.md lists";
    HostName = "E045", 421, "The request is meant for another host",
        "call the host by localhost, an IP address or the name of --advertise, or start it with --allowed-host NAME";
    ForeignOrigin = "E046", 403, "A web page of another origin sent the request",
        "web pages may not use the API; use the command line, curl or a page of this host";
    PageRequest = "E048", 403, "The request could have come from a web page",
        "add a header: curl -X POST -H 'sandbar-request: 1'; or an Idempotency-Key, an If-Match or a JSON body";
    CoPartition = "E050", 422, "Topics that share state have different numbers of partitions",
        "give them the same number, or re-key through a topic that has it; docs/guide.md shows how";
    TableTopic = "E051", 422, "The topic of a table is not compacted",
        "set cleanup.policy=compact on it, or use another topic";
    Changelog = "E052", 409, "A changelog topic does not match the spec",
        "docs/errors/E052.md has a remedy for each difference";
    NoStore = "E053", 404, "There is no such queryable store", "name a store of the spec that has queryable: true";
    NoEntry = "E054", 404, "The store has no such entry", "try another key; docs/api.md shows how a key is written";
    StateElsewhere = "E055", 503, "No host serves this partition of the state now",
        "it is being moved or restored: ask again in a moment";
    CompileCrash = "E056", 422, "The compiler crashed on the module",
        "build it again with another version of its language's tools, and report the module: no module should crash a compiler";
    InputsInUse = "E057", 409, "Inputs of a transform with stores can change only while no host runs it",
        "pause the transform, deploy the change, and resume it: sandbar pause TEAM/NAME";
    FieldUnsupported = "E058", 409, "Not every host of the cluster understands a field of the spec",
        "upgrade the named hosts, or leave the field out";
    OverCeiling = "E059", 422, "The team would grow above a ceiling",
        "delete or shrink a transform of the team, or have the named key raised in the file of teams: sandbar teams TEAM";
    UploadCeiling = "E060", 429, "The team has uploaded or created too much within a day",
        "wait until older ones count no more, use another host, or have the named key raised in the file of teams";
    TeamsFile = "E061", 500, "The file of teams is not valid", "correct the named place; docs/teams.md lists every key";
    LogFull = "E063", 422, "The log has no room for another topic or its partitions",
        "use fewer partitions, or a topic that is there; the message names the limit";
    TopicDenied = "E064", 403, "The team may not use a topic",
        "use another topic, or have the pattern added to the team's topics in the file of teams: docs/teams.md";
    TopicOwned = "E065", 403, "The topic belongs to a team that does not accept records of this one",
        "write into another topic, or ask the named team to add this one to its accepts_from in the file of teams";
    SecretMissing = "E066", 422, "A secret of the config is missing",
        "correct its name, or have the operator add it on every host: docs/secrets.md";
    SecretUnusable = "E067", 422, "A secret of the config cannot be used",
        "have the operator correct it on every host: docs/secrets.md";
    ClientRoles = "E068", 500, "The file of clients' roles is not valid",
        "correct the named place; docs/security.md shows the form of the file";
    Keyring = "E069", 500, "The system's keyring cannot be used",
        "unlock it, or keep the token in a file: sandbar login --store file";
    NoTls = "E070", 500, "The host would listen beyond this machine without TLS",
        "give it --tls-cert and --tls-key; or --insecure-no-tls, if a proxy speaks TLS and nobody can pass by it";
    NoSignIn = "E071", 500, "The host would listen beyond this machine without sign-in",
        "give it --auth required (docs/security.md), let it listen on 127.0.0.1, or give it --insecure-no-auth";
    TlsFiles = "E072", 500, "A certificate or key of TLS is not usable",
        "correct the named file; docs/security.md shows which files TLS needs";
    TlsConnection = "E073", 400, "No TLS connection could be made",
        "docs/errors/E073.md has a remedy for each reason";
    Unprotected = "E074", 400, "The request would leave the protection of TLS or of the cluster",
        "use the https URL of a host of the cluster";
    NotSignedIn = "E075", 401, "The caller is not recognised",
        "sign in: sandbar login, SANDBAR_TOKEN, or an Authorization header with a valid token";
    Forbidden = "E076", 403, "The caller's roles do not permit this",
        "`sandbar whoami` lists your roles; an admin of the team or the cluster can make a token with others";
    RequestRate = "E077", 429, "The caller sends too many requests",
        "send fewer; the Retry-After header has the seconds, and --requests-per-principal-max the limit";
    TokenRequest = "E078", 422, "The token cannot be made as it was asked for", "correct the listed fields";
    NoToken = "E079", 404, "There is no such token", "`sandbar token list` lists the tokens that you may see";
    AuditUnavailable = "E080", 503, "The audit topic cannot be written or read now",
        "nothing was changed: repeat the request; look at the brokers";
    AccessOptions = "E081", 500, "The host's options for sign-in are not valid",
        "correct the named option or file; docs/security.md describes them";
    OidcKeys = "E082", 503, "The keys of the identity provider are not known now",
        "look at the provider, and at the host's way to it; tokens that begin with sbr_ are taken meanwhile";
    OidcOptions = "E083", 500, "The host's options for the identity provider are not valid",
        "correct the named option or file; docs/security.md describes them";
    OidcLogin = "E084", 401, "The sign-in at the identity provider failed",
        "sign in again: sandbar login --oidc";
    RedactionRule = "E085", 500, "A rule of redaction is not valid",
        "correct the named place of the file of teams; docs/teams.md#redaction lists the keys and the form of paths";
    Redacted = "E086", 403, "The content is redacted for the caller",
        "ask for the role data in the named team, which owns the topic that the content comes from";
    Unsigned = "E087", 403, "The module is not signed",
        "sign it with a key of the team: sandbar sign MODULE --key FILE --team TEAM; sandbar deploy finds MODULE.sig";
    BadSignature = "E088", 403, "The module's signature does not count",
        "sign the module with a key that the file of teams has for the team: docs/errors/E088.md lists the reasons";
    SigningKey = "E089", 400, "A signing key is not usable",
        "make one with `sandbar sign key generate --out FILE`; docs/errors/E089.md lists the forms that are read";

    Folder = "E090", 400, "The folder cannot be used as it is",
        "correct the named files; docs/folder.md describes a folder";
    FolderTwice = "E091", 400, "Two specs of the folder have one name", "rename one of the two transforms, or remove its spec";
    OtherFolder = "E092", 409, "The transform belongs to another folder",
        "remove its spec here or there; --take-over moves it to this folder";
    ChangedMeanwhile = "E093", 409, "Somebody else changed a transform meanwhile",
        "look at the change (sandbar revisions, sandbar diff), then plan and apply again";
    AppliedInPart = "E094", 409, "The folder was applied in part",
        "correct the named cause and apply again: the transforms that are applied by now are left as they are";

    GuestFailed = "E101", 422, "The transform refused a record",
        "the message is the transform's own; correct the record or the transform";
    Trap = "E102", 422, "The transform trapped",
        "the message names the trap: a panic, an index out of bounds, a stack overflow";
    Timeout = "E103", 422, "The transform ran out of time", "look for an endless loop, or raise limits.batch_time";
    Memory = "E104", 422, "The transform ran out of memory",
        "look for data that it keeps between records, or raise limits.memory";
    OutputLimit = "E105", 422, "The output of a record is over its limit",
        "raise limits.output_per_record or limits.output_bytes_per_record, or write less output";
    Contract = "E106", 422, "The transform's output breaks the contract",
        "use sandbar-sdk, or correct the named columns";
    RecordTooLarge = "E107", 422, "An output record is too large for its topic",
        "raise the topic's max.message.bytes, or write smaller records";
    StateLimit = "E108", 422, "A store went over its limit",
        "raise state.NAME.max_bytes, give its entries a ttl, or keep less";
    RecordRefused = "E109", 422, "A record cannot be written as it is",
        "the message names the topic and its reason; docs/errors/E109.md lists the reasons";
    DeadLetterRefused = "E110", 502, "A topic refused a dead letter",
        "correct the dead-letter topic as the message says, then: sandbar resume TEAM/NAME";
    Registry = "E111", 502, "A module cannot be pulled from its registry",
        "docs/errors/E111.md has a remedy for each reason";
    BackupDamaged = "E112", 422, "A backup is damaged",
        "nothing was written: use another copy of the file, or an older backup";
    BackupUnfit = "E113", 422, "A backup is not for this program or this cluster",
        "restore it with a sandbar of the version that the message names, or into the cluster that it is of";
    RestoreNotEmpty = "E114", 409, "The cluster to restore has control records already",
        "nothing was written: restore into a cluster without them, or delete the named topic if you do not need its records";
    RestoreInUse = "E115", 409, "The cluster to restore is in use",
        "nothing was written: stop every host of the cluster, then restore again";

    LogUnavailable = "E201", 503, "The log (Kafka) cannot be reached now",
        "nothing is lost and the host retries; look at the brokers";
    LogRefused = "E202", 502, "The log (Kafka) refused an operation",
        "the message is the broker's; look at its log and settings";
    Fenced = "E203", 503, "Another owner took over",
        "nothing to do; if it continues, two hosts use the same --host name";
    Unauthorized = "E204", 502, "The host is not authorized in the log (Kafka)",
        "grant the named permission to the host's principal";
    ControlRecord = "E205", 500, "A record of a control topic cannot be read",
        "the host skipped it; find the program that writes to _sandbar topics";
    ModuleCorrupt = "E206", 500, "A module's stored bytes do not match its digest", "upload the module again";
    TopicGone = "E207", 503, "A topic of a running transform does not exist",
        "create the topic again, or change the spec";
    SpecRefused = "E208", 500, "This host cannot run a spec that was accepted before",
        "run hosts of one version, or correct the spec";
    HostResources = "E209", 503, "The host lacks the resources for another instance",
        "give it more memory, or add a host";
    ControlTopic = "E210", 502, "A control topic has the wrong settings",
        "recreate the topic as docs/errors/E210.md shows";
    ControlWrite = "E211", 503, "A change was sent, but its outcome is unknown",
        "GET the transform; if it lacks the change, repeat the request";
    LocalDisk = "E212", 500, "The host's data directory cannot be used",
        "check its free space and permissions; it is only a cache";
    Quarantined = "E213", 503, "The transform is quarantined on this host",
        "look at the host's log and the records at the committed offsets, then: sandbar resume TEAM/NAME";
    StateLost = "E220", 500, "A changelog topic has lost records of a store",
        "docs/errors/E220.md shows how to bring it back, or to go on without it";
    PartitionsChanged = "E221", 500, "An input's number of partitions changed under a transform with stores",
        "its keys are in other partitions now: docs/errors/E221.md shows how to move them";
    StateUnavailable = "E222", 503, "A store cannot be restored now",
        "nothing is lost and the host retries; look at the brokers and the disk";
    TableUnavailable = "E223", 503, "A table has not caught up with its topic",
        "wait; if it lasts, look at the topic and the message";
    OffsetForgotten = "E224", 409, "A partition's committed offset was forgotten",
        "pause the transform, set its position (sandbar offsets set, or reset), and resume it: docs/errors/E224.md";
    OffsetOutside = "E225", 409, "The committed offset is outside the partition",
        "pause the transform, set its position (sandbar offsets set), and resume it: docs/errors/E225.md";
    NewerFormat = "E226", 409, "A newer host wrote data that this host does not understand",
        "use a host of that version, and upgrade this one";
    OffsetUnreadable = "E227", 500, "The metadata of a committed offset is not valid",
        "pause the transform, set the partition's offset (sandbar offsets set), and resume it";
    CallStalled = "E228", 503, "A call did not get its CPU time before its transaction had to end",
        "nothing is lost and the host retries with fewer records; add a host, or raise the team's cpu_weight";
    OffsetUnsettled = "E229", 503, "A partition waits for a transaction that does not end",
        "nothing is lost and the host retries; if it lasts, abort the hanging transaction: docs/errors/E229.md";
    TeamDisk = "E231", 503, "The stores of a team are over their disk budget on a host",
        "raise --state-disk-per-team-max, keep less in the stores, or add a host";
    StateMemory = "E232", 503, "The memory stores of a host are over their budget",
        "raise --state-memory-max, use stores on disk, or add a host";
    JoinRefused = "E233", 502, "The consumer group refuses a worker",
        "the message is the broker's; docs/errors/E233.md lists the reasons";
    RecordsDamaged = "E234", 502, "Records of a partition cannot be read",
        "look at the broker's disk and its replicas; docs/errors/E234.md shows how to go on behind them";
    TableKeys = "E235", 422, "The topic of a table has one key in two spellings",
        "have the topic written anew by one converter: docs/errors/E235.md";
    SecretUnavailable = "E236", 503, "A host cannot give a transform its secrets",
        "add or correct the named secret on this host; the host tries again by itself";
    RestoreOffsets = "E237", 409, "Offsets cannot be taken over by a restore",
        "nothing was written: docs/errors/E237.md shows how to say where offsets come from";
    KafkaProperty = "E240", 500, "A Kafka property is Sandbar's own",
        "leave the property out; docs/errors/E240.md lists those that may not be set";
    KafkaCredentials = "E241", 502, "Properties or credentials for Kafka cannot be used",
        "mend the file that the message names; it is read again within seconds";
    ControlTopicOpen = "E242", 500, "Others than the hosts may write to a control topic",
        "give the right to the hosts' principal alone: docs/security.md has the ACLs";
    KafkaToken = "E243", 502, "There is no token to log in to Kafka with",
        "the message says who refused it, and the host tries again by itself; docs/errors/E243.md lists the reasons";
}

/// A failure of a part whose errors have no classes, with its code.
#[derive(Debug, thiserror::Error)]
#[error("{message} ({code})")]
pub struct Coded {
    pub code: Code,
    pub message: String,
}

impl Code {
    pub fn entry(self) -> &'static Entry {
        &TABLE[self as usize]
    }

    pub fn as_str(self) -> &'static str {
        self.entry().text
    }

    pub fn title(self) -> &'static str {
        self.entry().title
    }

    pub fn hint(self) -> &'static str {
        self.entry().hint
    }

    /// True if the failure may pass without an action here: the host retries until then.
    pub fn may_pass(self) -> bool {
        matches!(self, Self::LogUnavailable | Self::StateUnavailable | Self::TableUnavailable | Self::CallStalled)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Code {
    type Err = String;
    fn from_str(raw: &str) -> Result<Self, String> {
        TABLE.iter().find(|entry| entry.text == raw).map(|entry| entry.code).ok_or_else(|| format!("{raw:?} is not a code"))
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = String::deserialize(deserializer)?;
        raw.parse().map_err(|_| D::Error::unknown_variant(&raw, &[]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_each_code_finds_its_row() {
        assert!(TABLE.windows(2).all(|pair| pair[0].text < pair[1].text));
        for entry in TABLE {
            assert_eq!(entry.code.entry(), entry);
            assert_eq!(entry.text.parse(), Ok(entry.code));
        }
    }

    #[test]
    fn every_code_has_a_page_and_every_page_a_code() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/errors");
        let mut pages: Vec<String> = std::fs::read_dir(dir)
            .expect("docs/errors is there")
            .map(|file| file.expect("readable").file_name().to_string_lossy().trim_end_matches(".md").to_owned())
            .filter(|page| page != "README")
            .collect();
        pages.sort();
        let codes: Vec<&str> = TABLE.iter().map(|entry| entry.text).collect();
        assert_eq!(pages, codes);
        for entry in TABLE {
            let Entry { page, text, title, .. } = entry;
            assert!(page.starts_with(&format!("# {text}: {title}\n\n{MEANING}")), "{text}: the head differs");
            for part in ["## Why", "## What to do"] {
                assert!(page.contains(part), "{text} lacks {part:?}");
            }
            assert!(!entry.meaning().is_empty() && !entry.meaning().contains("\n#"), "{text}: {:?}", entry.meaning());
        }
    }
}
