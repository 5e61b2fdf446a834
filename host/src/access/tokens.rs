//! The tokens of the cluster: made and revoked by the one writer of their topic, each change together with its audit entry.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::token_record::{TokenIndex, TokenRecord, TokenRecords, tombstone};
use crate::audit::{Actor, AuditEntry, AuditLog};
use crate::catalog::{AttemptError, CatalogError, MaterializedTopic, compacted, ensure_topic, until_won};
use crate::model::access::{PrincipalKind, Scope};
use crate::model::names::{ClusterName, TokenId, TopicName};
use crate::model::units::Timestamp;
use crate::ports::{Log, LogError, LogRecord, NewTopic, PartitionWrite};

/// Longest wait for the topic to show all that was written.
const SEEN_TIMEOUT: Duration = Duration::from_secs(15);

/// A change of tokens that was not made.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("other hosts changed tokens each time that this one tried ({0})")]
    Contended(String),
    #[error("there is no token {0}")]
    Missing(TokenId),
    /// The token that asked for another one admits nobody any more.
    #[error("the token {0}, which asks for another one, was revoked or has expired")]
    AuthorEnded(String),
    #[error("{scope} has {count} tokens that have not expired (tokens_per_team_max); revoke one that nobody uses")]
    TooMany { scope: Scope, count: usize },
}

/// The tokens of a cluster, and the one writer of their topic.
pub struct Tokens {
    log: Arc<dyn Log>,
    topic: TopicName,
    transactional_id: String,
    audit: AuditLog,
    records: MaterializedTopic<TokenRecords>,
    turn: Mutex<()>,
}

/// The topic of the tokens.
pub fn control_topic(cluster: &ClusterName) -> NewTopic {
    compacted(cluster, "tokens", 1)
}

/// One change of the topic.
enum TokenChange<'a> {
    Create { token: &'a TokenRecord, of_scope_max: usize, author: &'a Actor },
    Revoke(&'a TokenId),
}

// === impl Tokens ===

impl Tokens {
    /// Creates the topic where it is missing, reads it and follows it from there on.
    pub fn open(log: Arc<dyn Log>, cluster: &ClusterName, audit: AuditLog) -> Result<Self, CatalogError> {
        let topic = ensure_topic(&*log, control_topic(cluster))?;
        let records = MaterializedTopic::start(log.clone(), topic.clone(), 0, TokenRecords::default())?;
        let transactional_id = format!("sandbar.{cluster}.tokens");
        Ok(Self { log, topic, transactional_id, audit, records, turn: Mutex::new(()) })
    }

    /// The reason why the tokens cannot be read now, if there is one: those that are known go on being valid.
    pub fn trouble(&self) -> Option<String> {
        self.records.trouble()
    }

    pub fn current(&self) -> Arc<TokenIndex> {
        self.records.current()
    }

    /// Makes a token. Blocks until this host knows it.
    pub fn create(&self, token: &TokenRecord, of_scope_max: usize, entry: &AuditEntry) -> Result<(), TokensError> {
        self.change(&TokenChange::Create { token, of_scope_max, author: &entry.actor }, entry)
    }

    /// Revokes a token. Blocks until this host has forgotten it; others follow within a second.
    pub fn revoke(&self, id: &TokenId, entry: &AuditEntry) -> Result<(), TokensError> {
        self.change(&TokenChange::Revoke(id), entry)
    }

    fn change(&self, change: &TokenChange<'_>, entry: &AuditEntry) -> Result<(), TokensError> {
        let _turn = self.turn.lock();
        let mut was_sent = false;
        until_won(TokensError::Contended, || match self.attempt(change, entry, &mut was_sent) {
            // An earlier attempt did it, whose end was not known.
            Err(AttemptError::Failed(TokensError::Missing(_))) if was_sent => Ok(()),
            ended => ended,
        })
    }

    /// Makes the change as the newest writer.
    fn attempt(
        &self,
        change: &TokenChange<'_>,
        entry: &AuditEntry,
        was_sent: &mut bool,
    ) -> Result<(), AttemptError<TokensError>> {
        let writer = self.log.exclusive(&self.transactional_id)?;
        let end_offset = writer.end_offset(&self.topic, 0)?;
        if !self.records.wait_for(end_offset, SEEN_TIMEOUT) {
            return Err(LogError::Unavailable(format!("{} cannot be read to its end", self.topic)).into());
        }
        let decided = change.decide(&self.records.current(), Timestamp::now());
        let records = decided.map_err(AttemptError::Failed)?;
        if records.is_empty() {
            return Ok(());
        }
        let own = PartitionWrite { topic: self.topic.clone(), partition: 0, records };
        *was_sent = true;
        writer.commit(&[own, self.audit.write(std::slice::from_ref(entry))])?;
        // It is there: if this host does not see it in time, it will soon.
        let _ = self.records.wait_until(SEEN_TIMEOUT, |all| match change {
            TokenChange::Create { token, .. } => all.by_id.contains_key(&token.id),
            TokenChange::Revoke(id) => !all.by_id.contains_key(*id),
        });
        Ok(())
    }
}

