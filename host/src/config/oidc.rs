//! The options of the identity provider, completed and checked.

use std::time::Duration;

use super::error::OptionError;
use super::{Flags, duration};
use crate::access::OidcOptions;
use crate::model::codes::Code;
use crate::oidc::{Algorithm, ClaimRules};

const SCOPES: &str = "openid profile email offline_access";
const GROUPS_CLAIM: &str = "groups";
const CLOCK_SKEW: Duration = Duration::from_secs(60);
const TOKEN_LIFETIME_MAX: Duration = Duration::from_secs(24 * 3600);
const REFRESH_INTERVAL: Duration = Duration::from_secs(300);
const REFETCH_INTERVAL: Duration = Duration::from_secs(30);
const KEYS_AGE_MAX: Duration = Duration::from_secs(12 * 3600);
/// A provider is not asked more often.
const INTERVAL_LEAST: Duration = Duration::from_secs(1);
/// A larger difference is a wrong clock, and not a skew.
const CLOCK_SKEW_MOST: Duration = Duration::from_secs(600);

/// The options, if there is an issuer.
pub(super) fn options(flags: &Flags) -> Result<Option<OidcOptions>, OptionError> {
    let text = |flag: &Option<String>| flag.clone().filter(|text| !text.trim().is_empty());
    let Some(issuer) = text(&flags.oidc_issuer) else {
        return match text(&flags.oidc_audience) {
            Some(_) => Err(refused("--oidc-audience needs --oidc-issuer URL")),
            None => Ok(None),
        };
    };
    let issuer = issuer.parse().map_err(|why| refused(&format!("--oidc-issuer {issuer:?} {why}")))?;
    let audience = text(&flags.oidc_audience).ok_or_else(|| refused("--oidc-issuer needs --oidc-audience NAME"))?;
    let roles_file = flags.oidc_roles.clone().ok_or_else(|| refused("--oidc-issuer needs --oidc-roles FILE"))?;
    let rules = ClaimRules {
        issuer,
        audience,
        client_id: text(&flags.oidc_client_id),
        groups: text(&flags.oidc_groups_claim).unwrap_or_else(|| GROUPS_CLAIM.to_owned()),
        name: text(&flags.oidc_name_claim),
        clock_skew: duration(flags.oidc_clock_skew, CLOCK_SKEW).min(CLOCK_SKEW_MOST),
        lifetime_max: duration(flags.oidc_token_lifetime_max, TOKEN_LIFETIME_MAX),
    };
    let refresh_interval = duration(flags.oidc_refresh_interval, REFRESH_INTERVAL).max(INTERVAL_LEAST);
    let keys_age_max = duration(flags.oidc_keys_age_max, KEYS_AGE_MAX);
    // The keys would not count for a part of each interval.
    if keys_age_max < refresh_interval.saturating_mul(2) {
        return Err(refused("--oidc-keys-age-max must be at least twice --oidc-refresh-interval"));
    }
    Ok(Some(OidcOptions {
        rules,
        algorithms: algorithms(&flags.oidc_algorithms)?,
        roles_file: Some(roles_file),
        ca: flags.oidc_ca.clone(),
        scopes: text(&flags.oidc_scopes).unwrap_or_else(|| SCOPES.to_owned()),
        resource: text(&flags.oidc_resource),
        refresh_interval,
        refetch_interval: duration(flags.oidc_refetch_interval, REFETCH_INTERVAL).max(INTERVAL_LEAST),
        keys_age_max,
    }))
}

fn algorithms(names: &[String]) -> Result<Vec<Algorithm>, OptionError> {
    let given = names.iter().map(|name| name.trim()).filter(|name| !name.is_empty());
    let parsed = given.map(|name| name.parse().map_err(|why| refused(&format!("--oidc-algorithms {why}"))));
    let parsed = parsed.collect::<Result<Vec<_>, _>>()?;
    if parsed.is_empty() { Ok(vec![Algorithm::Rs256, Algorithm::Es256]) } else { Ok(parsed) }
}

fn refused(why: &str) -> OptionError {
    OptionError { code: Some(Code::OidcOptions), message: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> Flags {
        Flags {
            oidc_issuer: Some("https://login.example".into()),
            oidc_audience: Some("sandbar".into()),
            oidc_roles: Some("roles.yaml".into()),
            ..Flags::default()
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Flags), refused: Option<&str>) {
        let mut flags = flags();
        change(&mut flags);
        match (options(&flags), refused) {
            (Ok(_), None) => {}
            (Err(error), Some(part)) => {
                assert!(error.message.contains(part) && error.code == Some(Code::OidcOptions), "{error}");
            }
            (found, _) => panic!("{found:?}"),
        }
    }

    #[test]
    fn an_issuer_needs_its_audience_and_its_roles() {
        assert_eq!(options(&Flags::default()), Ok(None));
        check(|_| {}, None);
        check(|flags| flags.oidc_issuer = Some(String::new()), Some("--oidc-issuer"));
        check(|flags| flags.oidc_issuer = Some("http://login.example".into()), Some("is not https"));
        check(|flags| flags.oidc_issuer = Some("http://127.0.0.1:9".into()), None);
        check(|flags| flags.oidc_audience = None, Some("--oidc-audience"));
        check(|flags| flags.oidc_audience = Some(" ".into()), Some("--oidc-audience"));
        check(|flags| flags.oidc_roles = None, Some("--oidc-roles"));
        for wrong in ["none", "HS256", "rs256", "RS256 ES256"] {
            check(|flags| flags.oidc_algorithms = vec![wrong.into()], Some("--oidc-algorithms"));
        }
    }

    #[test]
    fn options_that_nobody_gave_have_their_defaults() {
        let found = options(&flags()).expect("valid").expect("an issuer");
        assert_eq!(found.algorithms, [Algorithm::Rs256, Algorithm::Es256]);
        assert_eq!((found.rules.groups.as_str(), found.rules.clock_skew.as_secs()), ("groups", 60));
        assert_eq!(found.refresh_interval.as_secs(), 300);
        let given = Flags { oidc_algorithms: vec!["EdDSA".into(), " PS256".into()], ..flags() };
        assert_eq!(options(&given).expect("valid").expect("an issuer").algorithms, [Algorithm::EdDsa, Algorithm::Ps256]);
    }
}
