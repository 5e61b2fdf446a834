//! Recommends products that are bought together; recent purchases count more. README.md describes it.
//!
//! | module | |
//! |---|---|
//! | `config` | the `config` of the spec, checked |
//! | `decay` | the weight of a purchase by its age, in integers |
//! | `company` | the company of a product in orders, and its recommendations: pure |

#![forbid(unsafe_code)]

pub mod company;
pub mod config;
pub mod decay;

use company::{Company, Top};
use config::Config;
use sandbar_debezium::{Change, Id};
use sandbar_sdk::prelude::*;

/// The column that names a product.
const PRODUCT_FIELD: &str = "product_id";
const DAY_MS: i64 = 86_400_000;

/// A change of a product's company in orders, as order-lines writes it.
#[derive(Debug, Deserialize)]
pub struct Pairs {
    pub product_id: Id,
    pub joined: Vec<Id>,
    pub left: Vec<Id>,
    /// The time of the order. A product that leaves takes back the weight of that day.
    pub at_ms: i64,
}

/// A row of the table of products.
#[derive(Deserialize)]
struct Product {
    #[serde(default)]
    category: Option<String>,
}

/// A recommendation, as it is sent. Lists are JSON in a text: a sink's table has no nested columns.
#[derive(Serialize)]
struct TopValue<'a> {
    product_id: &'a Id,
    others: String,
    categories: String,
    at_ms: i64,
}

/// Counts who joined and who left.
#[transform(stores = ["companies", "recheck"], tables = ["products"], tick = recheck)]
pub fn recommendation_weights(pairs: Record<'_, Json<Pairs>>, config: &Config, out: &mut Output) -> Result<()> {
    let now_ms = pairs.now_ms();
    let at_ms = pairs.timestamp_ms().unwrap_or(now_ms);
    let Json(Pairs { product_id, joined, left, at_ms: placed_ms }) = pairs.value;
    let companies = Store::<str, Company>::open("companies")?;
    let before = companies.get(&product_id.key(PRODUCT_FIELD))?;
    let mut company = before.clone().unwrap_or_else(|| Company::new(product_id, config.bucket_days));
    let day = placed_ms.div_euclid(DAY_MS);
    for other in joined {
        company.join(other, day, category)?;
    }
    for other in left {
        company.leave(&other, day);
    }
    follow(before, company, config, now_ms, at_ms, out)
}

/// Looks at some products again, because time has passed.
fn recheck(tick: Tick, config: &Config, out: &mut Output) -> Result<()> {
    let companies = Store::<str, Company>::open("companies")?;
    let page = Cursor::<str>::open("recheck")?.next_page(&companies, config.recheck_products_max)?;
    for (name, before) in page {
        let mut company = before.clone();
        // One bad row must not keep the tick from all that comes after it.
        if let Err(error) = company.categorise(category) {
            log::warn!("the categories beside {name} are looked at again later: {error}");
            company = before.clone();
        }
        follow(Some(before), company, config, tick.now_ms(), tick.now_ms(), out)?;
    }
    Ok(())
}

/// Forgets old purchases, and sends the change of the recommendation.
fn follow(
    before: Option<Company>,
    mut company: Company,
    config: &Config,
    now_ms: i64,
    at_ms: i64,
    out: &mut Output<'_>,
) -> Result<()> {
    let top = company.follow(config, now_ms.div_euclid(DAY_MS));
    let product_id = &company.product_id;
    let key = product_id.key(PRODUCT_FIELD);
    if top != company.top {
        let message = Message::new().to("top").key(key.as_str());
        match &top {
            Top { others, .. } if others.is_empty() => out.send(message.tombstone())?,
            Top { others, categories } => {
                let others = serde_json::to_string(others)?;
                let categories = serde_json::to_string(categories)?;
                out.send_json(message, &TopValue { product_id, others, categories, at_ms })?;
            }
        }
        company.top = top;
    }
    let companies = Store::<str, Company>::open("companies")?;
    match before {
        Some(_) if company.is_empty() => companies.delete(&key),
        before if company.is_empty() || before.as_ref() == Some(&company) => Ok(()),
        _ => companies.put(&key, &company),
    }
}

/// The category of a product, as the table says now.
fn category(product_id: &Id) -> Result<Option<String>> {
    let products = Table::<str, Change<Product>>::open("products")?;
    let product = products.get(&product_id.key(PRODUCT_FIELD))?.and_then(|change| change.after);
    Ok(product.and_then(|product| product.category))
}
