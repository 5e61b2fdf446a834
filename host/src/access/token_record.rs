//! Records of the tokens topic, and their fold.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::secret::TokenHash;
use crate::catalog::Fold;
use crate::model::access::{Grant, Principal, PrincipalKind, Role, Scope};
use crate::model::format::{Format, decode, encode};
use crate::model::names::{TeamName, TokenId, TokenName};
use crate::model::units::{Rfc3339, Timestamp};
use crate::ports::LogRecord;

/// A token without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    pub id: TokenId,
    pub name: TokenName,
    pub scope: Scope,
    pub roles: BTreeSet<Role>,
    pub hash: TokenHash,
    pub created_at: Timestamp,
    /// The name of the principal that made it.
    pub created_by: String,
    /// The first moment at which it admits nobody.
    pub expires_at: Timestamp,
}

/// The fold of the topic.
#[derive(Default)]
pub struct TokenRecords {
    all: Arc<TokenIndex>,
}

/// All tokens that are not revoked.
#[derive(Debug, Clone, Default)]
pub struct TokenIndex {
    pub by_id: BTreeMap<TokenId, Arc<TokenRecord>>,
    by_hash: HashMap<TokenHash, TokenId>,
    /// Tokens of newer hosts, which this one does not understand. They admit nobody here.
    pub unread: BTreeSet<TokenId>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonForm {
    id: TokenId,
    name: TokenName,
    /// None: the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    team: Option<TeamName>,
    roles: BTreeSet<Role>,
    hash: String,
    created_at: Rfc3339,
    created_by: String,
    expires_at: Rfc3339,
    #[serde(default, skip_serializing)]
    #[expect(dead_code, reason = "read before, by `decode`")]
    version: Option<u32>,
}

// === impl TokenRecord ===

impl TokenRecord {
    pub fn is_expired(&self, now: Timestamp) -> bool {
        now >= self.expires_at
    }

    /// The caller that shows this token.
    pub fn principal(&self) -> Principal {
        let grants = self.roles.iter().map(|role| Grant { scope: self.scope.clone(), role: *role }).collect();
        let name = self.name.to_string();
        Principal { kind: PrincipalKind::Token, id: self.id.to_string(), name, grants, login: None }
    }

    /// The record on the topic.
    pub fn encode(&self, now: Timestamp) -> LogRecord {
        let form = JsonForm {
            id: self.id.clone(),
            name: self.name.clone(),
            team: self.scope.team().cloned(),
            roles: self.roles.clone(),
            hash: self.hash.to_string(),
            created_at: Rfc3339(self.created_at),
            created_by: self.created_by.clone(),
            expires_at: Rfc3339(self.expires_at),
            version: None,
        };
        LogRecord { value: Some(encode(Format::Token, &form)), ..tombstone(&self.id, now) }
    }

    fn decode(json: &[u8]) -> Result<Self, String> {
        let form: JsonForm = decode(Format::Token, json).map_err(|error| error.to_string())?;
        Ok(Self {
            hash: form.hash.parse().map_err(|why| format!("its hash is not valid: {why}"))?,
            id: form.id,
            name: form.name,
            scope: form.team.into(),
            roles: form.roles,
            created_at: form.created_at.0,
            created_by: form.created_by,
            expires_at: form.expires_at.0,
        })
    }
}

/// The record that revokes a token.
pub fn tombstone(id: &TokenId, now: Timestamp) -> LogRecord {
    let key = Some(id.as_str().as_bytes().to_vec());
    LogRecord { offset: 0, timestamp: now.0, key, value: None, headers: Vec::new() }
}

// === impl TokenIndex ===

impl TokenIndex {
    pub fn by_hash(&self, hash: &TokenHash) -> Option<&Arc<TokenRecord>> {
        self.by_id.get(self.by_hash.get(hash)?)
    }

    /// The number of tokens of each team; `-` stands for the cluster.
    pub fn by_team(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for token in self.by_id.values() {
            let team = token.scope.team().map_or("-", |team| team.as_str());
            *counts.entry(team.to_owned()).or_default() += 1;
        }
        counts
    }

