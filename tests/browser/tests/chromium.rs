//! A browser, its windows and its tabs.

use std::{
    fmt::Debug,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use chromiumoxide::{
    Page,
    browser::{Browser, BrowserConfig},
    cdp::browser_protocol::{
        browser::BrowserContextId,
        emulation::{
            MediaFeature, SetDeviceMetricsOverrideParams, SetEmulatedMediaParams,
            SetTouchEmulationEnabledParams,
        },
        network::Cookie,
        page::{CaptureScreenshotFormat, GetFrameTreeParams},
        storage::GetCookiesParams,
        target::{CreateBrowserContextParams, CreateTargetParams},
    },
    page::ScreenshotParams,
};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use tempfile::TempDir;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// Longer than every wait here: a longer wait never ends.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The time between two looks at a page.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A browser with a profile: cookies that outlive the browser are in it.
pub(crate) struct Chromium {
    browser: Browser,
    messages: JoinHandle<()>,
    _profile: Option<TempDir>,
}

/// A window that shares no cookies with the others: a second device, or a private window.
pub(crate) struct Window<'a> {
    browser: &'a Browser,
    /// `None` for the profile's own windows.
    context: Option<BrowserContextId>,
}

pub(crate) struct Tab(Page);

/// The program, as scripts/test installs it.
fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("SESSILE_CHROMIUM") {
        return program.into();
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let mut programs = names.iter().flat_map(|name| {
        std::env::split_paths(&folders).map(|folder| folder.join(name)).collect::<Vec<_>>()
    });
    programs.find(|program| program.is_file()).expect(
        "the tests need Chromium: run scripts/test, which installs it, or name one in SESSILE_CHROMIUM",
    )
}

impl Chromium {
    /// With a new profile.
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With a new profile and options of its command line, as `("name", "value")`.
    pub(crate) async fn start_with(options: &[(&str, &str)]) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let browser = Self::launch(profile.path(), options).await;
        Self { _profile: Some(profile), ..browser }
    }

    /// With the profile in a folder, as it was left there.
    pub(crate) async fn start_in(profile: &Path) -> Self {
        Self::launch(profile, &[]).await
    }

    async fn launch(profile: &Path, options: &[(&str, &str)]) -> Self {
        let mut config = BrowserConfig::builder()
            .chrome_executable(program())
            .user_data_dir(profile)
            .new_headless_mode()
            .respect_https_errors()
            .disable_https_first()
            .viewport(None)
            .window_size(1280, 900)
            .launch_timeout(PATIENCE)
            .request_timeout(PATIENCE);
        // Chromium's sandbox refuses to run as root.
        if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
            config = config.no_sandbox();
        }
        for option in options {
            config = config.arg(*option);
        }
        let (browser, mut handler) = Browser::launch(config.build().unwrap()).await.unwrap();
        // A newer browser sends messages that the crate does not know. They are not waited for here.
        let messages = tokio::spawn(async move { while handler.next().await.is_some() {} });
        Self { browser, messages, _profile: None }
    }

    /// A window of the profile.
    pub(crate) fn window(&self) -> Window<'_> {
        Window { browser: &self.browser, context: None }
    }

    /// A browser context of its own.
    pub(crate) async fn private_window(&self) -> Window<'_> {
        let params = CreateBrowserContextParams::default();
        let context = soon(self.browser.create_browser_context(params)).await;
        Window { browser: &self.browser, context: Some(context) }
    }

    /// As a person closes it: the profile is complete when this returns.
    pub(crate) async fn close(mut self) {
        soon(self.browser.close()).await;
        soon(self.browser.wait()).await;
        self.messages.abort();
    }
}

