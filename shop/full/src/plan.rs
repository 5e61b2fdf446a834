//! The parts of the shop. A new transform or sink is an entry here, and nothing else in this crate.

/// A database, with the script that fills it.
#[derive(Debug)]
pub struct Database {
    pub name: &'static str,
    pub script: &'static str,
}

#[derive(Debug)]
pub struct Topic {
    pub name: &'static str,
    /// Only the last record of each key matters: it is kept, however old.
    pub compacted: bool,
}

/// A transform of this repository, deployed as its `transform.yaml` says.
#[derive(Debug)]
pub struct Transform {
    /// `team/name`.
    pub name: &'static str,
    pub directory: &'static str,
    pub manifest: &'static str,
}

/// A table that a sink connector keeps, and its expected rows.
#[derive(Debug)]
pub struct Sink {
    pub connector: &'static str,
    pub config: &'static str,
    /// The only topic of the connector.
    pub topic: &'static str,
    pub database: &'static str,
    pub table: &'static str,
    /// The rows that the table must hold, as a query over the shop's own database.
    pub expected: &'static str,
}

/// The database that Debezium captures.
pub const SOURCE: Database = Database { name: "shopdb", script: include_str!("../../sql/shopdb.sql") };
pub const SOURCE_CONNECTOR: (&str, &str) = ("shop-source", include_str!("../../connect/shop-source.json"));
/// The replication slot of the source connector.
pub const SLOT: &str = "shop";
/// The topic for deliveries to the warehouse.
pub const RESTOCKS: &str = "shop.public.restocks";

/// The databases of the services behind the sinks.
pub const DATABASES: &[Database] = &[
    Database { name: "ordersdb", script: include_str!("../../sql/ordersdb.sql") },
    Database { name: "recommendationsdb", script: include_str!("../../sql/recommendationsdb.sql") },
];

/// Topics with the same number of partitions, so that those with the same keys are co-partitioned.
pub const PARTITIONS: i32 = 4;
pub const TOPICS: &[Topic] = &[
    Topic { name: "shop.public.new_orders", compacted: false },
    Topic { name: "shop.public.products", compacted: true },
    Topic { name: RESTOCKS, compacted: false },
    Topic { name: "orders.orders", compacted: true },
    Topic { name: "shop.order_lines", compacted: false },
    Topic { name: "shop.order_pairs", compacted: false },
    Topic { name: "stock.levels", compacted: true },
    Topic { name: "stock.reorders", compacted: false },
    Topic { name: "recommendations.top", compacted: true },
];

/// From the source on: a transform comes after those whose outputs it reads.
pub const TRANSFORMS: &[Transform] = &[
    Transform {
        name: "orders/field-strip",
        directory: "transforms/field-strip",
        manifest: include_str!("../../../transforms/field-strip/transform.yaml"),
    },
    Transform {
        name: "stock/order-lines",
        directory: "transforms/order-lines",
        manifest: include_str!("../../../transforms/order-lines/transform.yaml"),
    },
    Transform {
        name: "stock/reorder-trigger",
        directory: "transforms/reorder-trigger",
        manifest: include_str!("../../../transforms/reorder-trigger/transform.yaml"),
    },
    Transform {
        name: "recommendations/recommendation-weights",
        directory: "transforms/recommendation-weights",
        manifest: include_str!("../../../transforms/recommendation-weights/transform.yaml"),
    },
];

pub const SINKS: &[Sink] = &[
    Sink {
        connector: "orders-sink",
        config: include_str!("../../connect/orders-sink.json"),
        topic: "orders.orders",
        database: "ordersdb",
        table: "orders",
        expected: include_str!("../../sql/orders.expected.sql"),
    },
    Sink {
        connector: "stock-levels-sink",
        config: include_str!("../../connect/stock-levels-sink.json"),
        topic: "stock.levels",
        database: "ordersdb",
        table: "stock_levels",
        expected: include_str!("../../sql/stock_levels.expected.sql"),
    },
    Sink {
        connector: "recommendations-sink",
        config: include_str!("../../connect/recommendations-sink.json"),
        topic: "recommendations.top",
        database: "recommendationsdb",
        table: "recommendations",
        expected: include_str!("../../sql/recommendations.expected.sql"),
    },
];

/// The variables of the connectors' configurations (`${env:..}`). `{port}` is the server's port.
pub const VARIABLES: &[(&str, &str)] = &[
    ("SHOP_DB_HOST", "127.0.0.1"),
    ("SHOP_DB_PORT", "{port}"),
    ("SHOP_DB_USER", "shop_cdc"),
    ("SHOP_DB_PASSWORD", "unused"),
    ("ORDERS_DB_ADDRESS", "127.0.0.1:{port}"),
    ("ORDERS_DB_USER", "orders_sink"),
    ("ORDERS_DB_PASSWORD", "unused"),
    ("RECOMMENDATIONS_DB_ADDRESS", "127.0.0.1:{port}"),
    ("RECOMMENDATIONS_DB_USER", "recommendations_sink"),
    ("RECOMMENDATIONS_DB_PASSWORD", "unused"),
];
