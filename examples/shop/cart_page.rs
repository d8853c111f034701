//! The cart, as people see it.

use maud::{Markup, html};

use crate::{
    cart::{Cart, MOST_OF_A_PRODUCT},
    catalogue::{self, Product, price},
    page::Visitor,
};

pub(crate) fn page(visitor: &Visitor, cart: &Cart, ordered: Option<u64>) -> Markup {
    let lines = cart.lines();
    let total = lines.iter().map(|(product, quantity)| product.cents * u64::from(*quantity)).sum();
    let content = html! {
        h1 { "Your cart" }
        @if let Some(count) = ordered {
            p.notice role="status" {
                "Thank you! " (count) @if count == 1 { " thing" } @else { " things" }
                " ordered. This is a demonstration, so nothing is going to arrive."
            }
        }
        @if lines.is_empty() {
            div.empty {
                (catalogue::art("teapot"))
                p.lead { @if ordered.is_some() { "Empty again." } @else { "Nothing in here yet." } }
                p { a.button.primary href="/" { "Look around" } }
            }
        } @else {
            div.cart {
                ul.lines { @for (product, quantity) in lines { (line(product, quantity)) } }
                (summary(visitor, total))
            }
        }
    };
    visitor.page("Your cart", &content)
}

fn line(product: &Product, quantity: u32) -> Markup {
    html! {
        li.line {
            div.thumb.{ "tint-" (product.tint) } { (catalogue::art(product.id)) }
            div.what {
                h2 { (product.name) }
                p.quiet { (price(product.cents)) " each" }
            }
            p.sum { (price(product.cents * u64::from(quantity))) }
            div.change {
                form method="post" action={ "/cart/" (product.id) } {
                    label.hidden for={ "quantity-" (product.id) } { "Quantity of " (product.name) }
                    input id={ "quantity-" (product.id) } type="number" name="quantity" value=(quantity)
                        min="0" max=(MOST_OF_A_PRODUCT) required inputmode="numeric";
                    button.button.small { "Update" span.hidden { " " (product.name) } }
                }
                form method="post" action={ "/cart/" (product.id) } {
                    input type="hidden" name="quantity" value="0";
                    button.link { "Remove" span.hidden { " " (product.name) } }
                }
            }
        }
    }
}

fn summary(visitor: &Visitor, total: u64) -> Markup {
    html! {
        aside.panel.summary aria-label="Summary" {
            dl {
                div { dt { "Goods" } dd { (price(total)) } }
                div { dt { "Delivery" } dd { "Free" } }
                div.total { dt { "Total" } dd { (price(total)) } }
            }
            @if visitor.user.is_some() {
                form method="post" action="/order" { button.button.primary.wide { "Place the order" } }
            } @else {
                a.button.primary.wide href="/login?next=/cart" { "Log in to order" }
                p.quiet { "Your cart comes along." }
            }
        }
    }
}
