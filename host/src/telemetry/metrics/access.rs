//! The metrics of sign-in.

use std::collections::BTreeMap;
use std::time::Duration;

use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::gauge_value;
use super::registrar::Registrar;

/// Callers that were not recognised, and the tokens of the cluster. Cloning shares them.
#[derive(Clone)]
pub struct AccessMetrics {
    sign_ins_failed: IntCounterVec,
    tokens: IntGaugeVec,
    oidc_keys: IntGauge,
    oidc_roles_refused: IntGauge,
    oidc_keys_age: Gauge,
    oidc_fetches_failed: IntCounter,
    client_roles: IntGauge,
    client_roles_refused: IntGauge,
}

impl AccessMetrics {
    pub(super) fn new(r: &Registrar) -> Self {
        let failed = "Requests whose caller was not recognised, by reason";
        let tokens = "Tokens that are not revoked, of each team; `-` stands for the cluster";
        let rules = "Rules of the file of clients' roles that are in use";
        let refused = "1 while the newest file of clients' roles is not used, because it is not valid";
        Self {
            sign_ins_failed: r.counters("sandbar_sign_in_failures_total", failed, &["reason"]),
            tokens: r.gauges("sandbar_tokens", tokens, &["team"]),
            oidc_roles_refused: r
                .gauge("sandbar_oidc_roles_file_refused", "1 while the newest file of --oidc-roles is not used"),
            oidc_keys: r.gauge("sandbar_oidc_keys", "Usable keys of the identity provider"),
            oidc_keys_age: r.float_gauge(
                "sandbar_oidc_keys_age_seconds",
                "Time since the keys of the identity provider were fetched; -1 before the first time",
            ),
            oidc_fetches_failed: r
                .counter("sandbar_oidc_fetch_failures_total", "Fetches of the identity provider's keys that failed"),
            client_roles: r.gauge("sandbar_client_role_rules", rules),
            client_roles_refused: r.gauge("sandbar_client_roles_file_refused", refused),
        }
    }

    pub fn sign_in_failed(&self, reason: &str) {
        self.sign_ins_failed.with_label_values(&[reason]).inc();
    }

    pub fn oidc_roles_refused(&self, is_refused: bool) {
        self.oidc_roles_refused.set(i64::from(is_refused));
    }

    pub fn oidc_fetch_failed(&self) {
        self.oidc_fetches_failed.inc();
    }

    /// Sets the number of keys of the identity provider, and the time since they were fetched, if they were.
    pub fn oidc_keys(&self, count: usize, age: Option<Duration>) {
        self.oidc_keys.set(gauge_value(count as u64));
        self.oidc_keys_age.set(age.map_or(-1.0, |age| age.as_secs_f64()));
    }

    /// Sets the number of rules for clients' certificates, and if a newer file is not used.
    pub fn client_roles(&self, rules: usize, is_refused: bool) {
        self.client_roles.set(gauge_value(rules as u64));
        self.client_roles_refused.set(i64::from(is_refused));
    }

    /// Sets the number of tokens of each team.
    pub fn tokens(&self, by_team: &BTreeMap<String, u64>) {
        self.tokens.reset();
        for (team, count) in by_team {
            self.tokens.with_label_values(&[team.as_str()]).set(gauge_value(*count));
        }
    }
}