    fn remove(&mut self, id: &TokenId) {
        self.unread.remove(id);
        if let Some(token) = self.by_id.remove(id) {
            self.by_hash.retain(|hash, own| *hash != token.hash || own != id);
        }
    }
}

// === impl TokenRecords ===

impl Fold for TokenRecords {
    type Snapshot = Arc<TokenIndex>;

    fn apply(&mut self, record: &LogRecord) -> Result<(), String> {
        let key = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok()).ok_or("its key is not text")?;
        let id: TokenId = key.parse().map_err(|error| format!("{error}"))?;
        let all = Arc::make_mut(&mut self.all);
        all.remove(&id);
        let Some(value) = record.value.as_deref() else { return Ok(()) };
        let read = TokenRecord::decode(value)
            .and_then(|token| if token.id == id { Ok(token) } else { Err("its id differs from its key".to_owned()) });
        match read {
            Ok(token) => {
                all.by_hash.insert(token.hash, id.clone());
                all.by_id.insert(id, Arc::new(token));
                Ok(())
            }
            Err(reason) => {
                all.unread.insert(id);
                Err(format!("a token that admits nobody here: {reason}"))
            }
        }
    }

    fn snapshot(&self) -> Self::Snapshot {
        self.all.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::super::secret::TokenSecret;
    use super::*;

    fn token(id: &str, secret: &TokenSecret) -> TokenRecord {
        TokenRecord {
            id: id.parse().expect("an id"),
            name: "ci".parse().expect("a name"),
            scope: Scope::Team("stock".parse().expect("a team")),
            roles: [Role::Deploy, Role::Data].into(),
            hash: secret.hash(),
            created_at: Timestamp(1_000),
            created_by: "anna".to_owned(),
            expires_at: Timestamp(5_000),
        }
    }

    fn value(record: &LogRecord) -> String {
        String::from_utf8(record.value.clone().expect("a value")).expect("JSON")
    }

    #[test]
    fn a_token_is_found_by_its_secret_until_it_is_revoked() {
        let secret = TokenSecret::generate().expect("randomness");
        let made = token("t1", &secret);
        let mut records = TokenRecords::default();
        records.apply(&made.encode(Timestamp(1))).expect("its own form");
        let found = records.snapshot().by_hash(&secret.hash()).cloned();
        assert_eq!(found.as_deref(), Some(&made));
        let grants: Vec<String> = made.principal().grants.iter().map(ToString::to_string).collect();
        assert_eq!(grants, ["stock:data", "stock:deploy"]);
        assert!(!value(&made.encode(Timestamp(1))).contains(secret.expose()));
        assert!(!made.is_expired(Timestamp(4_999)) && made.is_expired(Timestamp(5_000)));
        records.apply(&tombstone(&made.id, Timestamp(2))).expect("a tombstone");
        assert!(records.snapshot().by_hash(&secret.hash()).is_none() && records.snapshot().by_id.is_empty());
    }

    /// Applies a changed record over a valid one: nobody is admitted by either.
    #[track_caller]
    fn check_unread(change: impl FnOnce(String) -> String) {
        let secret = TokenSecret::generate().expect("randomness");
        let record = token("t1", &secret).encode(Timestamp(1));
        let mut records = TokenRecords::default();
        records.apply(&record).expect("its own form");
        let changed = change(value(&record));
        records.apply(&LogRecord { value: Some(changed.clone().into_bytes()), ..record }).expect_err(&changed);
        let all = records.snapshot();
        assert!(all.by_id.is_empty() && all.by_hash(&secret.hash()).is_none() && all.unread.len() == 1, "{changed}");
    }

    #[test]
    fn a_record_that_is_not_understood_admits_nobody() {
        check_unread(|_| String::new());
        check_unread(|_| "[]".to_owned());
        check_unread(|json| json.replace("\"version\":1", "\"version\":2"));
        check_unread(|json| json.replace("\"id\":\"t1\"", "\"id\":\"t2\""));
        check_unread(|json| json.replace("\"deploy\"", "\"emperor\""));
        check_unread(|json| json.replace("sha256:", "sha512:"));
        check_unread(|json| json.replace("\"team\":\"stock\"", "\"team\":\"\""));
        check_unread(|json| json.replace("\"team\":", "\"only_from\":\"10.0.0.1\",\"team\":"));
        check_unread(|json| json.replace("\"team\":", "\"teem\":"));
    }
}