// === impl TokenChange ===

impl TokenChange<'_> {
    /// Decides the change on all that was written before. Without records it was made already.
    fn decide(&self, all: &TokenIndex, now: Timestamp) -> Result<Vec<LogRecord>, TokensError> {
        match self {
            Self::Create { token, .. } if all.by_id.contains_key(&token.id) => Ok(Vec::new()),
            Self::Create { token, of_scope_max, author } => {
                check_author(all, author, now)?;
                let mut records = make_room(all, &token.scope, *of_scope_max, now)?;
                records.push(token.encode(now));
                Ok(records)
            }
            Self::Revoke(id) if all.by_id.contains_key(*id) || all.unread.contains(*id) => Ok(vec![tombstone(id, now)]),
            Self::Revoke(id) => Err(TokensError::Missing((*id).clone())),
        }
    }
}

/// Refuses an author whose own token has ended since it sent the request: it leaves no other token behind.
fn check_author(all: &TokenIndex, author: &Actor, now: Timestamp) -> Result<(), TokensError> {
    if author.kind != PrincipalKind::Token {
        return Ok(());
    }
    let own = author.id.parse::<TokenId>().ok().and_then(|id| all.by_id.get(&id));
    match own {
        Some(own) if !own.is_expired(now) => Ok(()),
        _ => Err(TokensError::AuthorEnded(author.id.clone())),
    }
}

/// Removes the expired tokens of a scope that has as many as it may. Until then they are listed, so that their owners see
/// the reason of a refusal.
fn make_room(all: &TokenIndex, scope: &Scope, max: usize, now: Timestamp) -> Result<Vec<LogRecord>, TokensError> {
    let own: Vec<_> = all.by_id.values().filter(|other| other.scope == *scope).collect();
    if own.len() < max {
        return Ok(Vec::new());
    }
    let expired: Vec<_> = own.iter().filter(|other| other.is_expired(now)).collect();
    let count = own.len() - expired.len();
    if count >= max {
        return Err(TokensError::TooMany { scope: scope.clone(), count });
    }
    Ok(expired.iter().map(|other| tombstone(&other.id, now)).collect())
}

#[cfg(test)]
mod tests {
    use super::super::secret::TokenSecret;
    use super::*;
    use crate::catalog::Fold;
    use crate::model::access::Role;

    const NOW: Timestamp = Timestamp(1_000);

    fn token(id: &str, expires_at: i64) -> TokenRecord {
        TokenRecord {
            id: id.parse().expect("an id"),
            name: "ci".parse().expect("a name"),
            scope: Scope::Team("stock".parse().expect("a team")),
            roles: [Role::Admin].into(),
            hash: TokenSecret::generate().expect("randomness").hash(),
            created_at: Timestamp(1),
            created_by: "anna".to_owned(),
            expires_at: Timestamp(expires_at),
        }
    }

    fn index(tokens: &[TokenRecord]) -> Arc<TokenIndex> {
        let mut records = TokenRecords::default();
        tokens.iter().for_each(|token| records.apply(&token.encode(NOW)).expect("its own form"));
        records.snapshot()
    }

    #[test]
    fn a_token_that_has_ended_makes_no_other() {
        let all = index(&[token("valid", 2_000), token("expired", 1_000)]);
        let made = token("made", 2_000);
        for (kind, id, is_made) in [
            (PrincipalKind::Token, "valid", true),
            (PrincipalKind::Token, "expired", false),
            (PrincipalKind::Token, "revoked", false),
            (PrincipalKind::Token, "", false),
            // They are not tokens of the topic, and their ids may be any text.
            (PrincipalKind::AdminToken, "revoked", true),
            (PrincipalKind::Oidc, "https://issuer#anna", true),
            (PrincipalKind::Anyone, "", true),
        ] {
            let author = Actor { kind, id: id.to_owned(), ..Actor::anyone() };
            let create = TokenChange::Create { token: &made, of_scope_max: 10, author: &author };
            match create.decide(&all, NOW) {
                Ok(records) => assert!(is_made && records.len() == 1, "{kind:?} {id}"),
                Err(error) => assert!(!is_made && matches!(error, TokensError::AuthorEnded(_)), "{kind:?} {id}: {error}"),
            }
            // It was made before its author ended, by an attempt whose end was not known.
            let with_made = index(std::slice::from_ref(&made));
            assert_eq!(create.decide(&with_made, NOW).expect("made already"), Vec::new(), "{kind:?} {id}");
        }
    }
}
