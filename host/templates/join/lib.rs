//! Adds the name of its product to each line of an order.

use sandbar_sdk::prelude::*;

/// The fields that are read of a line; others are passed over.
#[derive(Deserialize)]
struct Line {
    product_id: u64,
    quantity: u64,
}

/// The fields that are read of the table.
#[derive(Deserialize)]
struct Product {
    name: String,
}

/// The value that is written.
#[derive(Serialize)]
struct NamedLine {
    product_id: u64,
    product: String,
    quantity: u64,
}

/// Looks the product up. A line of a product that the table does not have (yet) fails, and is tried again as the spec's
/// `on_error` says: the table may have it then.
#[transform(tables = ["products"])]
fn join<'a>(line: Record<'a, Json<Line>>) -> Result<Message<'a>> {
    let Line { product_id, quantity } = *line.value;
    let products = Table::<str, Json<Product>>::open("products")?;
    // The rows of the table have keys such as {"id": 7}.
    let key = format!(r#"{{"id":{product_id}}}"#);
    let Some(product) = products.get(&key)? else {
        bail!("there is no product {product_id}");
    };
    line.forward().with_json(&NamedLine { product_id, product: product.0.name, quantity })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sandbar_sdk::testing::{Harness, Input, json};

    #[test]
    fn lines_get_the_names_of_their_products() {
        let mut join = Harness::<join>::new(()).table("products", [(r#"{"id": 7}"#, r#"{"id": 7, "name": "tea"}"#)]);
        let line = |product_id: u64| Input::json(&json!({ "product_id": product_id, "quantity": 2 })).key("order 1");
        let outcome = join.run([line(7), line(8)]);
        assert_eq!(outcome.messages[0].json(), json!({ "product_id": 7, "product": "tea", "quantity": 2 }));
        assert_eq!(outcome.failures[0].source, 1);
    }
}
