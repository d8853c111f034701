//! A visitor's preferences: each one has its own session key.

use axum::{
    extract::{Path, State},
    response::Response,
};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Map, Value};
use sessile::{Session, http::local_path};

use crate::{
    answer::Wants,
    customers::Customers,
    input::Input,
    page::Visitor,
    refusal::{Refusal, Result},
};

/// A preference that the shop itself uses, with its values. The first value is the default.
struct Preference {
    key: &'static str,
    title: &'static str,
    values: [(&'static str, &'static str); 3],
}

const THEME: Preference = Preference {
    key: "theme",
    title: "Theme",
    values: [("auto", "Auto"), ("light", "Light"), ("dark", "Dark")],
};
const SIZE: Preference = Preference {
    key: "size",
    title: "Text size",
    values: [("normal", "Normal"), ("large", "Large"), ("larger", "Larger")],
};
const KNOWN: [Preference; 2] = [THEME, SIZE];

/// Other preferences are stored as they come, up to a limit.
const MOST_KEYS: usize = 50;
const LONGEST_VALUE: usize = 256;

/// "theme" is the session key "preference:theme".
const PREFIX: &str = "preference:";

fn session_key(key: &str) -> String {
    format!("{PREFIX}{key}")
}

/// The value of a known preference, if a page can use it.
fn known(session: &Session, preference: &Preference) -> &'static str {
    let stored = session.get::<Value>(&session_key(preference.key)).ok().flatten();
    let values = preference.values.map(|(value, _)| value);
    let found = values.iter().find(|value| stored.as_ref().is_some_and(|stored| stored == **value));
    found.unwrap_or(&values[0])
}

pub(crate) fn theme(session: &Session) -> &'static str {
    known(session, &THEME)
}

pub(crate) fn size(session: &Session) -> &'static str {
    known(session, &SIZE)
}

fn all(session: &Session) -> Result<Map<String, Value>> {
    let mut preferences = Map::new();
    for preference in KNOWN {
        preferences.insert(preference.key.to_owned(), preference.values[0].0.into());
    }
    for session_key in session.keys() {
        if let Some(key) = session_key.strip_prefix(PREFIX) {
            let value = session.get(&session_key)?.unwrap_or_default();
            preferences.insert(key.to_owned(), value);
        }
    }
    Ok(preferences)
}

#[derive(Deserialize)]
pub(crate) struct Change {
    value: Value,
    next: Option<String>,
}

/// `insert` records the preference, and the layer writes it after this handler returns. Two requests that set
/// two preferences at the same time both succeed, because each preference has its own key.
pub(crate) async fn set(
    State(customers): State<Customers>,
    session: Session,
    wants: Wants,
    Path(key): Path<String>,
    Input(change): Input<Change>,
) -> Result<Response> {
    let is_key =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if key.is_empty() || key.len() > 32 || !key.bytes().all(is_key) {
        return Err(Refusal::unprocessable(
            "A preference's name is up to 32 of: a to z, 0 to 9, - and _.",
        ));
    }
    if change.value.to_string().len() > LONGEST_VALUE {
        return Err(Refusal::unprocessable("A preference's value has at most 256 bytes."));
    }
    let session_key = session_key(&key);
    let count = session.keys().iter().filter(|key| key.starts_with(PREFIX)).count();
    if count >= MOST_KEYS && !session.contains(&session_key) {
        return Err(Refusal::unprocessable("There are 50 preferences already."));
    }
    session.insert(&session_key, &change.value)?;
    if let Some(user) = session.user_id()
        && KNOWN.iter().any(|preference| preference.key == key)
    {
        customers.prefers(&user, &key, &change.value).await?;
    }
    let next = change.next.as_deref().and_then(local_path).unwrap_or("/preferences");
    Ok(wants.done(axum::Json(all(&session)?), next))
}

/// Called at log-in: the account's preferences go into the session. Preferences that the visitor chose and
/// the account does not have go into the account.
pub(crate) async fn meet(
    customers: &Customers,
    session: &Session,
    user: &str,
) -> Result<Vec<(String, Value)>> {
    let of_account = customers.preferences(user).await?;
    let is_a_visitors = session.user_id().is_none();
    for Preference { key, .. } in KNOWN {
        let chosen = session.get::<Value>(&session_key(key))?.filter(|_| is_a_visitors);
        if let Some(chosen) = chosen
            && !of_account.iter().any(|(known, _)| known == key)
        {
            customers.prefers(user, key, &chosen).await?;
        }
    }
    let with_session_key = |(key, value): (String, Value)| (session_key(&key), value);
    Ok(of_account.into_iter().map(with_session_key).collect())
}

pub(crate) async fn show(session: Session, visitor: Visitor, wants: Wants) -> Result<Response> {
    Ok(wants.see(all(&session)?, || page(&session, &visitor)))
}

fn page(session: &Session, visitor: &Visitor) -> Markup {
    let content = html! {
        p.lead {
            @if visitor.user.is_some() { "They go with your account to every device you log in on." }
            @else { "They stay on this device, and come along when you log in." }
        }
        @for preference in KNOWN {
            @let chosen = known(session, &preference);
            form.panel method="post" action={ "/preferences/" (preference.key) } {
                fieldset {
                    legend { (preference.title) }
                    div.choices {
                        @for (value, label) in preference.values {
                            label.choice {
                                input type="radio" name="value" value=(value) checked[value == chosen];
                                span { (label) }
                            }
                        }
                    }
                }
                button.button { "Save" }
            }
        }
    };
    visitor.account_page("Preferences", &content)
}