impl Window<'_> {
    pub(crate) async fn open(&self, url: &str) -> Tab {
        let mut params = CreateTargetParams::new("about:blank");
        params.browser_context_id.clone_from(&self.context);
        let tab = Tab(soon(self.browser.new_page(params)).await);
        tab.go(url).await;
        tab
    }

    /// All cookies, as the browser keeps them.
    pub(crate) async fn cookies(&self) -> Vec<Cookie> {
        let params = GetCookiesParams { browser_context_id: self.context.clone() };
        soon(self.browser.execute(params)).await.result.cookies.clone()
    }

    /// The cookie of this name, which must be the only one.
    pub(crate) async fn cookie(&self, name: &str) -> Option<Cookie> {
        let mut cookies = self.cookies().await;
        cookies.retain(|cookie| cookie.name == name);
        assert!(cookies.len() <= 1, "{cookies:?}");
        cookies.pop()
    }
}

impl Tab {
    /// Brings the tab to the front, where its script runs.
    pub(crate) async fn show(&self) {
        soon(self.0.bring_to_front()).await;
    }

    pub(crate) async fn go(&self, url: &str) {
        soon(self.0.goto(url)).await;
    }

    /// The value of an expression in the page. `None` while the page is being replaced by another one.
    async fn try_read<T: DeserializeOwned>(&self, expression: &str) -> Option<T> {
        let value = timeout(PATIENCE, self.0.evaluate(expression)).await.ok()?;
        value.ok()?.into_value().ok()
    }

    pub(crate) async fn read<T: DeserializeOwned>(&self, expression: &str) -> T {
        self.wait(expression, |_: &T| true).await
    }

