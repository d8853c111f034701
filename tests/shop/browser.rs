//! A client with a jar for one cookie, which checks every change of it.

use reqwest::{
    Client, Method, RequestBuilder,
    header::{ACCEPT, COOKIE, HeaderMap, LOCATION, SET_COOKIE, USER_AGENT},
    redirect::Policy,
};
use serde_json::{Value, json};

use crate::program::Shop;

/// A clone is a second tab of the same browser, until one of the two gets a new cookie.
#[derive(Clone)]
pub(crate) struct Browser {
    http: Client,
    pub(crate) cookie: Option<String>,
    /// Every value that the cookie had.
    pub(crate) seen: Vec<String>,
    agent: Option<&'static str>,
    html: bool,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Browser {
    /// Wants JSON.
    pub(crate) fn new() -> Self {
        let http = Client::builder().redirect(Policy::none());
        Self {
            http: http.build().unwrap(),
            cookie: None,
            seen: Vec::new(),
            agent: None,
            html: false,
        }
    }

    pub(crate) fn agent(mut self, agent: &'static str) -> Self {
        self.agent = Some(agent);
        self
    }

    /// The same browser, with pages and forms.
    pub(crate) fn for_people(&self) -> Self {
        Self { html: true, ..self.clone() }
    }

    /// The same browser, with JSON.
    pub(crate) fn for_scripts(&self) -> Self {
        Self { html: false, ..self.clone() }
    }

    pub(crate) async fn logged_in(shop: &Shop, user: &str) -> Self {
        let mut browser = Self::new();
        browser.log_in(shop, user).await;
        browser
    }

    pub(crate) async fn log_in(&mut self, shop: &Shop, user: &str) -> Answer {
        let credentials = json!({"user": user, "password": "demo"});
        let answer = self.post(shop, "/login", credentials).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer
    }

    /// The user in the shop's view. If the status is 200, there is a name.
    pub(crate) async fn user(&mut self, shop: &Shop) -> Option<String> {
        let answer = self.get(shop, "/me").await;
        match answer.status {
            200 => Some(answer.json()["user"].as_str().unwrap().to_owned()),
            401 => None,
            status => panic!("{status}: {}", answer.text),
        }
    }

    pub(crate) async fn get(&mut self, shop: &Shop, path: &str) -> Answer {
        self.send(self.request(Method::GET, shop, path)).await
    }

    pub(crate) async fn post(&mut self, shop: &Shop, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, shop, path).json(&body)).await
    }

    pub(crate) async fn put(&mut self, shop: &Shop, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::PUT, shop, path).json(&body)).await
    }

    pub(crate) async fn delete(&mut self, shop: &Shop, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, shop, path)).await
    }

    /// Without a body: a log-out.
    pub(crate) async fn press(&mut self, shop: &Shop, path: &str) -> Answer {
        self.send(self.request(Method::POST, shop, path)).await
    }

    pub(crate) async fn form(
        &mut self,
        shop: &Shop,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Answer {
        self.send(self.request(Method::POST, shop, path).form(fields)).await
    }

    pub(crate) fn request(&self, method: Method, shop: &Shop, path: &str) -> RequestBuilder {
        let accept = match self.html {
            true => "text/html,application/xhtml+xml,*/*;q=0.8",
            false => "application/json",
        };
        let mut request =
            self.http.request(method, format!("{}{path}", shop.url)).header(ACCEPT, accept);
        if let Some(agent) = self.agent {
            request = request.header(USER_AGENT, agent);
        }
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, format!("theirs=1; id={cookie}"));
        }
        request
    }

    pub(crate) async fn send(&mut self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.expect("the shop answers")
    }

    pub(crate) async fn try_send(&mut self, request: RequestBuilder) -> reqwest::Result<Answer> {
        let response = request.send().await?;
        let answer = Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await?,
        };
        self.keep(&answer);
        Ok(answer)
    }

    fn keep(&mut self, answer: &Answer) {
        let Some(cookie) = answer.set_cookie() else {
            return;
        };
        let mut parts = cookie.split("; ");
        let value = parts.next().unwrap().strip_prefix("id=").unwrap();
        let attributes: Vec<_> = parts.collect();
        for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
            assert!(attributes.contains(&attribute), "{cookie}");
        }
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        if attributes.contains(&"Max-Age=0") {
            assert_eq!(value, "");
            self.cookie = None;
        } else {
            self.cookie = Some(value.to_owned());
            self.seen.push(value.to_owned());
        }
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn set_cookie(&self) -> Option<&str> {
        assert!(self.headers.get_all(SET_COOKIE).iter().count() <= 1);
        self.header("set-cookie")
    }

    pub(crate) fn location(&self) -> &str {
        self.headers.get(LOCATION).unwrap().to_str().unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{}", self.text);
        serde_json::from_str(&self.text).unwrap()
    }

    /// A status, and `{"error": …}` with a sentence in it. No page, no cookie.
    #[track_caller]
    pub(crate) fn refuses(&self, status: u16) {
        assert_eq!(self.status, status, "{}", self.text);
        let json = self.json();
        let error = json["error"].as_str().unwrap();
        assert!(!error.is_empty() && json.as_object().unwrap().len() == 1, "{json}");
    }

    /// The number of sessions that it ended, which is the whole answer.
    #[track_caller]
    pub(crate) fn ended(&self, sessions: u32) {
        assert_eq!(self.status, 204, "{}", self.text);
        let ended = sessions.to_string();
        assert_eq!(self.header("x-sessions-ended"), Some(ended.as_str()));
        assert_eq!(self.text, "");
    }
}
