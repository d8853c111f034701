//! The actions of visitors, from many requests at once.

use std::error::Error as _;

use sessile::{Error, Result, Sessions};

use crate::support::Browser;

/// Comes without a cookie, fills a cart, logs in, changes something, looks at the devices.
pub(crate) async fn visit(sessions: &Sessions, user: &str) -> Result<()> {
    let mut browser = Browser::default();
    let session = browser.open(sessions).await;
    session.insert("cart", ["shoes"])?;
    browser.keep(session.finish().await?);
    let session = browser.try_open(sessions).await?;
    session.log_in(user).await?;
    browser.keep(session.finish().await?);
    let session = browser.try_open(sessions).await?;
    session.insert("theme", "dark")?;
    assert!(!session.devices().await?.is_empty());
    browser.keep(session.finish().await?);
    let session = browser.try_open(sessions).await?;
    assert_eq!(session.get::<String>("theme")?.as_deref(), Some("dark"));
    assert_eq!(session.user_id().as_deref(), Some(user));
    Ok(())
}

/// The answers to this many requests, each in its own task.
pub(crate) async fn at_once<T: Send + 'static, F>(
    count: usize,
    request: impl Fn(usize) -> F,
) -> Vec<T>
where
    F: Future<Output = T> + Send + 'static,
{
    let tasks: Vec<_> = (0..count).map(|i| tokio::spawn(request(i))).collect();
    let mut answers = Vec::with_capacity(count);
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

/// The text of an error and of its sources, one on each line.
pub(crate) fn whole(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!("\n{error}");
        source = error.source();
    }
    text
}
