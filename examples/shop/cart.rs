//! The cart: one session key, changed by an atomic `update`, so that tabs and devices never lose
//! each other's items.

use std::collections::BTreeMap;

use axum::{
    extract::{Path, Query},
    response::Response,
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sessile::Session;

use crate::{
    answer::Wants,
    cart_page,
    catalogue::{self, Product},
    input::Input,
    page::Visitor,
    refusal::{Refusal, Result},
};

const KEY: &str = "cart";
/// The greatest number that one request may add.
const LARGEST_QUANTITY: u32 = 999;
/// The greatest number of one product in a cart.
pub(crate) const MOST_OF_A_PRODUCT: u32 = 100_000;

/// The number of items of each product, by its id.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Cart(BTreeMap<String, u32>);

impl Cart {
    pub(crate) fn of(session: &Session) -> Result<Self> {
        Ok(session.get(KEY)?.unwrap_or_default())
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.values().map(|&quantity| u64::from(quantity)).sum()
    }

    pub(crate) fn quantity(&self, product: &Product) -> u32 {
        self.0.get(product.id).copied().unwrap_or(0)
    }

    fn add(&mut self, product: &Product, quantity: u32) -> Result<()> {
        let there = self.0.entry(product.id.to_owned()).or_default();
        if *there + quantity > MOST_OF_A_PRODUCT {
            return Err(Refusal::unprocessable("We do not have that many."));
        }
        *there += quantity;
        Ok(())
    }

    fn set(&mut self, product: &Product, quantity: u32) {
        match quantity {
            0 => self.0.remove(product.id),
            _ => self.0.insert(product.id.to_owned(), quantity),
        };
    }

    /// The products in the cart that the catalogue still has, and their numbers.
    pub(crate) fn lines(&self) -> Vec<(&'static Product, u32)> {
        let line = |(id, &quantity): (&String, &u32)| Some((catalogue::find(id)?, quantity));
        self.0.iter().filter_map(line).collect()
    }

    fn json(&self) -> serde_json::Value {
        json!({ "items": self.0 })
    }
}

fn product(id: &str) -> Result<&'static Product> {
    catalogue::find(id).ok_or_else(|| Refusal::unprocessable("There is no such item in this shop."))
}

#[derive(Deserialize)]
pub(crate) struct Item {
    item: String,
    quantity: u32,
}

pub(crate) async fn add(
    session: Session,
    wants: Wants,
    Input(new): Input<Item>,
) -> Result<Response> {
    let product = product(&new.item)?;
    if !(1..=LARGEST_QUANTITY).contains(&new.quantity) {
        return Err(Refusal::unprocessable("The quantity has to be between 1 and 999."));
    }
    let cart = session
        .update(KEY, |cart: &mut Cart| {
            cart.add(product, new.quantity)?;
            Ok::<_, Refusal>(cart.clone())
        })
        .await??;
    Ok(wants.done(axum::Json(cart.json()), &format!("/#{}", product.id)))
}

#[derive(Deserialize)]
pub(crate) struct Quantity {
    quantity: u32,
}

pub(crate) async fn set(
    session: Session,
    wants: Wants,
    Path(id): Path<String>,
    Input(Quantity { quantity }): Input<Quantity>,
) -> Result<Response> {
    let product = product(&id)?;
    if quantity > MOST_OF_A_PRODUCT {
        return Err(Refusal::unprocessable("We do not have that many."));
    }
    let cart = session
        .update(KEY, |cart: &mut Cart| {
            cart.set(product, quantity);
            cart.clone()
        })
        .await?;
    Ok(wants.done(axum::Json(cart.json()), "/cart"))
}

/// Takes the cart and leaves an empty one, in one step: of two clicks on the button, only one orders.
pub(crate) async fn order(session: Session, wants: Wants) -> Result<Response> {
    if session.user_id().is_none() {
        return Err(Refusal::new(axum::http::StatusCode::UNAUTHORIZED, "Log in to order."));
    }
    let ordered: Cart = session.update(KEY, std::mem::take).await?;
    if ordered.count() == 0 {
        return Err(Refusal::unprocessable("The cart is empty."));
    }
    let next = format!("/cart?ordered={}", ordered.count());
    Ok(wants.done(axum::Json(json!({ "ordered": ordered.0 })), &next))
}

#[derive(Deserialize)]
pub(crate) struct Shown {
    ordered: Option<u64>,
}

pub(crate) async fn show(
    session: Session,
    visitor: Visitor,
    wants: Wants,
    Query(shown): Query<Shown>,
) -> Result<Response> {
    let cart = Cart::of(&session)?;
    Ok(wants.see(cart.json(), || cart_page::page(&visitor, &cart, shown.ordered)))
}
