//! Gathers the facts of a deployment, has them checked, and carries the deployment out.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::catalog::{Assumption, Catalog, CatalogError, Change, ChangeResult, Growth, Request};
use crate::model::codes::Code;
use crate::model::module::{ModuleError, ModuleInfo};
use crate::model::names::{ClusterName, Digest, TeamName, TopicName, TransformId};
use crate::model::revision::{COUNT_MAX, Deployment, Desired, Progress};
use crate::model::signature::Envelope;
use crate::model::signing_key::KeyId;
use crate::model::spec::{RawSpec, Spec, Start};
use crate::model::status::HostStatus;
use crate::model::team::Ceiling;
use crate::model::units::Timestamp;
use crate::ports::{GuestFactory, Log, LogError};
use crate::teams::{Reservation, Teams};

use super::candidate::Candidate;
use super::error::DeployError;
use super::facts::{Facts, ModuleFacts, OffsetRanges, changes_store_inputs};
use super::rejection::{Rejection, Violation};
use super::rules::{self, Plan};
use super::signature::{AcceptedModule, accept};
use super::topic_facts::TopicFacts;
use super::topic_use::check_rights;
use super::upload::Upload;

/// Time between two looks at a group whose members leave: each is a request to the brokers, and a person waits.
const LEAVE_POLL: Duration = Duration::from_millis(100);

/// Checks modules, and makes guests of them. Every method blocks, up to the limits of the compiler.
pub trait ModuleChecker: Send + Sync {
    /// Compiles the module, in a turn of the team, and checks it against the world; the result is kept by digest. All callers
    /// without a team are those of one more.
    fn check(&self, team: Option<&TeamName>, bytes: &[u8]) -> Result<ModuleInfo, ModuleError>;

    /// Makes an instance and runs its `init` with the spec's config.
    fn try_init(&self, spec: &Spec, bytes: &[u8]) -> Result<(), ModuleError>;

    /// Prepares instances with the spec's config and limits, for a dry run.
    fn prepare(&self, spec: &Spec, bytes: &[u8]) -> Result<Box<dyn GuestFactory>, ModuleError>;
}

/// Checks and carries out deployments. It borrows the services of one request.
pub struct Deployer<'a> {
    /// The log with the rights of the team.
    pub log: Arc<dyn Log>,
    pub catalog: &'a Catalog,
    pub modules: &'a dyn ModuleChecker,
    pub cluster: &'a ClusterName,
    /// The hosts that are alive.
    pub hosts: Vec<HostStatus>,
    /// Largest uploaded module.
    pub module_bytes_max: usize,
    /// Longest wait for the members of a group to leave it.
    pub leave_time: Duration,
    pub teams: &'a Teams,
    /// The memory for the hot entries of one partition of a store on disk.
    pub hot_bytes_max: u64,
}

/// An accepted deployment, or one that a dry run found acceptable.
#[derive(Debug)]
pub struct DeployResult {
    pub change: ChangeResult,
    pub created_topics: Vec<TopicName>,
    pub warnings: Vec<String>,
    /// The key that the module's signature was verified with.
    pub signed_by: Option<KeyId>,
}

/// A candidate that can run, with all that a dry run over records needs.
pub struct CheckedCandidate<'a> {
    pub spec: Spec,
    pub module: Cow<'a, [u8]>,
    /// The largest record of each topic that would be written.
    pub record_bytes_max: Vec<usize>,
}

/// The part of a candidate's module that is run to check it.
#[derive(Debug, Clone, Copy)]
enum Trial {
    /// No instance is made.
    None,
    /// One instance is made, and its `init` runs.
    Init,
}

// === impl Deployer ===

