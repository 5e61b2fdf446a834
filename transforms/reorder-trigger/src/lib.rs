//! Keeps the stock level of each product, and orders it once when it runs low. README.md describes it.
//!
//! | module | |
//! |---|---|
//! | `level` | the stored state of a product, and the outputs that follow from it: pure |
//! | `restocks` | deliveries, each counted once |

#![forbid(unsafe_code)]

pub mod level;
pub mod restocks;

use level::{Level, Product, Reorder, Shown};
use sandbar_debezium::{Change, Id};
use sandbar_sdk::FromValue;
use sandbar_sdk::prelude::*;

/// The `config` of the spec.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The number of products that a tick looks at; the next tick goes on from there.
    pub recheck_products_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config { recheck_products_max: 1000 }
    }
}

/// The column that names a product.
const PRODUCT_FIELD: &str = "product_id";
/// The input that brings deliveries; all others are lines.
const RESTOCKS_INPUT: usize = 1;

/// A line of an order, as order-lines writes it.
#[derive(Deserialize)]
struct Line {
    quantity: i64,
}

/// The product in a key.
#[derive(Deserialize)]
struct Key {
    product_id: Id,
}

/// A row of the table of products. Of one that is gone, `before` may have no more than the primary key.
#[derive(Deserialize)]
struct ProductRow {
    stock: Option<i64>,
    reorder_threshold: Option<i64>,
    reorder_quantity: Option<i64>,
}

/// A level, as it is sent.
#[derive(Serialize)]
struct LevelValue<'a> {
    product_id: &'a Id,
    #[serde(flatten)]
    shown: &'a Shown,
    at_ms: i64,
}

/// A reorder, as it is sent.
#[derive(Serialize)]
struct ReorderValue<'a> {
    reorder_id: String,
    product_id: &'a Id,
    quantity: i64,
    level: i64,
    reorder_threshold: i64,
    at_ms: i64,
}

/// Lowers and raises levels.
#[transform(stores = ["levels", "restocks", "recheck"], tables = ["products"], tick = recheck)]
pub fn reorder_trigger(record: Record<'_>, _: &Config, out: &mut Output) -> Result<()> {
    let at_ms = record.timestamp_ms().unwrap_or(record.now_ms());
    if record.input() == RESTOCKS_INPUT {
        let Some(restock) = restocks::read(record.value)? else { return Ok(()) };
        let product_id = product_id(record.key()).map_err(|error| {
            error.context(
                "restocks must be keyed by product as order-lines keys its lines (message.key.columns of the connector, and \
             key.converter.schemas.enable=false)",
            )
        })?;
        let Some(quantity) = restock.count(&product_id.key(PRODUCT_FIELD))? else { return Ok(()) };
        return update(product_id, at_ms, out, |level| level.restock(quantity));
    }
    let Json(line) = Json::<Line>::from_value(record.value)?;
    update(product_id(record.key())?, at_ms, out, |level| level.sell(line.quantity))
}

/// Looks again at products, because the table of products may say something else by now. So many at a time.
fn recheck(tick: Tick, config: &Config, out: &mut Output) -> Result<()> {
    let levels = Store::<str, Level>::open("levels")?;
    let page = Cursor::<str>::open("recheck")?.next_page(&levels, config.recheck_products_max)?;
    for (name, level) in page {
        // One bad row must not keep the tick from all that comes after it.
        if let Err(error) = update(level.product_id, tick.now_ms(), out, |_| Ok(())) {
            log::warn!("{name} is looked at again later: {error}");
        }
    }
    Ok(())
}

/// Changes the stored state of a product, and sends the outputs that follow from it.
fn update(product_id: Id, at_ms: i64, out: &mut Output<'_>, change: impl FnOnce(&mut Level) -> Result<()>) -> Result<()> {
    let levels = Store::<str, Level>::open("levels")?;
    let key = product_id.key(PRODUCT_FIELD);
    let before = levels.get(&key)?;
    let mut level = before.clone().unwrap_or_else(|| Level::new(product_id));
    change(&mut level)?;
    let reorder = level.follow(product(&key)?.as_ref())?;
    if before.as_ref() == Some(&level) {
        return Ok(());
    }
    let product_id = &level.product_id;
    let message = || Message::new().to("levels").key(key.as_str());
    match (&level.shown, before.as_ref().and_then(|before| before.shown.as_ref())) {
        (now, shown) if now.as_ref() == shown => {}
        (Some(shown), _) => out.send_json(message(), &LevelValue { product_id, shown, at_ms })?,
        (None, _) => out.send(message().tombstone())?,
    }
    if let Some(Reorder { number, quantity, level, reorder_threshold }) = reorder {
        let reorder_id = format!("{product_id}-{number}");
        let value = ReorderValue { reorder_id, product_id, quantity, level, reorder_threshold, at_ms };
        out.send_json(Message::new().to("reorders").key(key.as_str()), &value)?;
    }
    levels.put(&key, &level)
}

/// The table's row of a product, as it is now.
fn product(key: &str) -> Result<Option<Product>> {
    let products = Table::<str, Change<ProductRow>>::open("products")?;
    let row = products.get(key)?.and_then(|change| change.after);
    let Some(ProductRow { stock, reorder_threshold, reorder_quantity }) = row else { return Ok(None) };
    let need = |name: &str, value: Option<i64>| {
        value.ok_or_else(|| Error::new(format_args!("table \"products\": the row of {key:?} has no {name}")))
    };
    Ok(Some(Product {
        stock: need("stock", stock)?,
        reorder_threshold: need("reorder_threshold", reorder_threshold)?,
        reorder_quantity: need("reorder_quantity", reorder_quantity)?,
    }))
}

/// The product that a key names. It has to be written as order-lines does: otherwise the same product's records of the
/// other topic are in another partition.
fn product_id(key: Option<&[u8]>) -> Result<Id> {
    let written = key.unwrap_or_default();
    let read = serde_json::from_slice::<Key>(written).map(|key| key.product_id);
    match read {
        Ok(product_id) if product_id.key(PRODUCT_FIELD).as_bytes() == written => Ok(product_id),
        _ => bail!("the key is {:?}, and no {{\"product_id\":7}}", String::from_utf8_lossy(written)),
    }
}
