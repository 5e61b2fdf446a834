//! An order as the shop's database has it.

use crate::random::Random;

/// A row of `new_orders`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    pub order_id: u64,
    pub customer_id: u64,
    pub customer_name: String,
    pub email: String,
    pub city: &'static str,
    pub items: Vec<Item>,
    pub status: Status,
    /// The price of the items, and the postage.
    pub total_cents: u64,
    pub currency: &'static str,
    pub gift: bool,
    pub note: Option<&'static str>,
    pub ordered_at_us: i64,
    pub version: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub product_id: u64,
    pub qty: u64,
    pub unit_price_cents: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    New,
    Paid,
    Shipped,
    Cancelled,
}

/// The number of products that the shop sells; they are numbered from 1.
pub const PRODUCTS: u64 = 900;

const FIRST_NAMES: [&str; 8] = ["Ada", "Björn", "Chloé", "Dimitri", "Elif", "Fatou", "Gustavo", "Hana"];
const LAST_NAMES: [&str; 6] = ["Example", "O'Sample", "Müster", "Test-Person", "Nobody", "Placeholder"];
const CITIES: [&str; 6] = ["Köln", "Lyon", "Porto", "Kraków", "Århus", "Gent"];
/// Texts that break careless JSON.
const NOTES: [&str; 5] = ["ring twice", "the \"blue\" one", "line1\nline2 \\ \u{2603}", "{\"order_id\": 1}, [", ""];

// === impl Order ===

impl Order {
    pub fn random(order_id: u64, ordered_at_us: i64, random: &mut Random) -> Self {
        let first = random.pick(&FIRST_NAMES);
        let customer_id = 1 + random.below(5000);
        // One to five, and mostly few.
        let count = 1 + random.below(5).min(random.below(5));
        let items: Vec<Item> = (0..count).map(|_| Item::random(random)).collect();
        let postage_cents = if random.chance(30) { 490 } else { 0 };
        Order {
            order_id,
            customer_id,
            customer_name: format!("{first} {}", random.pick(&LAST_NAMES)),
            email: format!("customer{customer_id}@example.test"),
            city: random.pick(&CITIES),
            total_cents: items.iter().map(Item::price_cents).sum::<u64>() + postage_cents,
            items,
            // Some are fraud, known as such at once.
            status: if random.chance(2) { Status::Cancelled } else { Status::New },
            currency: if random.chance(90) { "EUR" } else { "SEK" },
            gift: random.chance(10),
            note: random.chance(25).then(|| random.pick(&NOTES)),
            ordered_at_us,
            version: 1,
        }
    }

    /// Takes the next step in the life of the order.
    pub fn update(&mut self, random: &mut Random) {
        self.version += 1;
        match (self.status, random.below(100)) {
            (Status::New, 0..80) => self.status = Status::Paid,
            (Status::Paid, 0..85) => self.status = Status::Shipped,
            (Status::New | Status::Paid, 80..) => self.status = Status::Cancelled,
            (Status::Cancelled, 0..20) => self.status = Status::New,
            (_, 20..60) => self.gift = !self.gift,
            _ => self.note = Some(random.pick(&NOTES)),
        }
    }
}

// === impl Item ===

impl Item {
    fn random(random: &mut Random) -> Self {
        let unit_price_cents = match random.below(50) {
            0 => 0,
            1 => 99_999_999,
            _ => 10 + random.below(20_000),
        };
        Item { product_id: 1 + random.below(PRODUCTS), qty: 1 + random.below(4), unit_price_cents }
    }

    fn price_cents(&self) -> u64 {
        self.qty * self.unit_price_cents
    }
}

// === impl Status ===

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Status::New => "new",
            Status::Paid => "paid",
            Status::Shipped => "shipped",
            Status::Cancelled => "cancelled",
        }
    }
}

/// For example 27.80.
pub fn euros(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}