    /// Waits until an expression has a wanted value, and returns it.
    pub(crate) async fn wait<T: DeserializeOwned>(
        &self,
        expression: &str,
        is_wanted: impl Fn(&T) -> bool,
    ) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(value) = self.try_read(expression).await.filter(&is_wanted) {
                return value;
            }
            if Instant::now() > deadline {
                let (url, text) = (self.url().await, self.try_read::<String>(TEXT).await);
                panic!("{expression} has not come true on {url}:\n{}", text.unwrap_or_default());
            }
            sleep(LOOK_EVERY).await;
        }
    }

    pub(crate) async fn is(&self, expression: &str) {
        self.wait(expression, |is: &bool| *is).await;
    }

    pub(crate) async fn url(&self) -> String {
        self.0.url().await.ok().flatten().unwrap_or_default()
    }

    /// The text that a person sees.
    pub(crate) async fn text(&self) -> String {
        self.read(TEXT).await
    }

    #[track_caller]
    pub(crate) fn has(&self, text: &str) -> impl Future<Output = ()> {
        let expression = format!("{TEXT}.includes({})", quoted(text));
        async move { self.is(&expression).await }
    }

    /// Waits until the browser shows its own page in a frame, in the place of this one.
    pub(crate) async fn has_refused_a_frame(&self, url: &str) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let tree = soon(self.0.execute(GetFrameTreeParams::default())).await;
            let frames = tree.result.frame_tree.child_frames.clone().unwrap_or_default();
            let refused: Vec<_> =
                frames.iter().filter_map(|tree| tree.frame.unreachable_url.as_deref()).collect();
            if refused.iter().any(|refused| refused.starts_with(url)) {
                return;
            }
            assert!(Instant::now() < deadline, "{url} is in a frame: {frames:?}");
            sleep(LOOK_EVERY).await;
        }
    }

    /// Does something that leads to another page, and waits until that page is there.
    async fn leave(&self, how: impl AsyncFnOnce()) {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        // Each number is used once: a page to which "back" leads may still have its own.
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        self.is(&format!("(window.left = {number}) == {number}")).await;
        how().await;
        self.is(&format!("window.left !== {number} && document.readyState == 'complete'")).await;
    }

    /// Clicks the link or the button with this text, which leads to another page.
    pub(crate) async fn follow(&self, text: &str) {
        self.leave(async || self.click(text).await).await;
    }

    /// In the page's main part if the text is there, otherwise around it.
    async fn click(&self, text: &str) {
        let is_it = format!("self::a or self::button][contains(normalize-space(.), {text:?})");
        let in_main = self.0.find_xpath(format!("//main//*[{is_it}]")).await;
        let element = match in_main {
            Ok(element) => element,
            Err(_) => self.0.find_xpath(format!("//*[{is_it}]")).await.unwrap_or_else(|error| {
                panic!("nothing to click with {text:?}: {error}");
            }),
        };
        self.act(element.click()).await;
    }

    /// Does something to the page. The tab comes to the front first: a page behind another one shows, and hears, nothing.
    async fn act<T, E: Debug>(&self, action: impl Future<Output = Result<T, E>>) -> T {
        soon(self.0.bring_to_front()).await;
        soon(action).await
    }

    /// Fills a field in, as a person types.
    pub(crate) async fn fill(&self, selector: &str, text: &str) {
        let field = soon(self.0.find_element(selector)).await;
        self.act(field.click()).await;
        self.act(field.type_str(text)).await;
    }

    pub(crate) async fn check(&self, selector: &str) {
        let field = soon(self.0.find_element(selector)).await;
        self.act(field.click()).await;
        self.is(&format!("document.querySelector({}).checked", quoted(selector))).await;
    }

    /// Presses a key where the focus is.
    pub(crate) async fn press(&self, key: &str) {
        let element = soon(self.0.find_element(":focus, body")).await;
        self.act(element.press_key(key)).await;
    }

    /// The same, if the key leads to another page.
    pub(crate) async fn press_and_leave(&self, key: &str) {
        self.leave(async || self.press(key).await).await;
    }

    pub(crate) async fn back(&self) {
        self.leave(async || {
            // The answer may be lost with the page.
            self.0.evaluate("history.back()").await.ok();
        })
        .await;
    }

    pub(crate) async fn reload(&self) {
        self.leave(async || {
            soon(self.0.reload()).await;
        })
        .await;
    }

    /// Another screen, and the colours that the person has chosen for the machine.
    pub(crate) async fn show_on(&self, screen: Screen, scheme: &str) {
        let (width, height, scale, is_phone) = match screen {
            Screen::Phone => (390, 844, 2.0, true),
            Screen::Desktop => (1280, 900, 1.0, false),
        };
        let metrics = SetDeviceMetricsOverrideParams::new(width, height, scale, is_phone);
        soon(self.0.execute(metrics)).await;
        soon(self.0.execute(SetTouchEmulationEnabledParams::new(is_phone))).await;
        let scheme_of_machine = MediaFeature::new("prefers-color-scheme", scheme);
        let media = SetEmulatedMediaParams::builder().feature(scheme_of_machine).build();
        soon(self.0.execute(media)).await;
        self.is(&format!("matchMedia('(prefers-color-scheme: {scheme})').matches")).await;
        // Colours change gradually.
        self.is("document.getAnimations().length == 0").await;
    }

    /// A picture of the whole page, kept for people in `target/browser`.
    pub(crate) async fn picture(&self, name: &str) {
        let folder = std::env::current_exe().unwrap().ancestors().nth(3).unwrap().join("browser");
        std::fs::create_dir_all(&folder).unwrap();
        let params = ScreenshotParams::builder()
            .format(CaptureScreenshotFormat::Png)
            .full_page(true)
            .build();
        let picture = self.act(self.0.screenshot(params)).await;
        std::fs::write(folder.join(format!("{name}.png")), picture).unwrap();
    }
}

/// The browser answers at once, or something is wrong.
async fn soon<T, E: Debug>(call: impl Future<Output = Result<T, E>>) -> T {
    timeout(PATIENCE, call).await.expect("the browser answers").unwrap()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Screen {
    Phone,
    Desktop,
}

const TEXT: &str = "document.body.innerText";

fn quoted(text: impl Debug) -> String {
    format!("{text:?}")
}
