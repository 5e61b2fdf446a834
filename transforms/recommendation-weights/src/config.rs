//! The `config` of the spec. A [`Config`] has been checked.

use crate::decay::{Decay, ONE};
use serde::Deserialize;

/// A checked configuration.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Spec")]
pub struct Config {
    pub decay: Decay,
    /// The number of days that are counted as one. A product keeps its first one.
    pub bucket_days: i64,
    /// The number of products, and of categories, in a recommendation.
    pub top: usize,
    /// The number of other products that are stored for a product.
    pub pairs_max: usize,
    /// A pair of a lower weight is forgotten; in units of [`ONE`].
    pub least_weight: u128,
    /// The number of products that a tick looks at.
    pub recheck_products_max: usize,
}

/// The configuration as a user writes it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Spec {
    half_life_days: u32,
    bucket_days: u32,
    top: usize,
    pairs_max: usize,
    least_weight_ppm: u64,
    recheck_products_max: usize,
}

impl Default for Spec {
    fn default() -> Self {
        Spec {
            half_life_days: 30,
            bucket_days: 7,
            top: 5,
            pairs_max: 200,
            least_weight_ppm: 1000,
            recheck_products_max: 100,
        }
    }
}

// === impl Config ===

impl TryFrom<Spec> for Config {
    type Error = String;

    fn try_from(spec: Spec) -> Result<Self, String> {
        let within = |name: &str, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(format!("`{name}` is {least} to {most}, and not {value}"))
            }
        };
        within("half_life_days", spec.half_life_days.into(), 1, 3650)?;
        within("bucket_days", spec.bucket_days.into(), 1, spec.half_life_days.into())?;
        within("top", spec.top as u64, 1, 100)?;
        within("pairs_max", spec.pairs_max as u64, spec.top as u64, 5000)?;
        within("least_weight_ppm", spec.least_weight_ppm, 1, 1_000_000)?;
        within("recheck_products_max", spec.recheck_products_max as u64, 1, 4000)?;
        Ok(Config {
            decay: Decay::new(spec.half_life_days),
            bucket_days: spec.bucket_days.into(),
            top: spec.top,
            pairs_max: spec.pairs_max,
            least_weight: u128::from(ONE) * u128::from(spec.least_weight_ppm) / 1_000_000,
            recheck_products_max: spec.recheck_products_max,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_whole_or_refused() {
        for (config, expected) in [
            ("{}", None),
            (r#"{"half_life_days":7,"bucket_days":7,"top":3,"pairs_max":3}"#, None),
            (r#"{"half_life_days":0}"#, Some("`half_life_days` is 1 to 3650, and not 0")),
            (r#"{"bucket_days":31}"#, Some("`bucket_days` is 1 to 30, and not 31")),
            (r#"{"top":0}"#, Some("`top` is 1 to 100")),
            (r#"{"pairs_max":4}"#, Some("`pairs_max` is 5 to 5000")),
            (r#"{"least_weight_ppm":0}"#, Some("`least_weight_ppm` is 1")),
            (r#"{"half_life":1}"#, Some("unknown field")),
        ] {
            let error = serde_json::from_str::<Config>(config).err().map(|error| error.to_string());
            match (&error, expected) {
                (Some(error), Some(part)) => assert!(error.contains(part), "{config}: {error}"),
                _ => assert_eq!(error.as_deref(), expected, "{config}"),
            }
        }
    }
}
