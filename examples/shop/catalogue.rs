//! The products.

use maud::{Markup, PreEscaped, html};

use crate::{cart::Cart, page::Visitor, refusal::Result};

pub(crate) struct Product {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) cents: u64,
    /// The background of its picture.
    pub(crate) tint: &'static str,
    art: &'static str,
}

macro_rules! products {
    ($($id:literal, $name:literal, $about:literal, $cents:literal, $tint:literal;)*) => {
        [$(Product {
            id: $id,
            name: $name,
            about: $about,
            cents: $cents,
            tint: $tint,
            art: include_str!(concat!("art/", $id, ".svg")),
        }),*]
    };
}

static PRODUCTS: [Product; 8] = products! {
    "tea", "Green tea", "Rolled by hand, 100 g", 850, "sage";
    "mug", "Stoneware mug", "Holds a third of a litre", 1600, "sand";
    "coffee", "Coffee beans", "Roasted on Tuesdays, 250 g", 1100, "clay";
    "teapot", "Teapot", "Pours without a drip", 3800, "sea";
    "honey", "Heather honey", "From the next valley, 500 g", 720, "sun";
    "biscuits", "Oat biscuits", "Twelve, until you open them", 450, "sand";
    "candle", "Beeswax candle", "Burns for forty hours", 1250, "sea";
    "towel", "Linen towel", "Softer every year", 1400, "sage";
};

pub(crate) fn find(id: &str) -> Option<&'static Product> {
    PRODUCTS.iter().find(|product| product.id == id)
}

/// The picture of a product. It is only decoration, because the name stands beside it.
pub(crate) fn art(id: &str) -> Markup {
    PreEscaped(find(id).map_or("", |product| product.art).to_owned())
}

/// A price in cents, as people write it.
pub(crate) fn price(cents: u64) -> String {
    format!("€{}.{:02}", cents / 100, cents % 100)
}

pub(crate) async fn show(session: sessile::Session, visitor: Visitor) -> Result<Markup> {
    let cart = Cart::of(&session)?;
    let content = html! {
        header.hero {
            div {
                p.eyebrow { "Tea and table goods" }
                h1 { "Good things, " em { "firmly attached." } }
                p.lead {
                    "Fill your cart, open a second tab, pull the plug on the server: "
                    "it is all still here when you come back."
                }
            }
            div.still-life { @for id in ["candle", "teapot", "mug"] { (art(id)) } }
        }
        ul.products {
            @for product in &PRODUCTS {
                (card(product, cart.quantity(product)))
            }
        }
    };
    Ok(visitor.page("Tea and table goods", &content))
}

fn card(product: &Product, in_cart: u32) -> Markup {
    html! {
        li.card id=(product.id) {
            div.picture.{ "tint-" (product.tint) } {
                (art(product.id))
                @if in_cart > 0 { span.in-cart { (in_cart) " in your cart" } }
            }
            div.text {
                h2 { (product.name) }
                p.quiet { (product.about) }
            }
            form.buy method="post" action="/cart" {
                span.price { (price(product.cents)) }
                input type="hidden" name="item" value=(product.id);
                input type="hidden" name="quantity" value="1";
                button.button.primary { "Add" span.hidden { " " (product.name) " to the cart" } }
            }
        }
    }
}
