//! The body of a request: JSON from programs, a form from browsers, one type for both.

use axum::{
    Form, Json,
    extract::{FromRequest, Request},
    http::header::CONTENT_TYPE,
};
use serde::{Deserialize, Deserializer, de::DeserializeOwned};

use crate::refusal::Refusal;

pub(crate) struct Input<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Input<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let content_type = request.headers().get(CONTENT_TYPE);
        let is_json = content_type.and_then(|value| value.to_str().ok()).is_some_and(|text| {
            text.trim_start().to_ascii_lowercase().starts_with("application/json")
        });
        let refused = |status, text: String| Refusal::new(status, text);
        match is_json {
            true => match Json::from_request(request, state).await {
                Ok(Json(value)) => Ok(Self(value)),
                Err(rejection) => Err(refused(rejection.status(), rejection.body_text())),
            },
            false => match Form::from_request(request, state).await {
                Ok(Form(value)) => Ok(Self(value)),
                Err(rejection) => Err(refused(rejection.status(), rejection.body_text())),
            },
        }
    }
}

/// JSON's `true`, or a checkbox: a browser sends `on` if the box is ticked, and nothing if not.
pub(crate) fn checkbox<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Box {
        Json(bool),
        Form(String),
    }
    Ok(match Box::deserialize(deserializer)? {
        Box::Json(ticked) => ticked,
        Box::Form(text) => matches!(text.as_str(), "on" | "true" | "1"),
    })
}