impl Deployer<'_> {
    /// Deploys the candidate: creates topics, stores the module, and makes the change.
    pub fn deploy(&self, candidate: &Candidate<'_>, request: Request) -> Result<DeployResult, DeployError> {
        let (request, plan) = self.plan(candidate, request)?;
        let signed_by = request.signature.as_ref().and_then(|signature| signature.key.clone());
        let id = &candidate.spec.id;
        self.catalog.check_change(id, &request)?;
        let upload = candidate.upload.map(|module| self.upload(candidate, module)).transpose()?;
        let topics = self.reserve_topics(id, &plan)?;
        for topic in &plan.new_topics {
            if let Err(error) = self.log.create_topic(topic) {
                // Those before it are there, and this one may be.
                topics.keep(true);
                return Err(error.into());
            }
        }
        topics.keep(true);
        if let Some(upload) = upload {
            upload.store(self.catalog)?;
        }
        let result = match (self.catalog.change(id, request.clone()), candidate.upload) {
            // Collected between the two: nobody had used it for long.
            (Err(CatalogError::NoModule(_)), Some(module)) => {
                self.catalog.put_module_for(module, Some(&id.team))?;
                self.catalog.change(id, request)?
            }
            (result, _) => result?,
        };
        Ok(plan.result(result, signed_by))
    }

    /// Checks everything that [`Self::deploy`] does, and writes nothing.
    pub fn dry_run(&self, candidate: &Candidate<'_>, request: Request) -> Result<DeployResult, DeployError> {
        let (request, plan) = self.plan(candidate, request)?;
        if let Some(module) = candidate.upload {
            // It ends here, and counts no more.
            drop(self.upload(candidate, module)?);
        }
        drop(self.reserve_topics(&candidate.spec.id, &plan)?);
        let change = self.catalog.try_change(&candidate.spec.id, &request)?;
        Ok(plan.result(change, request.signature.and_then(|signature| signature.key)))
    }

    /// Deploys the content of an earlier revision like any other: its topics or its module may be gone by now. No other
    /// revision is written than the one that was checked: a deployment meanwhile would make it another one by default.
    pub fn rollback(&self, id: &TransformId, to: Option<u64>, request: Request) -> Result<ChangeResult, DeployError> {
        debug_assert_eq!(request.change, Change::Rollback { to });
        if let Some(earlier) = self.catalog.earlier_result(id, &request)? {
            return Ok(earlier);
        }
        self.catalog.refresh()?;
        let target = self.catalog.rollback_target(id, to)?;
        if !self.catalog.has_module(&target.module) {
            return Err(CatalogError::ModuleGone { revision: target.revision, module: target.module }.into());
        }
        let candidate = Candidate::parse(id, target.spec.clone(), None)?;
        let candidate = Candidate { earlier_signature: target.signature.clone(), ..candidate };
        let request = Request { assumes: Some(Assumption::Target(target.revision)), ..request };
        Ok(self.deploy(&candidate, request)?.change)
    }

    /// Completes and checks a candidate for a dry run over records. Its topics need not exist.
    pub fn check_candidate<'c>(
        &self,
        id: &TransformId,
        spec: Option<RawSpec>,
        upload: Option<&'c [u8]>,
        signature: Option<Envelope>,
    ) -> Result<CheckedCandidate<'c>, DeployError> {
        let candidate = Candidate::complete(self.catalog, id, spec, upload)?.signed(signature);
        check_rights(&candidate.spec, &self.teams.topic_rights())?;
        self.accept_candidate(&candidate)?;
        self.check_memory(&candidate.spec)?;
        let Candidate { spec, upload, .. } = candidate;
        let module = self.module(&spec, upload)?;
        let facts = self.module_facts(&spec, upload, module.as_deref(), Trial::Init);
        let violation = rules::check_module(&spec.module, &facts).or_else(|| rules::check_init(&facts));
        if let Some(violation) = violation {
            return Err(violation.into());
        }
        let topics = TopicFacts::gather_written(&*self.log, &spec)?;
        let module = module.expect("a missing module is a violation");
        Ok(CheckedCandidate { record_bytes_max: topics.record_bytes_max(&spec), spec, module })
    }

    /// Refuses a candidate of which one instance alone may need more memory than the team may have in all, before one is
    /// made. As in the catalog, a team above its ceiling keeps the use that it has. So the catalog refuses each deployment
    /// that is refused here: a transform needs the memory of an instance for every partition.
    fn check_memory(&self, spec: &Spec) -> Result<(), Violation> {
        let ceiling = Ceiling::Memory;
        let team = &spec.id.team;
        let wanted = spec.limits.memory.0;
        let most = self.teams.limits(team).ceiling(ceiling);
        if wanted <= most || wanted <= self.catalog.team_use(team, self.hot_bytes_max).memory_bytes {
            return Ok(());
        }
        let [wanted, most] = [wanted, most].map(|amount| ceiling.unit().show(amount));
        let all = format!("all transforms of team {team} may have {most} together ({})", ceiling.key());
        Err(Violation::of_field(Code::OverCeiling, "limits.memory", format!("an instance may need {wanted}, but {all}")))
    }

    /// Refuses a module that the team may not deploy, before any part of it is compiled or run.
    fn accept_candidate(&self, candidate: &Candidate<'_>) -> Result<AcceptedModule, Violation> {
        let Candidate { spec, signature, earlier_signature, .. } = candidate;
        let live = self.catalog.deployment(&spec.id).filter(|live| live.module == spec.module);
        let own = earlier_signature.clone().or_else(|| live?.signature);
        self.accept(&spec.id.team, &spec.module, signature.as_ref(), own.as_ref())
    }

    /// Refuses a module that the team may not deploy with the signature that was sent, or else with one that is known:
    /// `own` is that of the transform.
    pub fn accept(
        &self,
        team: &TeamName,
        module: &Digest,
        signature: Option<&Envelope>,
        own: Option<&Envelope>,
    ) -> Result<AcceptedModule, Violation> {
        let known = self.catalog.signatures(team, module);
        accept(team, module, &self.teams.signing_rule(team), signature, own, &known)
    }

    /// Counts the topics that the deployment creates, by their partitions: these are what the brokers pay for, and each topic
    /// has one at least. Topics are created before the catalog decides, since an accepted revision without its topics could
    /// not start; so they count for good as soon as they may be there, whatever the catalog says then.
    fn reserve_topics(&self, id: &TransformId, plan: &Plan) -> Result<Reservation, Violation> {
        let partitions: u64 = plan.new_topics.iter().map(|topic| u64::try_from(topic.partitions).unwrap_or(0)).sum();
        let reserved = self.teams.reserve_partitions(&id.team, partitions, Instant::now());
        reserved.map_err(|excess| Violation::of_transform(Code::UploadCeiling, excess.to_string()))
    }

    fn upload<'m>(&self, candidate: &Candidate<'_>, module: &'m [u8]) -> Result<Upload<'m>, DeployError> {
        let spec = &candidate.spec;
        Upload::reserve(self.catalog, self.teams, Some(&spec.id.team), &spec.module, module)
    }

    /// Gathers the facts and checks the rules. If members of the group are all that is in the way, it waits for them.
    /// Returns the request with everything that the catalog decides it on.
    fn plan(&self, candidate: &Candidate<'_>, request: Request) -> Result<(Request, Plan), DeployError> {
        let AcceptedModule { signature, warning } = self.accept_candidate(candidate)?;
        let over_memory = self.check_memory(&candidate.spec).err();
        let trial = if over_memory.is_some() { Trial::None } else { Trial::Init };
        let mut facts = self.gather(candidate, trial)?;
        let mut checked = rules::check(candidate, &facts, request.now);
        let is_single = checked.as_ref().is_err_and(|rejection| rejection.others.is_empty());
        if is_single && facts.waits_for_group(&candidate.spec) {
            facts.group_members = wait_until_empty(&*self.log, &facts.group, self.leave_time)?;
            checked = rules::check(candidate, &facts, request.now);
        }
        let growth = Growth {
            limits: self.teams.limits(&candidate.spec.id.team),
            partitions: facts.topics.partitions(),
            module_bytes: candidate.upload.map_or(0, |module| module.len() as u64),
            hot_bytes_max: self.hot_bytes_max,
        };
        // The catalog knows the topics and the modules of all teams: it is not asked about those that the team may not use.
        let may_ask = facts.module != ModuleFacts::Missing && check_rights(&candidate.spec, &facts.rights).is_ok();
        let request = Request { committed: facts.committed, growth: Some(growth), signature, ..request };
        match (checked, over_memory) {
            (Ok(plan), None) => Ok((request, plan.with_warning(warning))),
            (Ok(_), Some(violation)) => {
                // The catalog names the team's other ceilings as well.
                self.catalog.check_change(&candidate.spec.id, &request)?;
                Err(violation.into())
            }
            (Err(rejection), _) if may_ask => Err(self.with_change_refusal(rejection, candidate, &request).into()),
            (Err(rejection), _) => Err(rejection.into()),
        }
    }

    /// Adds the rule on other deployments that the change would break as well.
    fn with_change_refusal(&self, rejection: Rejection, candidate: &Candidate<'_>, request: &Request) -> Rejection {
        let Rejection { first, mut others } = rejection;
        let refusal = self.catalog.try_change(&candidate.spec.id, request).err().filter(|error| {
            let code = error.code();
            code.entry().status < 500 && code != Code::InputsInUse
        });
        others.extend(refusal.and_then(|error| match error {
            CatalogError::OverCeiling(problems) => Violation::of_fields(Code::OverCeiling, problems),
            error => Some(Violation::of_transform(error.code(), error.to_string())),
        }));
        Rejection { first, others }
    }

    fn gather(&self, candidate: &Candidate<'_>, trial: Trial) -> Result<Facts, DeployError> {
        let Candidate { spec, upload, .. } = candidate;
        let module = self.module(spec, *upload)?;
        let module = self.module_facts(spec, *upload, module.as_deref(), trial);
        self.catalog.see_changes()?;
        let known = self.catalog.known(&spec.id);
        let live = known.as_ref().filter(|known| known.desired != Desired::Deleted);
        // A transform that was deleted keeps the number of its resets.
        let changelogs = spec.changelogs(self.cluster, known.as_ref().map_or(0, |known| known.asked.resets));
        let rights = self.teams.topic_rights();
        // A log that fails would tell of a denied topic as well.
        let topics = if check_rights(spec, &rights).is_ok() {
            TopicFacts::gather(&*self.log, spec, changelogs)?.with_tables(&*self.log, spec)?
        } else {
            TopicFacts::default()
        };
        let start_ranges = if live.is_none() { self.start_ranges(spec, &topics)? } else { OffsetRanges::new() };
        let group = spec.group(self.cluster);
        let is_asked = changes_store_inputs(spec, known.as_ref());
        let group_members = if is_asked { self.log.group_members(&group)? } else { 0 };
        let committed = self.committed(live, &group, topics.inputs.keys().cloned().collect())?;
        let hosts = self.hosts.clone();
        Ok(Facts { hosts, module, rights, topics, start_ranges, known, group, group_members, committed })
    }

    /// The module that came along, or the stored one that the spec names, if it is one of the team.
    fn module<'c>(&self, spec: &Spec, upload: Option<&'c [u8]>) -> Result<Option<Cow<'c, [u8]>>, CatalogError> {
        match upload {
            Some(upload) => Ok(Some(Cow::Borrowed(upload))),
            None => Ok(self.catalog.module_of(&spec.id.team, &spec.module)?.map(Cow::Owned)),
        }
    }

    fn module_facts(&self, spec: &Spec, upload: Option<&[u8]>, module: Option<&[u8]>, trial: Trial) -> ModuleFacts {
        let Some(module) = module else { return ModuleFacts::Missing };
        let bytes_max = self.module_bytes_max as u64;
        if let Some(upload) = upload.filter(|upload| upload.len() as u64 > bytes_max) {
            return ModuleFacts::Refused(ModuleError::TooLarge { bytes: upload.len() as u64, bytes_max });
        }
        match self.modules.check(Some(&spec.id.team), module) {
            Err(error) => ModuleFacts::Refused(error),
            Ok(_) => match trial {
                Trial::None => ModuleFacts::Untried,
                Trial::Init => ModuleFacts::Sound { init: self.modules.try_init(spec, module) },
            },
        }
    }

    /// First and end offset of each existing partition that `start` names.
    fn start_ranges(&self, spec: &Spec, topics: &TopicFacts) -> Result<OffsetRanges, LogError> {
        let mut ranges = OffsetRanges::new();
        // Offsets mean the same at any time.
        let Start::Offsets(offsets) = spec.start.resolve(Timestamp(0)) else { return Ok(ranges) };
        for (topic, of_topic) in offsets {
            if !topics.inputs.contains_key(&topic) {
                continue;
            }
            let bounds = (0..).zip(self.log.bounds(&topic)?);
            let named = bounds.filter(|(partition, _)| of_topic.contains_key(partition));
            ranges.extend(named.map(|(partition, range)| ((topic.clone(), partition), range)));
        }
        Ok(ranges)
    }

    /// The progress that the group committed, where the catalog may have forgotten the transform: its topic may be lost.
    fn committed(&self, live: Option<&Deployment>, group: &str, inputs: Vec<TopicName>) -> Result<Progress, LogError> {
        if live.is_some_and(|live| live.revision < COUNT_MAX) {
            return Ok(Progress::default());
        }
        let committed = self.log.group_offsets(group, &inputs)?;
        Ok(Progress::newest(committed.iter().map(|offset| offset.metadata.as_str())))
    }
}

impl Plan {
    fn with_warning(mut self, warning: Option<String>) -> Self {
        self.warnings.extend(warning);
        self
    }

    fn result(self, change: ChangeResult, signed_by: Option<KeyId>) -> DeployResult {
        let created_topics = self.new_topics.into_iter().map(|topic| topic.name).collect();
        DeployResult { change, created_topics, warnings: self.warnings, signed_by }
    }
}

/// Waits at most `leave_time` for the members of a group to leave it, as hosts do that see a pause. Returns the number of
/// members that are left.
pub fn wait_until_empty(log: &dyn Log, group: &str, leave_time: Duration) -> Result<usize, LogError> {
    let deadline = Instant::now() + leave_time;
    loop {
        let members = log.group_members(group)?;
        if members == 0 || Instant::now() >= deadline {
            return Ok(members);
        }
        std::thread::sleep(LEAVE_POLL);
    }
}
